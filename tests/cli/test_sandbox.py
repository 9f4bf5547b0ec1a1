"""`branchwise sandbox` and `branchwise patch`, as a user types them."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import termios
import textwrap
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from branchwise.cli import main
from branchwise.sandboxes.door import Door

AGENTS = """
import itertools
import json
import branchwise as bw
from branchwise.core.testing import ScriptedModel

numbers = itertools.count()
EDITS = [("return a - b", "return a + b"), ("return 1", "return 11")]


def script(request):
    old, new = EDITS[next(numbers)]
    return json.dumps({"thought": "so", "tool": "replace", "args": {"path": "maths.py", "old": old, "new": new}})


@bw.verifier(scope="state")
async def far(candidate):
    return bw.Verdict(len(candidate.path) / 10, "value", "far")


coder = bw.Agent(name="coder", model=ScriptedModel(script, native_tools=False), tools=[bw.tools.files], slots=1, verifiers=[far],
                 sandbox=bw.sandboxes.Local(), search=bw.search.BestOfN(n=1, depth=2))
"""


class Shell:
    """Runs `branchwise` with a home of its own that has one run of two steps."""

    def __init__(self, folder: Path, files: Path) -> None:
        self.folder = folder
        self.files = files
        (folder / "agents.py").write_text(textwrap.dedent(AGENTS))
        self.env = {**os.environ, "BRANCHWISE_HOME": str(folder / "home"), "NO_COLOR": "1", "COLUMNS": "120"}
        self.command = [sys.executable, "-m", "branchwise.cli"]
        code, out, err = self("run", "agents.py:coder", "change it", "--files", str(files), "--seed", "1", "--json")
        assert code in {0, 3}, err
        self.run = str(json.loads(out.splitlines()[-1])["result"]["run_id"])

    @property
    def states(self) -> Path:
        """Folder of the run's states."""
        return self.folder / "home" / "runs" / self.run / "snapshots"

    def here(self, *args: str) -> tuple[int, str, str]:
        """Run a command in this process, which saves the time that a new one takes to start."""
        out, err = io.StringIO(), io.StringIO()
        code: object = 0
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "argv", ["branchwise", *args])
            patch.setattr(sys, "stdin", io.StringIO())
            patch.setenv("BRANCHWISE_HOME", self.env["BRANCHWISE_HOME"])
            try:
                main()
            except SystemExit as end:
                code = end.code or 0
        assert isinstance(code, int)
        return code, out.getvalue(), err.getvalue()

    def __call__(self, *args: str, stdin: str = "") -> tuple[int, str, str]:
        """Run a command to its end; return its status, output and error output."""
        done = subprocess.run(
            [*self.command, *args], env=self.env, cwd=self.folder, input=stdin, text=True, capture_output=True, timeout=120, check=False
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """The command line, with one run."""
    folder = tmp_path_factory.mktemp("shell")
    files = folder / "files"
    files.mkdir()
    (files / "maths.py").write_text("def add(a, b):\n    return a - b\n\n\ndef one():\n    return 1\n")
    return Shell(folder, files)


@pytest.fixture
def lost(shell: Shell) -> Iterator[Shell]:
    """The command line, with the run's states moved away."""
    shell.states.rename(shell.folder / "aside")
    yield shell
    shutil.rmtree(shell.states, ignore_errors=True)
    (shell.folder / "aside").rename(shell.states)


def sandboxes() -> set[str]:
    """Process ids of sandbox workers that were started for a shell."""
    found = subprocess.run(["pgrep", "-f", "bwrap.*shell-"], capture_output=True, text=True, check=False)
    return set(found.stdout.split())


# --- patch and export -------------------------------------------------------------------------------------------------


def test_patch_is_for_git(shell: Shell, tmp_path: Path) -> None:
    """Any node's changes come out as a patch; applied, they make the node's files of the task's own."""
    code, out, _ = shell.here("patch", shell.run)
    assert code == 0
    assert "-    return a - b\n+    return a + b\n" in out
    assert "+    return 11\n" in out
    shutil.copytree(shell.files, tmp_path / "work")
    subprocess.run(["git", "apply", "-"], cwd=tmp_path / "work", input=out, text=True, check=True)
    assert "return 11" in (tmp_path / "work" / "maths.py").read_text()
    assert "return 11" not in shell.here("patch", f"{shell.run}/2")[1]
    assert "return a + b" not in shell.here("patch", f"{shell.run}/4", "--since", "2")[1].replace(
        "     return a + b", ""
    )
    assert shell.here("patch", f"{shell.run}/0")[1] == ""
    shell.here("patch", shell.run, "-o", str(tmp_path / "out.patch"))
    assert (tmp_path / "out.patch").read_text() == out


def test_export(shell: Shell, tmp_path: Path) -> None:
    """A node's files as a folder or an archive; nothing is overwritten."""
    assert shell.here("sandbox", "export", f"{shell.run}/2", str(tmp_path / "one"))[0] == 0
    assert "return a + b" in (tmp_path / "one" / "maths.py").read_text()
    assert shell.here("sandbox", "export", shell.run, str(tmp_path / "two.tar.xz"))[0] == 0
    with tarfile.open(tmp_path / "two.tar.xz") as tar:
        assert tar.getnames() == ["maths.py"]
    code, _, err = shell.here("sandbox", "export", shell.run, str(tmp_path / "one"))
    assert (code, "is there already" in err) == (2, True)


# --- shell ------------------------------------------------------------------------------------------------------------


def test_a_command_in_any_state(shell: Shell) -> None:
    """Its output, error output and status are this program's; a script can come in instead; nothing stays."""
    code, out, err = shell("sandbox", "shell", f"{shell.run}/2", "--", "sh", "-c", "cat maths.py; echo no >&2; exit 7")
    assert (code, err) == (7, "no\n")
    assert "return a + b" in out
    assert "return 1\n" in out
    code, out, _ = shell("sandbox", "shell", shell.run, stdin="ls; echo x > new; grep -c 11 maths.py\n")
    assert (code, out) == (0, "maths.py\n1\n")
    code, out, _ = shell("sandbox", "shell", f"{shell.run}/0", "--", "cat", "-", stdin="a" * 300_000)
    assert (code, len(out)) == (0, 300_000)
    code, _, err = shell("sandbox", "shell", shell.run, "--", "nothing-such")
    assert (code, err) == (127, "cannot run: nothing-such: No such file or directory\n")
    assert shell("sandbox", "shell", shell.run, "--", "sh", "-c", "kill -9 $$")[0] == 137
    assert not sandboxes()


def test_both_outputs_come_as_they_are_written(shell: Shell) -> None:
    """What a command says on standard error is there before it says more on standard output, not when it has ended."""
    script = "echo one; echo two >&2; read line; echo three"
    process = subprocess.Popen(
        [*shell.command, "sandbox", "shell", shell.run, "--", "sh", "-c", script],
        env=shell.env, cwd=shell.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    assert (process.stdout.readline(), process.stderr.readline()) == ("one\n", "two\n")
    assert process.communicate("go on\n")[0] == "three\n"
    assert process.returncode == 0


def test_dropped_states_are_made_again(lost: Shell, tmp_path: Path) -> None:
    """What was dropped is told where it cannot be had, made again by a shell, and there from then on."""
    code, _, err = lost.here("patch", lost.run)
    assert (code, "sandbox shell" in err) == (1, True)
    shutil.copytree(lost.folder / "aside" / "contents", lost.states / "contents", dirs_exist_ok=True)
    (lost.states / "manifests").mkdir(exist_ok=True)
    record = json.loads((lost.states.parent / "run.json").read_text())
    root = f"{record['root_ref']}.json"
    shutil.copy(lost.folder / "aside" / "manifests" / root, lost.states / "manifests" / root)
    code, out, err = lost("sandbox", "shell", f"{lost.run}/4", "--", "grep", "-c", "return a + b", "maths.py")
    assert (code, out) == (0, "1\n"), err
    assert lost.here("patch", lost.run)[0] == 0


WAIT_FOR_SIZE = (
    "import os; [0 for _ in iter(os.get_terminal_size, os.terminal_size((99, 44)))]; print(*os.get_terminal_size())"
)


def type_into(shell: Shell, *steps: tuple[str, str], rows: int = 33) -> tuple[str, int, list[object]]:
    """Hold a conversation on a terminal: wait for a text, type another. Return all output, status and terminal modes."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 101, 0, 0))
    before = termios.tcgetattr(slave)
    process = subprocess.Popen(
        [*shell.command, "sandbox", "shell", f"{shell.run}/2"], env=shell.env, cwd=shell.folder,
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    )  # fmt: skip
    said, start = "", 0
    deadline = time.monotonic() + 60
    try:
        for expected, text in steps:
            while not (found := re.search(expected, said[start:])):
                assert time.monotonic() < deadline, f"never saw {expected!r} in {said!r}"
                if select.select([master], [], [], 0.5)[0]:
                    said += os.read(master, 65536).decode(errors="replace")
            start += found.end()
            if text == "RESIZE":
                fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 99, 0, 0))
                process.send_signal(signal.SIGWINCH)
            else:
                os.write(master, text.encode())
        while process.poll() is None or select.select([master], [], [], 0)[0]:
            assert time.monotonic() < deadline, f"it did not end: {said!r}"
            if select.select([master], [], [], 0.1)[0]:
                said += os.read(master, 65536).decode(errors="replace")
        code = process.returncode
        after = termios.tcgetattr(slave)
        assert after == before, "the user's terminal is as it was"
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)
    return said, code, after


def test_an_interactive_shell(shell: Shell) -> None:
    """On a terminal: a prompt, the window's size and its changes, Ctrl-C goes to the program there, exit ends it all."""
    said, code, _ = type_into(
        shell,
        (r"\$ ", "stty size 2>/dev/null || python3 -c 'import os; print(*os.get_terminal_size())'\r"),
        (r"(33 101|101 33)", ""),
        (r"\$ ", "RESIZE"),
        ("", f"python3 -c '{WAIT_FOR_SIZE}'\r"),
        (r"99 44", ""),
        (r"\$ ", "python3 -c 'import time; print(6 * 111, flush=True); time.sleep(100)'\r"),
        ("666", "\x03"),
        (r"\$ ", "cat maths.py; exit 5\r"),
    )
    assert code == 5
    assert "return a + b" in said
    assert "nothing that is done here stays" in said
    assert not sandboxes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_shell_leaves_nothing(shell: Shell, number: int) -> None:
    """However it ends, the sandbox is gone within a moment."""
    process = subprocess.Popen(
        [*shell.command, "sandbox", "shell", shell.run, "--", "sh", "-c", "echo there; sleep 100"],
        env=shell.env, cwd=shell.folder, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"there\n"
    assert sandboxes()
    process.send_signal(number)
    process.wait(20)
    process.stdout.close()
    deadline = time.monotonic() + 10
    while sandboxes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not sandboxes()


def test_wrong_use_is_one_clear_line(shell: Shell) -> None:
    """Status 2 and words that say what there is."""
    for command, told in [
        (["sandbox", "shell", "nothing/1"], "no run in"),
        (["sandbox", "shell", f"{shell.run}/77"], "has no node '77'; its nodes are 0, 2, 4"),
        (["sandbox", "shell", f"{shell.run}/x"], "has no node 'x'"),
        (["patch", f"{shell.run}/9"], "has no node '9'"),
        (["patch", shell.run, "--since", "9"], "has no node '9'"),
        (["sandbox", "prune", "--older", "0", "--most-gb", "0"], "say --yes"),
    ]:
        code, out, err = shell.here(*command)
        assert (code, told in err, err.count("\n")) == (2, True, 1), (out, err)


# --- ls, prune, doctor ------------------------------------------------------------------------------------------------


def test_folders_of_dead_processes_are_pruned(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process had beside its sandboxes is listed and removed; a living one's stays."""
    # A folder of its own: whoever starts a sandbox meanwhile takes away what the dead have left in the usual one.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program = "from branchwise.sandboxes.door import Door; import os; Door('wire'); os.kill(os.getpid(), 9)"
    killed = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "TMPDIR": str(tmp_path)})
    killed.wait()
    living = Door("wire")

    def places() -> dict[str, tuple[int, bool]]:
        rows = [row for row in json.loads(shell.here("sandbox", "ls", "--json")[1]) if row["kind"] == "place"]
        owners = {row["name"]: int(row["name"].split("_")[2]) for row in rows}
        return {row["name"]: (owners[row["name"]], row["alive"]) for row in rows}

    try:
        assert sorted(places().values()) == sorted([(killed.pid, False), (os.getpid(), True)])
        shell.here("sandbox", "prune", "--older", "365", "--yes")
        assert list(places().values()) == [(os.getpid(), True)]
    finally:
        living.close()


def test_states_are_listed_and_pruned(shell: Shell) -> None:
    """Only what was asked for goes: by age, by size; a run that goes on is left alone; a pruned run can be viewed."""
    shutil.copytree(shell.states, shell.folder / "copy")
    names = [row["name"] for row in json.loads(shell.here("sandbox", "ls", "--json")[1]) if row["kind"] == "states"]
    assert names == [shell.run]
    assert shell.run in shell.here("sandbox", "ls")[1]

    def found(*options: str) -> list[str]:
        rows = json.loads(shell.here("sandbox", "prune", *options, "--dry-run", "--json")[1])["found"]
        return [row["name"] for row in rows if row["kind"] == "states"]

    assert found() == found("--snapshots") == found("--most-gb", "1") == []
    assert found("--snapshots", "--older", "0") == found("--most-gb", "0") == [shell.run]
    with (shell.states.parent / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert found("--most-gb", "0") == []
        [row] = [row for row in json.loads(shell.here("sandbox", "ls", "--json")[1]) if row["kind"] == "states"]
        assert row["in_use"]
    shell.here("sandbox", "prune", "--most-gb", "0", "--older", "365", "--yes")
    assert not shell.states.exists()
    assert shell.here("view", shell.run)[0] == 0
    (shell.folder / "copy").rename(shell.states)


@pytest.mark.docker
def test_doctor_finds_this_machine_well(shell: Shell) -> None:
    """Engine, limits, isolation and forks are tried for real; all of it works where these tests run."""
    code, out, err = shell("sandbox", "doctor", "--json")
    report = json.loads(out)
    assert (code, report["ok"], err) == (0, True, "")
    found = {check["name"]: check for check in report["checks"]}
    for kind in ("docker", "bubblewrap"):
        for what in ("rights", "filter", "system", "network", "memory", "processes"):
            assert found[f"{kind} sandbox: {what}"]["state"] == "ok", found[f"{kind} sandbox: {what}"]
    assert found["docker sandbox: way to the worker"]["found"] == "a socket of its own, past the engine"


def test_doctor_without_an_engine(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is told with what to do about it; with nothing at all the status is 1."""
    monkeypatch.setitem(shell.env, "DOCKER_HOST", "unix:///nowhere/docker.sock")
    code, out, _ = shell("sandbox", "doctor")
    assert code == 0
    assert "warn  docker engine: no Docker engine answers" in out
    assert "→ " in out
    monkeypatch.setitem(shell.env, "PATH", "/nowhere")
    code, out, _ = shell("sandbox", "doctor")
    assert code == 1
    assert "fail  bubblewrap: not installed" in out
    code, _, err = shell("sandbox", "ls")
    assert (code, "without the engine's part" in err) == (0, True)
