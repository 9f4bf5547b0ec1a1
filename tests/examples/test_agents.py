"""The example agents do what they are there to show, with a scripted model in the place of the real one."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import branchwise as bw
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest, Task
from branchwise.graphs import LocalRunner, RunStore
from branchwise.models.fake_server import FakeServer

EXAMPLES = Path(__file__).parents[2] / "examples"


def turn(tool: str, **args: object) -> str:
    """A reply in the JSON form."""
    return json.dumps({"thought": "so", "tool": tool, "args": args})


def scripted(script: Callable[[ModelRequest], str]) -> ScriptedModel:
    """A model that speaks the JSON form."""
    return ScriptedModel(script, slots=4, native_tools=False)


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner whose runs live in the test's own folder."""
    return LocalRunner(RunStore(tmp_path / "runs"))


# --- the team ----------------------------------------------------------------------------------------------------------

SOUND = ["def is_prime(n):", "    if n < 2:", "        return False"]
SMALL = [
    *SOUND,
    "    for d in range(2, int(n**0.5) + 1):",
    "        if n % d == 0:",
    "            return False",
    "    return True",
]
LONG = [*SOUND, *(f"    if n == {n}:\n        return True" for n in (2, 3, 5, 7, 11)), *SMALL[3:]]


async def test_the_team_repairs_what_its_verifier_finds_small_enough(runner: LocalRunner) -> None:
    """The first repair passes the tests and is too large; told so, the next round makes a small one."""
    team = runpy.run_path(str(EXAMPLES / "team.py"))["team"]

    def reply(request: ModelRequest) -> str:
        prompt = "\n".join(message.content for message in request.messages if message.role == "user")
        if "You plan" in prompt:
            return json.dumps({"parts": [], "constraints": ["1 is no prime number"]})
        assert "1 is no prime number" in prompt
        told = "are enough: change only what is wrong" in prompt
        assert told is ("+    if n == 11" in prompt), "what was too large is shown"
        lines = SMALL if told else LONG
        return turn("rewrite", path="primes.py", name="is_prime", lines=lines)

    agent = replace(team, model=scripted(reply), search=bw.search.BestOfN(n=1, depth=2))
    task = Task(prompt="Make the failing tests pass.", files=str(EXAMPLES / "repos" / "primes"))
    result = await runner.run(agent, task, bw.Budget(nodes=12), seed=1)
    assert (result.accepted, result.stop_reason) == (True, "accepted")
    assert [row["passed"] for row in result.report["tries"]] == [False, True]
    assert result.report["final"] == "independent of the verifiers that guided the search"
    assert b"range(2, int(n**0.5) + 1)" in result.files["primes.py"]


# --- the researcher ----------------------------------------------------------------------------------------------------

TEXTS = {
    "rivers.md": "The Rhine is 1,233 kilometres\nlong. It rises in the Alps.\n",
    "cities.md": "Basel lies on the Rhine, and has an old bridge.\n",
}


async def test_the_researcher_quotes_what_is_there(runner: LocalRunner, tmp_path: Path) -> None:
    """Helpers look things up side by side; one makes a quotation up, which its verifiers say, and it is not used."""
    found = runpy.run_path(str(EXAMPLES / "research.py"))
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, text in TEXTS.items():
        (folder / name).write_text(text)

    def help_out(request: ModelRequest) -> str:
        question, turns = request.messages[1].content, sum(m.role == "assistant" for m in request.messages)
        if turns == 0:
            return turn("find", words=["Rhine", "kilometres"])
        if "how long" in question:
            assert "rivers.md:1: The Rhine is 1,233 kilometres" in request.messages[-1].content
            return turn("answer", text='"The Rhine is 1,233 kilometres long."')
        return turn("answer", text='"Basel was founded by the Romans in the year 44."')

    def lead(request: ModelRequest) -> str:
        seen = request.messages[-1].content
        if "answers" in seen:
            quoted = re.search(r'answers: ("[^"]+")', seen)
            assert quoted is not None
            return turn("answer", text=f"1,233 km: {quoted[1]}")
        return (
            turn("join") if "started" in seen else turn("spawn", tasks=["how long is the Rhine?", "how old is Basel?"])
        )

    bare = bw.sandboxes.Unprotected(code_may_do_anything=True)  # no program is run
    helper = replace(found["helper"], model=scripted(help_out), sandbox=bare)
    spawn = replace(found["researcher"].spawn, agent=helper)
    agent = replace(found["researcher"], model=scripted(lead), sandbox=bare, spawn=spawn)
    result = await runner.run(agent, Task(prompt="Rhine and Basel?", files=str(folder)), bw.Budget(nodes=30), seed=1)
    assert (result.answer, result.accepted) == ('1,233 km: "The Rhine is 1,233 kilometres long."', True)
    assert result.node is not None
    steps = [node.step for node in result.tree.path(result.node) if node.step is not None]
    [joined] = [o.text for step in steps for o in step.observations if "h2" in o.text and "answers" in o.text]
    assert "h2 answers (not accepted by its verifiers)" in joined


