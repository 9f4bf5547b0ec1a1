"""What the machine is for when things go wrong: kills, faulty servers, budgets under load.

The server is a fake one behind the real API, so that calls can be counted where they arrive.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import branchwise as bw
from branchwise.core.events import Cancelled, Denied, Expand, Expanded, Failed, Judged, Score, WorkStarted
from branchwise.core.types import Result, Task
from branchwise.graphs import LocalRunner, RunStore
from branchwise.models import connect
from branchwise.models.client import Timeouts
from branchwise.models.fake_server import FakeServer, Faults, Latency, prompt_tokens
from branchwise.sandboxes.docker_engine import DockerEngine

AGENT = """
import json
import branchwise as bw

@bw.verifier(scope="state")
async def repaired(candidate):
    async with candidate.open(candidate.node.env_ref) as sandbox:
        text = (await sandbox.read("maths.py")).decode()
    return bw.Verdict(0.9 if "a + b" in text else len(text) % 10 / 20, "outcome", "repaired", "a + b" in text)

coder = bw.Agent(name="coder", model="openai:fake", tools=[bw.tools.files], verifiers=[repaired], form="json",
                 search=bw.search.BestFirst(width=3, depth=4), sandbox=bw.sandboxes.Docker(), slots=4)
"""


def rarely_right(body: Mapping[str, Any]) -> str:
    """A turn that breaks the file in a way of its own, and about one in 60 that repairs it; decided by the seed."""
    lot = random.Random(body["seed"])
    args = {"path": "maths.py", "old": "return 1", "new": f"return {lot.randrange(10**6)}"}
    if lot.random() < 1 / 60:
        args = {"path": "maths.py", "old": "return a - b", "new": "return a + b"}
    return json.dumps({"thought": "so", "tool": "replace", "args": args})


def containers(run_id: str) -> list[str]:
    """Ids of a run's sandboxes, whether they work or not."""
    with closing(DockerEngine.connect()) as engine:
        return [container["Id"] for container in engine.containers(run_id)]


