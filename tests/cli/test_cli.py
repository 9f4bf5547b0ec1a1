"""The command line as a user types it: a process of its own, real sandboxes, a scripted model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

AGENTS = """
import itertools
import json
import branchwise as bw
from branchwise.core.testing import ScriptedModel

RIGHT = {"path": "maths.py", "old": "return a - b", "new": "return a + b"}


def turn(**args):
    return json.dumps({"thought": "so", "tool": "replace", "args": args})


numbers = itertools.count()


def script(request):
    number = next(numbers)
    return turn(**(RIGHT if number == 2 else {"path": "maths.py", "old": "return 1", "new": f"return {number + 2}"}))


def model(script, seconds=0.0):
    return ScriptedModel(script, native_tools=False, latency_seconds=lambda request: seconds)


options = dict(
    tools=[bw.tools.files],
    verifiers=[bw.verifiers.Tests()],
    search=bw.search.BestFirst(width=2, depth=2),
    sandbox=bw.sandboxes.Docker(),
    slots=2,
)
coder = bw.Agent(name="coder", model=model(script), **options)
slow = bw.Agent(name="slow", model=model(lambda request: turn(**RIGHT), 600), **options)
talker = bw.Agent(name="talker", model=model(
    lambda request: json.dumps({"thought": "", "tool": "answer", "args": {"text": "forty-two"}})))
quiz = bw.Agent(name="quiz", model=model(lambda request: json.dumps(
    {"critique": "checked", "verdict": "yes"} if "verdict" in request.response_schema["properties"]
    else {"thought": "", "tool": "answer", "args": {"text": "5"}})))
