"""The proof that stands before every attack program, tried where it must refuse. The payload here is harmless."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from .corpus import FOLDER, load, parse
from .firing import NotProved, Outcome, Range, appear, survivors
from .guard import FIRST_STATEMENT, REFUSED_STATUS, UnsafeProgram, first_statement, guarded

PAYLOAD = f"{FIRST_STATEMENT}\nprint('the payload runs')\n"

# Becomes an unprivileged user before it becomes the program: were the proof broken, little could happen.
AS_NOBODY = """
import ctypes, errno, os, platform, signal, socket, sys, time
program = sys.stdin.read()
if os.getuid() == 0:
    os.setgroups([])
    os.setresgid(65532, 65532, 65532)
    os.setresuid(65532, 65532, 65532)
exec(program)
"""


def on_host(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program on this machine, outside of any sandbox."""
    return subprocess.run(
        [sys.executable, "-c", AS_NOBODY],
        input=program,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("environment", [{}, {"BRANCHWISE_SANDBOX": "1"}])
def test_nothing_runs_on_the_host(environment: dict[str, str]) -> None:
    """Outside of a sandbox the program ends before its first harmful line, even where somebody has set the mark."""
    told = on_host(guarded(PAYLOAD, run_id="any"), **environment)
    assert told.returncode == REFUSED_STATUS
    assert "the payload runs" not in told.stdout
    for doubt in ("process 1 is not a worker", "pid namespace is that of the host", "net namespace", "can be seen"):
        assert doubt in told.stderr


def test_program_without_its_prelude_ends_at_once() -> None:
    """A file of the corpus that somebody starts by itself knows no proof, and ends there."""
    told = on_host(PAYLOAD)
    assert told.returncode == 1
    assert "NameError: name 'prove_inside' is not defined" in told.stderr
    assert told.stdout == ""


def test_every_program_of_the_corpus_begins_with_its_proof() -> None:
    """So does every part that is run later; programs that do not are not even sent."""
    abuses = load()
    assert len(abuses) >= 30
    for abuse in abuses:
        for part in abuse.parts:
            assert first_statement(part.text) == FIRST_STATEMENT, abuse.name
            compile(part.text, abuse.name, "exec")
    for bad in ("print('x')\n" + PAYLOAD, "if True: prove_inside()", ""):
        with pytest.raises(UnsafeProgram, match="must begin with"):
            guarded(bad, run_id="any")


def test_corpus_files_are_no_modules() -> None:
    """Nothing imports them by accident: none has a name that Python would take for a module's."""
    assert {path.suffix for path in FOLDER.iterdir()} == {".txt"}


def test_unknown_keys_of_a_file_are_told() -> None:
    """A slip of the pen in a file's head does not silently loosen what is checked."""
    with pytest.raises(ValueError, match="unknown"):
        parse("x", "# summary: x\n# end: time\nprove_inside()\n")
    with pytest.raises(ValueError, match="unknown"):
        parse("x", "# summary: x\n# ends: never\nprove_inside()\n")


@pytest.mark.asyncio(loop_scope="module")
async def test_other_run_s_sandbox_is_refused(arena: Range) -> None:
    """Inside a sandbox, but not one of the run that is meant: the program refuses, and the range stops."""
    abuse = parse("harmless", "# summary: nothing\n" + PAYLOAD)
    assert (await arena.attempt(abuse)).faults == []
    run_id, arena.run_id = arena.run_id, "another"
    try:
        env = await arena.supply.open()
        result = await env.exec(arena.command(PAYLOAD))
        assert (result.exit_code, result.stdout) == (REFUSED_STATUS, "")
        with pytest.raises(NotProved, match="not a worker of the run"):
            arena._read(result, frozenset({"itself"}), Outcome("harmless", arena.kind))
        await env.close()
    finally:
        arena.run_id = run_id


@pytest.mark.asyncio(loop_scope="module")
async def test_range_sees_what_goes_wrong(arena: Range) -> None:
    """The checks find what they are there for: words of escape, wrong endings, processes that are left."""
    say = parse("say", "# summary: x\nprove_inside()\nescaped('x')\nweaker('y')\nsys.exit(3)\n")
    outcome = await arena.attempt(say)
    assert "ESCAPED x" in outcome.faults
    assert any("status 3" in fault for fault in outcome.faults)
    assert outcome.weaker == (["WEAKER y"] if arena.kind == "local" else [])


@pytest.mark.asyncio(loop_scope="module")
async def test_survivors_are_seen(arena: Range) -> None:
    """Every process of a guest is found from the host, the forked and the daemons too; after the call there is none."""
    program = "prove_inside()\nif os.fork() == 0:\n    os.setsid()\n    os.fork()\ntime.sleep(60)\n"
    mark = "-I\0-S\0-c\0HOST"
    env = await arena.supply.open()
    running = asyncio.create_task(env.exec(arena.command(program)))
    await appear(arena.run_id, 3, mark)
    here = [process for process in survivors(arena.run_id) if mark.encode() in process.command]
    assert len({process.worker for process in here}) == 1
    running.cancel()
    await asyncio.wait({running})
    assert not [process for process in survivors(arena.run_id) if mark.encode() in process.command]
    await env.close()