@pytest.mark.docker
@pytest.mark.timeout(280)
def test_ten_kills_cost_no_finished_call(tmp_path: Path, repository: Path) -> None:
    """`kill -9` at ten moments of one search, resumed each time: it ends accepted, as ever.

    No finished model call is made again, at most the calls in flight are repeated, and no container is left.
    """
    (tmp_path / "agent.py").write_text(textwrap.dedent(AGENT))
    moments = random.Random(4)
    with FakeServer(rarely_right, latency=Latency(0.1, 0.3), slots=4).in_thread() as server:
        env = {**os.environ, "BRANCHWISE_HOME": str(tmp_path / "home"), "OPENAI_BASE_URL": server.base_url}
        env["OPENAI_API_KEY"] = "none"

        def start(*args: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-m", "branchwise.cli", *args, "--json"]
            return subprocess.Popen(
                command, env=env, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )

        process = start("run", "agent.py:coder", "repair it", "--files", str(repository), "--seed", "5")
        kills = 0
        for _ in range(10):
            goal = server.stats.started.total() + moments.randint(1, 6)
            while server.stats.started.total() < goal and process.poll() is None:
                time.sleep(0.005)
            time.sleep(moments.random() * 0.1)
            if process.poll() is not None:
                break
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            [folder] = (tmp_path / "home" / "runs").iterdir()
            process = start("resume", folder.name)
        out, err = process.communicate(timeout=120)
        started, finished = server.stats.started, server.stats.finished

    assert process.returncode == 0, err
    assert kills == 10, "the search ended too soon to be killed ten times"
    result = json.loads(out.splitlines()[-1])["result"]
    assert (result["accepted"], result["changed_files"]) == (True, ["maths.py"])

    with sqlite3.connect(folder / "calls.sqlite") as db:
        calls = [(key, json.loads(usage)) for key, usage in db.execute("SELECT key, usage FROM spending ORDER BY id")]
        replies = {key for (key,) in db.execute("SELECT key FROM replies")}
    done: Counter[str] = Counter()
    for key, usage in calls:
        assert not done[key], "a call that had finished was entered again"
        done[key] += "completion_tokens" in usage
    assert set(done) >= replies
    lost = sum("completion_tokens" not in usage for _, usage in calls)
    assert started.total() <= len(calls)
    assert sum(max(0, n - 1) for n in finished.values()) <= lost, "only what was in flight at a kill was made twice"
    assert lost <= 4 * kills + 4, "four calls in flight at each kill, and four that the end cancelled"
    assert result["usage"]["calls"] == len(calls)

    deadline = time.monotonic() + 15
    while containers(folder.name) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert containers(folder.name) == []


def of_any_length(body: Mapping[str, Any]) -> str:
    """A thought of up to 60 words, decided by the seed; no answer, so the search goes on."""
    return json.dumps({"thought": "word " * random.Random(body["seed"]).randrange(60), "tool": "look", "args": {}})


@bw.tool(effects="pure")
def look() -> str:
    """Look around."""
    return "nothing here"


def looker(model: bw.Model, **options: Any) -> bw.Agent:
    """An agent that only looks, in a search that never ends by itself."""
    return bw.Agent(
        name="looker",
        model=model,
        tools=[look],
        form="json",
        search=bw.search.BestFirst(width=4, depth=6),
        sampling=bw.Sampling(max_tokens=80),
        slots=16,
        **options,
    )


@pytest.mark.parametrize("kind", ["tokens", "completion_tokens", "calls"])
async def test_no_budget_is_overshot_with_16_calls_in_flight(tmp_path: Path, kind: str) -> None:
    """Seven runs per limit, 16 calls at once, replies of any length: counted at the server, no limit is passed by one token."""
    for seed in range(7):
        limit = {"tokens": 24_000, "completion_tokens": 4_000, "calls": 67}[kind] + 29 * seed
        prompts: list[int] = []

        def reply(body: Mapping[str, Any], prompts: list[int] = prompts) -> str:
            prompts.append(prompt_tokens(body))
            return of_any_length(body)

        async with FakeServer(reply, latency=Latency(0.06, 0.7), seed=seed) as server:
            model = await connect("openai:fake", base_url=server.base_url, api_key="none", slots=16)
            runner = LocalRunner(RunStore(tmp_path / str(seed)))
            result = await runner.run(looker(model), Task(prompt="look"), bw.Budget(**{kind: limit}), seed=seed)
            await model.aclose()
            sampled = server.stats.completion_tokens
            spent = {"tokens": sum(prompts) + sampled, "completion_tokens": sampled, "calls": len(prompts)}[kind]
        assert result.stop_reason == "budget"
        assert kind in result.stop_detail
        assert spent <= limit
        assert spent > limit * 0.8, "the budget was used, not just kept"
        assert server.stats.max_in_flight >= 14


async def test_a_faulty_server_costs_branches_not_the_search(tmp_path: Path) -> None:
    """10 % of the calls end in a 500, a 429, silence or a cut stream: every branch is accounted for and the budget adds up."""
    faults = Faults.evenly(0.10, hang_seconds=30)
    async with FakeServer(of_any_length, latency=Latency(0.005, 0.5), faults=faults) as server:
        model = await connect(
            "openai:fake",
            base_url=server.base_url,
            api_key="none",
            slots=16,
            timeouts=Timeouts(first_token_seconds=1.0),
        )
        runner = LocalRunner(RunStore(tmp_path))
        items = [item async for item in runner.stream(looker(model), Task(prompt="look"), bw.Budget(nodes=200), seed=1)]
        await model.aclose()
    result = items[-1]
    assert isinstance(result, Result)
    assert (result.stop_reason, len(result.tree)) == ("budget", 201)
    assert sum(server.stats.faults.values()) > 10
    started = [e.work for e in items if isinstance(e, WorkStarted)]
    ends = Counter(e.work for e in items if isinstance(e, Expanded | Judged | Failed | Cancelled | Denied))
    assert all(ends[work.id] == 1 for work in started if isinstance(work, Expand | Score))
    assert len(ends) == len(started)
    assert result.usage.calls == server.stats.started.total()
    assert result.usage.cancelled_tokens > 0, "what cut streams had sampled is charged"