"""


class Shell:
    """Runs `branchwise` with a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.agents = folder / "agents.py"
        self.agents.write_text(textwrap.dedent(AGENTS))
        self.env = {**os.environ, "BRANCHWISE_HOME": str(folder / "home"), "COLUMNS": "120", "NO_COLOR": "1"}

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start a command."""
        command = [sys.executable, "-m", "branchwise.cli", *args]
        return subprocess.Popen(
            command, env=self.env, cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def __call__(self, *args: str) -> tuple[int, str, str]:
        """Run a command to its end; return its status, output and error output."""
        process = self.start(*args)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def records(self, *args: str) -> tuple[int, list[dict[str, Any]]]:
        """Run a command with `--json`; return its status and records."""
        code, out, err = self(*args, "--json")
        assert "Traceback" not in err, err
        return code, [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """The command line in an empty folder with a file of agents."""
    return Shell(tmp_path)


@pytest.mark.docker
def test_run_view_runs(shell: Shell, repository: Path) -> None:
    """A run is accepted with status 0; its tree, patch, node and record can be looked at afterwards, and removed."""
    code, out, err = shell("run", "agents.py:coder", "repair it", "--files", str(repository), "--seed", "1")
    assert code == 0, err
    assert "accepted" in out
    assert "★" in out
    assert "changed: maths.py" in out
    assert "return a - b" in (repository / "maths.py").read_text()

    code, rows = shell.records("runs")
    assert (code, len(rows)) == (0, 1)
    assert (rows[0]["agent"], rows[0]["status"], rows[0]["accepted"]) == ("coder", "accepted", True)
    run_id = rows[0]["run_id"]
    assert run_id in shell("runs")[1]

    code, out, _ = shell("view", run_id)
    assert code == 0
    assert 'replace(maths.py, "return a - b", "return a + b")' in out
    assert "accepted" in out
    _, patch, _ = shell("view", run_id, "--patch")
    assert "-    return a - b\n+    return a + b\n" in patch
    _, [record] = shell.records("view", run_id)
    assert record["events"][-1][0] == "Stopped"
    _, out, _ = shell("view", run_id[:12], "--node", str(rows[0]["node"]))
    assert "tests accepted 1.00, in-process" in out

    assert shell("resume", run_id)[0] == 0, "an accepted run stays accepted"
    assert shell("runs", "--rm", run_id)[0] == 0
    assert shell.records("runs")[1] == []


def test_verifiers_can_be_added(shell: Shell) -> None:
    """By name, several; the run is resumed with them though the agent has none."""
    judges = ("--verifier", "vote:k=2:judge:accept=0.5", "--verifier", "judge:name=second,accept=0.5")
    code, rows = shell.records("run", "agents.py:quiz", "2 + 3?", *judges)
    assert code == 0
    result = rows[-1]["result"]
    assert [verdict["verifier"] for verdict in result["verdicts"]] == ["judge", "second"]
    assert result["usage"]["verifier_calls"] == 3
    code, rows = shell.records("resume", result["run_id"])
    assert (code, rows[-1]["result"]["accepted"]) == (0, True)
    code, _, err = shell("run", "agents.py:quiz", "2 + 3?", "--verifier", "jury")
    assert (code, "no verifier is called 'jury'" in err) == (2, True)


@pytest.mark.docker
def test_json_and_apply(shell: Shell, repository: Path) -> None:
    """`--json` prints an event a line and the result last; `--apply` writes the accepted files back."""
    code, rows = shell.records("run", "agents.py:coder", "repair it", "--files", str(repository), "--apply")
    assert code == 0
    assert rows[0]["event"][0] == "WorkStarted"
    assert rows[-1]["result"]["accepted"] is True
    assert rows[-1]["result"]["changed_files"] == ["maths.py"]
    assert "return a + b" in (repository / "maths.py").read_text()


@pytest.mark.docker
def test_budget_spent_is_status_3_and_resume_goes_on(shell: Shell, repository: Path) -> None:
    """A budget that runs out is no error; the run says how to go on, and does so with `--search` as it was begun."""
    command = ["run", "agents.py:coder", "x", "--files", str(repository), "--search", "best-first:width=3,depth=2"]
    code, out, _ = shell(*command, "--nodes", "1", "--snapshot-gb", "2")
    assert code == 3
    assert "go on with it: branchwise resume " in out
    run_id = out.split("branchwise resume ")[1].split()[0]
    record = shell.folder / "home" / "runs" / run_id / "run.json"
    assert json.loads(record.read_text())["budget"] == {"nodes": 1, "snapshot_bytes": 2_000_000_000}
    code, out, err = shell("resume", run_id, "--json", "--snapshot-gb", "0.5")
    assert code == 3, err
    assert json.loads(out.splitlines()[-1])["result"]["stop_reason"] == "budget"
    assert json.loads(record.read_text())["budget"] == {"nodes": 1, "snapshot_bytes": 500_000_000}


def test_an_agent_without_verifiers_answers_with_status_0(shell: Shell) -> None:
    """One trajectory, no sandbox, no verifier: the answer is printed."""
    code, out, err = shell("run", "agents.py:talker", "6 x 7?")
    assert code == 0, err
    assert "forty-two" in out


@pytest.mark.docker
def test_ctrl_c_stops_cleanly_with_the_best_so_far(shell: Shell, repository: Path) -> None:
    """One Ctrl-C: the run ends in good order, status 3, and can be resumed; its record says interrupted."""
    process = shell.start("run", "agents.py:slow", "x", "--files", str(repository), "--json")
    assert process.stdout is not None
    for line in process.stdout:
        if '"Expand"' in line:
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 3, err
    assert "stopping with the best so far" in err
    assert json.loads(out.splitlines()[-1])["result"]["stop_reason"] == "interrupted"
    assert shell.records("runs")[1][0]["status"] == "interrupted"


@pytest.mark.docker
def test_twice_ctrl_c_kills(shell: Shell, repository: Path) -> None:
    """A second Ctrl-C ends the process at once, whatever it is doing; the record says killed."""
    process = shell.start("run", "agents.py:slow", "x", "--files", str(repository), "--json")
    assert process.stdout is not None
    for line in process.stdout:
        if '"Expand"' in line:
            break
    process.send_signal(signal.SIGSTOP)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    process.communicate(timeout=5)
    assert process.returncode in (-signal.SIGKILL, 3)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["run", "nope.py:x", "t"], "there is no file 'nope.py'; give the agent as file.py:name"),
        (["run", "agents.py", "t"], "defines 4 agents (coder, slow, talker, quiz); say which"),
        (["run", "agents.py:nobody", "t"], "defines no agent 'nobody'; it has: coder, slow, talker"),
        (["run", "broken.py:x", "t"], "broken.py, line 2: NameError: name 'y' is not defined"),
        (["run", "syntax.py:x", "t"], "syntax.py, line 1: SyntaxError"),
        (["run", "untyped.py:x", "t"], "tool 'f': parameter 'x' has no type"),
        (["run", "agents.py:talker", " "], "the task is empty"),
        (["run", "agents.py:talker", "t", "--tokens", "0"], "budget tokens=0: input should be greater than 0"),
        (["run", "agents.py:talker", "t", "--search", "magic"], "no strategy is called 'magic'; there are: none,"),
        (
            ["run", "agents.py:talker", "t", "--search", "best-of-n:m=3"],
            "has no option 'm=3'; it takes depth=..., repeats=..., n=...",
        ),
        (["run", "agents.py:talker", "t", "--search", "best-of-n:n=0"], "n=0 is out of range"),
        (["run", "agents.py:coder", "t", "--files", "nowhere"], "is no folder"),
        (["run", "agents.py:talker", "t", "--files", "."], "has no sandbox to put them into"),
        (["run", "nomodel.py:x", "t"], "branchwise models pull"),
        (["resume", "x"], "no run in"),
        (["view", "x"], "no run in"),
        (["runs", "--rm", "x"], "no run in"),
    ],
)
def test_wrong_use_is_one_clear_line(shell: Shell, command: list[str], told: str) -> None:
    """Wrong use ends with status 2 (1 where something is missing on the machine) and one line that says what to do."""
    shell.folder.joinpath("broken.py").write_text("x = 1\ny\n")
    shell.folder.joinpath("syntax.py").write_text("def\n")
    shell.folder.joinpath("untyped.py").write_text("import branchwise as bw\n@bw.tool\ndef f(x): ...\n")
    shell.folder.joinpath("nomodel.py").write_text(
        "import branchwise as bw\nx = bw.Agent(name='x', model='embedded:smollm2-135m-instruct')\n"
    )
    code, out, err = shell(*command)
    assert code == (1 if "nomodel" in command[1] else 2), err
    assert told in err
    assert out == ""
    assert len(err.strip().splitlines()) == 1
