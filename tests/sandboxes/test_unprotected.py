"""Work spaces without a sandbox: what order there is without isolation. The programs here are harmless."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from branchwise.core.errors import OutputLimitExceeded, SandboxError, UsageError
from branchwise.core.types import Python
from branchwise.sandboxes import Allow, Unprotected
from branchwise.sandboxes.door import _home
from branchwise.sandboxes.unprotected import HostSandboxes

SPEC = Unprotected(
    code_may_do_anything=True, secrets={"TOKEN": "a-long-token"}, env={"COLOUR": "green"}, workspace_mb=1
)


@pytest.fixture
async def supply(tmp_path: Path) -> AsyncIterator[HostSandboxes]:
    """A supply; whatever is open is closed with it."""
    made = await SPEC.start("test-bare", tmp_path / "store")
    yield made
    await made.aclose()


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_it_must_be_said() -> None:
    """Nobody gets it by leaving something out."""
    with pytest.raises(ValidationError, match="code_may_do_anything"):
        Unprotected()  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="code_may_do_anything"):
        Unprotected(code_may_do_anything=False)  # type: ignore[arg-type]


async def test_no_policy_is_promised(tmp_path: Path) -> None:
    """An allow-list that nothing would enforce is refused."""
    with pytest.raises(UsageError, match="cannot be enforced"):
        await SPEC.model_copy(update={"network": Allow("a.test")}).start("test-bare", tmp_path)


async def test_programs_run(supply: HostSandboxes) -> None:
    """Streams, status, input, variables, limits, Python: as in the other kinds; nothing of this process's own variables."""
    os.environ["BRANCHWISE_TEST_PRIVATE"] = "private"
    environment = await supply.open()
    result = await environment.exec(
        "cat; echo err >&2; echo $COLOUR $TOKEN $BRANCHWISE_TEST_PRIVATE; exit 3", stdin=b"in\n"
    )
    assert (result.exit_code, result.stdout, result.stderr) == (3, "in\ngreen [secret TOKEN]\n", "err\n")
    assert (await environment.exec(["no-such-program"])).exit_code == 127
    assert (await environment.exec("kill -9 $$")).exit_code == -9
    assert (await environment.exec(Python("import sys; print(sys.argv[1:])", ("a",)))).stdout == "['a']\n"
    much = await environment.exec("yes | head -c 5000000", output_limit_bytes=1000)
    assert (len(much.stdout), much.truncated) == (1000, True)
    full = await environment.exec("head -c 3000000 /dev/zero > big")
    assert full.exit_code != 0
    del os.environ["BRANCHWISE_TEST_PRIVATE"]


async def test_nothing_runs_on(supply: HostSandboxes) -> None:
    """Daemons end with the call, by time-out, by cancelling, and where they have left their session."""
    environment = await supply.open()
    daemon = (
        "(setsid sh -c 'echo $$ > pid; trap \"\" TERM; sleep 600 & wait' &) ; while [ ! -s pid ]; do sleep 0.01; done; "
    )
    for end, timeout in (("exit 0", 30.0), ("sleep 600", 0.5)):
        await environment.exec("rm -f pid")
        result = await environment.exec(daemon + end, timeout_seconds=timeout)
        assert result.timed_out is (timeout < 1)
        assert not alive(int(await environment.read("pid")))
    await environment.exec("rm -f pid")
    running = asyncio.create_task(environment.exec(daemon + "sleep 600"))
    deadline = time.monotonic() + 10
    while not (await environment.list()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.1)
    pid = int(await environment.read("pid"))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not alive(pid)


async def test_conversation(supply: HostSandboxes) -> None:
    """One talks to a program while it runs; leaving the block ends it."""
    environment = await supply.open()
    async with environment.start('while read line; do echo "got $line"; done; echo end') as process:
        await process.send(b"one\n")
        assert await process.receive() == b"got one\n"
        await process.close_input()
        assert (await process.wait()).stdout == "end\n"
    async with environment.start("echo $$; sleep 600") as process:
        pid = int(await process.receive())
    assert not alive(pid)


async def test_states(supply: HostSandboxes) -> None:
    """Kept, brought back and forked; equal states have equal addresses; secrets are not kept."""
    parent = await supply.open()
    await parent.write("a/b", b"1")
    ref = await parent.snapshot()
    child = await parent.fork()
    await child.write("a/b", b"2")
    assert await parent.read("a/b") == b"1"
    assert await child.snapshot() != ref
    await child.restore(ref)
    assert (await child.list(), await child.snapshot()) == (["a/b"], ref)
    await child.exec("echo $TOKEN > key")
    with pytest.raises(SandboxError, match="'key' holds the secret 'TOKEN'"):
        await child.snapshot()
    await child.remove("key")
    await child.remove("a")
    assert await child.snapshot() == supply.store.empty_ref
    assert parent.cost.seconds > 0


async def test_paths_stay_inside(supply: HostSandboxes) -> None:
    """What the framework reads and writes stays in the work space, whatever links a program makes."""
    environment = await supply.open()
    await environment.exec("ln -s / root; ln -s /etc/hostname name; head -c 5000 /dev/zero > big")
    for path in ("../x", "/etc/passwd", "root/etc/passwd", "name", ""):
        with pytest.raises(UsageError, match="leads out"):
            await environment.read(path)
        with pytest.raises(UsageError, match="leads out"):
            await environment.write(path, b"")
    with pytest.raises(OutputLimitExceeded):
        await environment.read("big", limit_bytes=100)
    await environment.close()
    await environment.close()
    with pytest.raises(UsageError, match="closed"):
        await environment.exec("true")


CLIENT = """
import asyncio, pathlib, sys
from branchwise.sandboxes import Unprotected
async def main():
    supply = await Unprotected(code_may_do_anything=True).start("bare", pathlib.Path(sys.argv[1]))
    environment = await supply.open()
    async with environment.start("(setsid sh -c 'echo $$; exec sleep 600' &) ; sleep 600") as process:
        print((await process.receive()).decode(), flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


async def test_killing_the_client_ends_everything(tmp_path: Path) -> None:
    """After SIGKILL of the framework its programs end, and the next start removes their folders."""
    before = {place.name for place in _home().iterdir()}
    client = await asyncio.create_subprocess_exec(sys.executable, "-c", CLIENT, str(tmp_path / "store"), stdout=-1)
    assert client.stdout is not None
    pid = int(await client.stdout.readline())
    assert alive(pid)
    client.kill()
    await client.wait()
    deadline = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    supply = await SPEC.start("test-bare", tmp_path / "store")
    assert {place.name for place in _home().iterdir()} <= before
    await supply.aclose()