# --- the clerk ---------------------------------------------------------------------------------------------------------


def test_the_clerk_waits_for_a_person_in_another_process(tmp_path: Path) -> None:
    """One process begins and ends waiting; another one sends the letter as a person changed it."""

    def reply(body: Mapping[str, Any]) -> str:
        turns = sum(message["role"] == "assistant" for message in body["messages"])
        letter = turn("send", to="Ann", body="Dear Ann, come on Friday.")
        return [letter, turn("answer", text=f"done: {body['messages'][-1]['content']}")][turns]

    def clerk(*args: str) -> str:
        env = {
            **os.environ,
            "BRANCHWISE_HOME": str(tmp_path),
            "OPENAI_BASE_URL": server.base_url,
            "OPENAI_API_KEY": "x",
        }
        command = [sys.executable, str(EXAMPLES / "approval.py"), "--model", "openai:fake", *args]
        done = subprocess.run(
            command,
            check=False,
            cwd=tmp_path,
            env=env,
            text=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    with FakeServer(reply).in_thread() as server:
        first = clerk("Invite Ann.")
        question, run = first.split(":")[0], first.split("--run ")[1].split()[0]
        assert "Dear Ann, come on Friday." in first
        assert not (tmp_path / "outbox").exists()
        last = clerk("--run", run, "--answer", question, '{"to": "Ann", "body": "Dear Ann, come on Monday."}')
        assert last == "done: sent as number 1\n"
        assert [path.read_text() for path in (tmp_path / "outbox").iterdir()] == [
            "To: Ann\n\nDear Ann, come on Monday.\n"
        ]
        assert server.stats.started.total() == 2, "no call was made twice"


def test_what_a_person_says_is_understood() -> None:
    """Yes, no with a reason, the letter as it should be, or an answer to what the agent asks."""
    meaning = runpy.run_path(str(EXAMPLES / "approval.py"))["meaning"]
    letter = bw.Question("1", "approve", "May send be called?", {})
    assert meaning(letter, "yes") is True
    assert meaning(letter, "not now") == {"approved": False, "reason": "not now"}
    assert meaning(letter, '{"to": "x"}') == {"approved": True, "arguments": {"to": "x"}}
    assert meaning(bw.Question("2", "ask", "When?", {}), "yes") == "yes"


# --- the Archon --------------------------------------------------------------------------------------------------------


async def test_the_archon_makes_one_answer_of_five(runner: LocalRunner) -> None:
    """The critic sees all five, the ranker keeps three, and the fuser answers from these."""
    solver = runpy.run_path(str(EXAMPLES / "archon.py"))["solver"]
    attempts = ["2 and 1 make 3.\nanswer: 3"] * 2 + [f"I guess.\nanswer: {n}" for n in (4, 5, 6)]

    def reply(request: ModelRequest) -> str:
        properties = (request.response_schema or {}).get("properties", {})
        if "order" in properties:
            assert "said of solution" in request.messages[-1].content
            return json.dumps({"critique": "", "order": " > ".join(f"[{n}]" for n in range(1, 5))})
        if properties:
            assert len(properties) == 4, "equal attempts are one"
            return json.dumps({name: {"strengths": "short", "weaknesses": "a guess"} for name in properties})
        if "Others have tried" in request.messages[-1].content:
            return f"Half of 2 is 1.\nanswer: {request.messages[-1].content.count('<<< solution')}"
        return attempts[request_number()]

    def request_number() -> int:
        return sum(r.response_schema is None for r in model.requests) - 1

    model = ScriptedModel(reply, slots=1)
    result = await runner.run(replace(solver, model=model), Task(prompt="How many bolts?"), bw.Budget(), seed=1)
    assert (result.answer, result.usage.calls) == ("Half of 2 is 1.\nanswer: 3", 8)
    assert [row["after"] for row in result.report["layers"]] == [4, 4, 3, 1]
