"""Python sessions: names live on from cell to cell, through forks, snapshots and the loss of their process."""

from __future__ import annotations

import asyncio

import pytest

from branchwise.core.protocols import Sandboxes
from branchwise.sandboxes.environment import WorkerEnvironment, WorkerSandboxes
from branchwise.sandboxes.history import HISTORY

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_names_live_on(env: WorkerEnvironment) -> None:
    """Names, imports and functions of earlier cells are there; the value of a last expression is shown."""
    assert (await env.cell("import math\ndef area(r):\n    return math.pi * r * r")).ok
    assert (await env.cell("r = 2\nround(area(r), 3)")).stdout == "12.566\n"
    assert (await env.cell("_ + 1")).stdout == "13.566\n"
    assert (await env.cell("None")).stdout == ""
    assert (await env.cell("print('out'); import sys; print('err', file=sys.stderr)")).stderr == "err\n"
    assert (await env.cell("__name__")).stdout == "'__main__'\n"


async def test_errors_end_the_cell_and_not_the_session(env: WorkerEnvironment) -> None:
    """A traceback shows the cell's own lines; what came before the error counts."""
    await env.cell("x = 1")
    failed = await env.cell("x = 2\nraise ValueError('no')")
    assert failed.exit_code == 1
    assert failed.stderr.startswith('Traceback (most recent call last):\n  File "<cell 2>", line 2')
    assert failed.stderr.endswith("ValueError: no\n")
    assert "inside/" not in failed.stderr
    assert (await env.cell("x +")).exit_code == 1
    assert (await env.cell("import sys; sys.exit(3)")).exit_code == 1
    assert (await env.cell("x")).stdout == "2\n"


async def test_beside_other_programs(env: WorkerEnvironment) -> None:
    """Programs and cells work on the same files and do not end one another; a cell's processes end with it."""
    await env.cell(
        "import os, subprocess; child = subprocess.Popen(['sleep', '300']); open('made', 'w').write('by a cell')"
    )
    assert (await env.exec(["cat", "made"])).stdout == "by a cell"
    await env.exec("echo 'by a program' > made; sleep 300 &")
    assert (await env.cell("open('made').read(), child.poll() is not None")).stdout == "('by a program\\n', True)\n"
    assert HISTORY not in await env.list()


async def test_fork_takes_the_session_along(env: WorkerEnvironment) -> None:
    """Both sides go on from the same names, each with its own."""
    await env.cell("seen = ['before']; import random; random.seed(7)")
    child = await env.fork()
    assert (await env.cell("seen.append('parent'); seen")).stdout == "['before', 'parent']\n"
    assert (await child.cell("seen.append('child'); seen")).stdout == "['before', 'child']\n"
    grandchild = await child.fork()
    await child.close()
    assert (await grandchild.cell("seen.append('grandchild'); seen")).stdout == "['before', 'child', 'grandchild']\n"
    assert (await env.cell("seen")).stdout == "['before', 'parent']\n"
    assert (await grandchild.cell("random.random()")).stdout == (await env.cell("random.random()")).stdout
    await grandchild.close()


async def test_restore_takes_the_session_back(env: WorkerEnvironment) -> None:
    """A state that was kept comes with its session, however often."""
    await env.cell("n = 1; open('log', 'a').write('one\\n')")
    kept = await env.snapshot()
    await env.cell("n = 2; open('log', 'a').write('two\\n')")
    later = await env.snapshot()
    for _ in range(2):
        await env.restore(kept)
        assert (await env.cell("n, open('log').read()")).stdout == "(1, 'one\\n')\n"
        await env.restore(later)
        assert (await env.cell("n, open('log').read()")).stdout == "(2, 'one\\ntwo\\n')\n"


async def test_session_is_brought_back_elsewhere(supply: Sandboxes, env: WorkerEnvironment) -> None:
    """In another sandbox the cells are run again, from the files that the first of them saw."""
    await env.write("number", b"20")
    await env.cell("number = int(open('number').read())")
    await env.write("number", b"99")
    await env.cell("number += 1; open('log', 'a').write('once\\n')")
    kept = await env.snapshot()
    held = [await supply.open() for _ in range(2)]  # so that another sandbox has to do
    assert isinstance(supply, WorkerSandboxes)
    space = await supply.place(kept)
    other = WorkerEnvironment(supply, space)
    result = await other.cell("number, open('number').read(), open('log').read()")
    assert result.stdout == "(21, '99', 'once\\n')\n"
    assert result.stderr == ""
    for environment in (*held, other):
        await environment.close()


async def test_cell_that_takes_too_long_has_never_been(env: WorkerEnvironment) -> None:
    """The session is as it was before, and nothing of the cell goes on."""
    await env.cell("x = 1; print('first')")
    stuck = await env.cell("x = 2\nprint('begun', flush=True)\nwhile True: pass", timeout_seconds=0.5)
    assert stuck.timed_out
    assert stuck.stdout == "begun\n"
    assert (await env.cell("x")).stdout == "1\n"


async def test_cell_that_ends_its_process(env: WorkerEnvironment) -> None:
    """It is told, and the session goes on from before."""
    await env.cell("x = 1")
    ended = await env.cell("x = 2; import os; os._exit(0)")
    assert "has ended with this cell" in ended.stderr
    assert (await env.cell("x")).stdout == "1\n"
    killed = await env.cell("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert killed.exit_code == -9
    assert (await env.cell("x")).stdout == "1\n"


async def test_cancelled_cell(env: WorkerEnvironment) -> None:
    """Cancelling ends the cell; the session goes on from before it."""
    await env.cell("x = 1")
    running = asyncio.create_task(env.cell("x = 2\nwhile True: pass"))
    await asyncio.sleep(0.3)
    running.cancel()
    await asyncio.wait([running])
    assert (await env.cell("x")).stdout == "1\n"


async def test_session_killed_by_a_sibling_is_brought_back(env: WorkerEnvironment) -> None:
    """A program that kills whatever it can reach costs a session its process and not its names."""
    await env.cell("x = 41")
    await env.exec("kill -9 -1")
    await env.exec("kill -CONT -1; kill -9 -1")
    assert (await env.cell("x + 1")).stdout == "42\n"


async def test_cells_that_do_not_repeat_are_told_of(env: WorkerEnvironment) -> None:
    """Where a cell prints something else the second time, the reader of the next one learns it."""
    await env.cell("import os; print(os.urandom(8))")
    await env.cell("print('same')")
    await env.exec("kill -9 -1")
    told = await env.cell("1")
    assert told.stdout == "1\n"
    assert "cell 1 did not do what it did before" in told.stderr


async def test_much_of_everything(env: WorkerEnvironment) -> None:
    """Large cells, large outputs, threads that live on."""
    assert (await env.cell("data = '" + "x" * 500_000 + "'\nlen(data)")).stdout == "500000\n"
    loud = await env.cell("print('y' * 3_000_000)", output_limit_bytes=1000)
    assert loud.truncated
    assert len(loud.stdout) == 1000
    await env.cell(
        "import threading, queue\nbox = queue.Queue()\nthreading.Thread(target=lambda: box.put(box.get() + 1), daemon=True).start()"
    )
    assert (await env.cell("box.put(1); import time; time.sleep(.1); box.get()")).stdout == "2\n"


async def test_history_that_a_guest_has_spoilt(env: WorkerEnvironment) -> None:
    """Nonsense in its file is a new session, and no error of ours."""
    await env.cell("x = 1")
    await env.write(HISTORY, b"[[[[")
    fresh = await env.cell("x")
    assert "NameError" in fresh.stderr
