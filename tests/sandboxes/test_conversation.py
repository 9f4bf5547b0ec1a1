"""Programs that one talks to while they run."""

from __future__ import annotations

import asyncio

import pytest

from branchwise.core.errors import SandboxLost, UsageError
from branchwise.core.types import Python
from branchwise.sandboxes.environment import WorkerEnvironment

pytestmark = pytest.mark.asyncio(loop_scope="module")

ECHO = Python(
    "import sys\nfor line in sys.stdin:\n    print(line.strip()[::-1], flush=True)\nprint('end', file=sys.stderr)"
)


async def test_question_and_answer(env: WorkerEnvironment) -> None:
    """What is sent is answered while the program runs; its end is what it is elsewhere."""
    async with env.start(ECHO) as process:
        for word in (b"one", b"two", b"three"):
            await process.send(word + b"\n")
            assert await process.receive() == word[::-1] + b"\n"
        await process.close_input()
        assert await process.receive() == b""
        result = await process.wait()
    assert result.ok
    assert (result.stdout, result.stderr) == ("", "end\n")
    assert (await env.exec(["true"])).ok


async def test_program_of_any_kind(env: WorkerEnvironment) -> None:
    """A command and a shell's line can be talked to as well; what was not received is in the result."""
    async with env.start(["cat"]) as process:
        await process.send(b"through")
        await process.close_input()
        result = await process.wait()
    assert result.stdout == "through"
    async with env.start("read x; echo $x; exit 3") as process:
        await process.send(b"line\n")
        assert (await process.wait()).exit_code == 3


async def test_megabytes_both_ways(env: WorkerEnvironment) -> None:
    """Neither side's pace is the other's trouble; what was received does not count against the limit."""
    sent = b"0123456789abcdef" * (1 << 18)
    received = bytearray()
    async with env.start(["cat"], output_limit_bytes=1 << 21) as process:

        async def send() -> None:
            await process.send(sent)
            await process.close_input()

        sending = asyncio.create_task(send())
        while piece := await process.receive():
            received += piece
        await sending
        result = await process.wait()
    assert result.ok
    assert bytes(received) == sent or result.truncated
    assert len(received) >= 1 << 21


async def test_program_that_does_not_read(env: WorkerEnvironment) -> None:
    """Sending waits where nobody reads, and ends with the program."""
    async with env.start(["sleep", "1"]) as process:
        async with asyncio.timeout(20):
            await process.send(b"x" * (8 << 20))
        assert (await process.wait()).ok


async def test_leaving_kills(env: WorkerEnvironment) -> None:
    """Nothing of a program outlives the block, whether it ends by itself, by an error or by cancelling."""
    with pytest.raises(ZeroDivisionError):
        async with env.start("trap '' TERM; setsid sleep 300 & sleep 300"):
            raise ZeroDivisionError
    alone = await env.exec("ls /proc | grep -c '^[0-9]'")
    assert int(alone.stdout) <= 5  # the two of the worker, the shell, ls and grep

    async def talk() -> None:
        async with env.start(["sleep", "300"]) as process:
            await process.receive()

    talking = asyncio.create_task(talk())
    await asyncio.sleep(0.2)
    talking.cancel()
    await asyncio.wait([talking])
    assert talking.cancelled()
    assert (await env.exec(["true"])).ok


async def test_time_is_up(env: WorkerEnvironment) -> None:
    """Past its time the program is killed and its output ends."""
    async with env.start("echo early; sleep 300", timeout_seconds=0.5) as process:
        assert await process.receive() == b"early\n"
        assert await process.receive() == b""
        assert (await process.wait()).timed_out


async def test_wrong_use(env: WorkerEnvironment) -> None:
    """One thing at a time, in words instead of a wait that never ends."""
    async with env.start(["cat"]) as process:
        with pytest.raises(UsageError, match="still runs in this sandbox"):
            await env.exec(["true"])
        await process.close_input()
        await process.close_input()
        await process.send(b"too late")
    async with env.start(["no-such-program"]) as process:
        result = await process.wait()
    assert result.exit_code == 127
    async with env.start(["true"], cwd="no/such/folder") as process:
        assert not (await process.wait()).ok


async def test_others_wait_for_their_turn(env: WorkerEnvironment) -> None:
    """Another task's call waits until the conversation is over."""
    async with env.start(["cat"]) as process:
        other = asyncio.create_task(env.exec(["echo", "after"]))
        await asyncio.sleep(0.1)
        assert not other.done()
        await process.close_input()
        await process.wait()
    assert (await other).stdout == "after\n"


async def test_worker_that_dies_meanwhile(env: WorkerEnvironment) -> None:
    """Whoever listens learns that the sandbox is lost."""
    async with env.start(["cat"]) as process:
        assert env._space is not None
        listening = asyncio.create_task(process.receive())
        await asyncio.sleep(0.05)
        await env._space.guest.channel.transport.kill()
        with pytest.raises(SandboxLost):
            await listening
        with pytest.raises(SandboxLost):
            await process.wait()
