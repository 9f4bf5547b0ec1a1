"""Python programs in the warm interpreter: like `python3 -c`, but for the time that it takes."""

from __future__ import annotations

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.types import Python
from branchwise.sandboxes.environment import WorkerEnvironment

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROGRAMS = {
    "prints": "import sys; print('out', sys.argv, __name__); print('err', file=sys.stderr)",
    "exits with a number": "import sys; sys.exit(3)",
    "exits with a large number": "import sys; sys.exit(300)",
    "exits with words": "import sys; sys.exit('words')",
    "exits with nothing": "print('x', end=''); exit()",
    "raises": "def f(x):\n    return 1 / x\nf(0)",
    "raises a chain": "try:\n    {}['a']\nexcept KeyError as error:\n    raise ValueError('b') from error",
    "raises a group": "raise ExceptionGroup('g', [ValueError(1), TypeError(2)])",
    "does not compile": "def f(:\n  pass",
    "leaves at once": "import os, sys; sys.stdout.write('lost'); os._exit(5)",
    "is killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "is interrupted": "import os, signal; os.kill(os.getpid(), signal.SIGINT)",
    "breaks a pipe": "import os\nr, w = os.pipe()\nos.close(r)\ntry:\n    os.write(w, b'x')\nexcept BrokenPipeError:\n    print('broken')",
    "runs at exit": "import atexit; atexit.register(print, 'last'); print('first')",
    "fails at exit": "import atexit; atexit.register(lambda: 1 / 0); print('first')",
    "has a thread": "import threading, time\nthreading.Thread(target=lambda: (time.sleep(.05), print('thread'))).start()\nprint('main')",
    "has a daemon thread": "import threading, time\nthreading.Thread(target=time.sleep, args=(99,), daemon=True).start()",
    "has a thread and raises": "import threading, time\nthreading.Thread(target=lambda: (time.sleep(.05), print('thread'))).start()\n1/0",
    "reads": "import sys; print(input(), sys.stdin.read())",
    "reads bytes": "import sys; print(sys.stdin.buffer.read())",
    "reads too much": "input(); input(); input(); input()",
    "writes what is no ASCII": "print('żółw ✓', '\\udcff'.encode('utf-8', 'surrogateescape'))",
    "imports its neighbour": "import neighbour; print(neighbour.NAME)",
    "imports its own of a known name": "import statistics; print(statistics.NAME)",
    "imports a package": "from pack.inner import NAME; print(NAME)",
    "imports what is installed": "import pytest; print(pytest.__name__)",
    "imports nothing": "import nothing_of_this_name",
    "starts another": "import subprocess, sys; print(subprocess.run([sys.executable, '-c', 'print(6*7)'], capture_output=True, text=True).stdout)",
    "forks": "import os\nif os.fork() == 0:\n    print('child', flush=True)\n    os._exit(0)\nos.wait()\nprint('parent')",
    "has a pool": "from multiprocessing.pool import ThreadPool\nprint(ThreadPool(2).map(abs, [-1, -2]))",
    "pickles its own": "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))) is A, A.__module__)",
    "looks at itself": "import sys; print(sys.modules['__main__'].__dict__ is globals(), '__file__' in globals(), __builtins__.__name__)",
    "has a data class": "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: 'int' = 1\nprint(P())",
    "annotates": "x: int = 1\nprint(__annotations__)",
    "has a hook": "import sys; sys.excepthook = lambda *a: print('hook', a[0].__name__); 1/0",
    "runs a loop": "import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    print('async')\nasyncio.run(f())",
    "closes its output": "import sys; print('x', flush=True); sys.stdout.close()",
    "knows its place": "import os; print(os.getcwd(), os.environ['HOME'], os.environ.get('MORE'), os.getuid())",
    "tests": "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(1, 1)\nunittest.main()",
}


@pytest.mark.parametrize("name", PROGRAMS)
async def test_same_as_a_fresh_interpreter(env: WorkerEnvironment, name: str) -> None:
    """Output, exit status and the last line of a traceback are those of `python3 -c`."""
    await env.write("neighbour.py", b"NAME = 'neighbour'")
    await env.write("statistics.py", b"NAME = 'mine'")
    await env.write("pack/inner.py", b"NAME = 'inner'")
    code, given = PROGRAMS[name], {"stdin": "zażółć\nzwei\n".encode(), "env": {"MORE": "more"}}
    slow = await env.exec(["python3", "-c", code, "a", "b c"], **given)
    fast = await env.exec(Python(code, ("a", "b c")), **given)
    assert (fast.exit_code, fast.stdout) == (slow.exit_code, slow.stdout)
    assert fast.stderr.splitlines()[-1:] == slow.stderr.splitlines()[-1:]
    assert "inside/" not in fast.stderr  # nothing of the worker shows
    for _ in range(2):
        kept = await env.exec(Python(code, ("a", "b c"), keep=True), **given)
        assert (kept.exit_code, kept.stdout) == (slow.exit_code, slow.stdout)


async def test_kept_programs_make_room(env: WorkerEnvironment) -> None:
    """More of them than a sandbox keeps are run as well."""
    for number in [*range(40), *range(3)]:
        assert (await env.exec(Python(f"print({number})", keep=True))).stdout == f"{number}\n"


async def test_programs_do_not_share_what_they_change(env: WorkerEnvironment) -> None:
    """Each starts from the same interpreter; random numbers are nevertheless not the same."""
    first = await env.exec(Python("import json, random; json.mark = 1; print(random.random())"))
    second = await env.exec(Python("import json, random; print(hasattr(json, 'mark')); print(random.random())"))
    assert second.stdout.startswith("False\n")
    assert first.stdout.strip() not in second.stdout


async def test_nothing_of_the_worker_is_left_open(env: WorkerEnvironment) -> None:
    """A program in the worker's own fork holds its three streams and no other file."""
    seen = await env.exec(Python("import os; print(sorted(int(n) for n in os.listdir('/proc/self/fd'))[:-1])"))
    assert seen.stdout == "[0, 1, 2]\n"


async def test_limits_are_those_of_every_program(env: WorkerEnvironment) -> None:
    """Time, output and processes end with the call."""
    stuck = await env.exec(
        Python("import os\nif os.fork() == 0:\n    os.setsid()\nwhile True: pass"), timeout_seconds=0.3
    )
    assert stuck.timed_out
    loud = await env.exec(Python("print('x' * 10_000_000)"), output_limit_bytes=1000)
    assert loud.truncated
    assert len(loud.stdout) == 1000
    alone = await env.exec("ls /proc | grep -c '^[0-9]'")
    assert int(alone.stdout) <= 5  # the two of the worker, the shell, ls and grep


async def test_program_that_cannot_be_sent(env: WorkerEnvironment) -> None:
    """A NUL is refused in words."""
    with pytest.raises(UsageError, match="NUL"):
        await env.exec(Python("print('a\0')"))
