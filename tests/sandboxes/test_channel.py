"""The frames between host and worker: a worker gone bad is a lost sandbox, never a wrong result."""

from __future__ import annotations

import asyncio
import json
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from branchwise.core.errors import SandboxLost, SandboxStartFailed, UsageError
from branchwise.sandboxes.channel import Channel
from branchwise.sandboxes.guest import Guest
from branchwise.sandboxes.launch import WorkerSettings, start_guest, worker_program
from branchwise.sandboxes.secret import Secrets
from branchwise.sandboxes.store import Store
from branchwise.sandboxes.workspace import WorkSpace


def frame(header: object, body: bytes = b"") -> bytes:
    """Return one frame."""
    text = json.dumps(header).encode()
    return struct.pack(">II", len(text), len(body)) + text + body


HELLO = frame({"id": 0})
TOLD = WorkerSettings(scratch=["/tmp"], guest=None)
Reply = Callable[[dict[str, Any]], bytes]


class Scripted:
    """A worker that answers each request as the test says. A transport as any other."""

    def __init__(self, reply: Reply, first: bytes = HELLO, *, piece: int = 1 << 20) -> None:
        self.reply = reply
        self.piece = piece
        self.killed = False
        self.arrived = asyncio.StreamReader()
        self.arrived.feed_data(first)
        self.sent = b""

    async def read(self) -> bytes:
        return await self.arrived.read(self.piece)

    async def write(self, data: bytes) -> None:
        if self.killed:
            raise BrokenPipeError
        self.sent += data
        if data[:4] == data[-1:] * 4:
            return
        size = struct.unpack(">II", data[:8])[0]
        if size < 1 << 16:  # a request; the worker's program comes first and is no frame
            self.arrived.feed_data(self.reply(json.loads(data[8 : 8 + size])))

    async def kill(self) -> None:
        self.killed = True
        self.arrived.feed_eof()

    def diagnosis(self) -> str:
        return "last words"


async def space_of(reply: Reply, *, piece: int = 1 << 20) -> WorkSpace:
    """Return a work space whose worker answers as told."""
    channel = Channel(Scripted(reply, piece=piece))
    await channel.open(1)
    return WorkSpace(Guest(channel, workspace="/workspace", workspace_bytes=1 << 20), None, None)


def run(space: WorkSpace, **changed: Any) -> Awaitable[Any]:
    """Run a program."""
    settings: dict[str, Any] = {"stdin": b"", "timeout_seconds": 0.1, "cwd": ".", "env": {}, "output_limit_bytes": 10}
    return space.exec(["true"], **{**settings, **changed})


DONE = {"code": 0, "timed_out": False, "cancelled": False, "truncated": False, "seconds": 0.1, "stdout": 2}


@pytest.mark.parametrize("piece", [1, 3, 1 << 20])
async def test_frames_may_arrive_in_any_pieces(piece: int) -> None:
    """Where the stream is cut does not matter."""
    space = await space_of(lambda request: frame({**DONE, "id": request["id"]}, b"oute"), piece=piece)
    result = await run(space)
    assert (result.stdout, result.stderr) == ("ou", "te")
    await space.guest.kill()


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (lambda _: frame({**DONE, "id": 12345}, b"oute"), "never made"),
        (lambda request: frame({**DONE, "id": request["id"]}, b"oute") * 2, "never made"),
        (lambda _: frame({**DONE}), "no frame"),
        (lambda _: frame([1, 2]), "no frame"),
        (lambda _: struct.pack(">II", 5, 0) + b"{]{]{", "no frame"),
        (lambda _: struct.pack(">II", 1 << 30, 0), "no frame"),
        (lambda _: struct.pack(">II", 2, 1 << 31) + b"{}", "no frame"),
        (lambda request: frame({"id": request["id"]}, b"oute"), "no answer that makes sense"),
        (lambda request: frame({**DONE, "id": request["id"], "stdout": "2"}, b"oute"), "no answer that makes sense"),
        (lambda request: frame({"id": request["id"], "part": True}, b"oute"), "expects none"),
    ],
)
async def test_nonsense_is_a_lost_sandbox(bad: Reply, words: str) -> None:
    """Forged, doubled and broken frames end the trust; later calls fail at once."""
    space = await space_of(bad)
    with pytest.raises(SandboxLost, match=words):
        await asyncio.gather(run(space), run(space, timeout_seconds=0.2))
    assert space.guest.lost
    with pytest.raises(SandboxLost, match="last words"):
        await run(space)
    await space.guest.kill()


async def test_answer_in_advance_is_not_taken() -> None:
    """A reply that came before its request cannot be guessed right and gives the sandbox away."""
    channel = Channel(Scripted(lambda _: b"", HELLO + frame({**DONE, "id": 1}, b"forged")))
    await channel.open(1)
    await asyncio.sleep(0)
    with pytest.raises(SandboxLost, match="never made"):
        await channel.request("exec", {}, timeout_seconds=1)
    await channel.close()


async def test_end_of_the_stream_is_noticed() -> None:
    """Everything that waits learns at once that the worker is gone."""
    channel = Channel(transport := Scripted(lambda _: b""))
    await channel.open(1)
    waiting = [asyncio.create_task(channel.request("ping", {}, timeout_seconds=60)) for _ in range(3)]
    await asyncio.sleep(0)
    transport.arrived.feed_eof()
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(result, SandboxLost)
    await channel.close()


async def test_reply_to_a_call_that_was_given_up_is_passed_over() -> None:
    """A reply that comes too late for its caller does no harm to the next."""
    late: list[int] = []

    def reply(request: dict[str, Any]) -> bytes:
        if not late:
            late.append(request["id"])
            return b""
        return frame({"id": late[0]}) + frame({"id": request["id"]})

    channel = Channel(Scripted(reply))
    await channel.open(1)
    waiting = asyncio.create_task(channel.request("ping", {}, timeout_seconds=60))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (await channel.request("ping", {}, timeout_seconds=1))[0]["id"] != late[0]
    await channel.close()


async def test_content_that_is_not_what_the_manifest_says(tmp_path: Path) -> None:
    """A snapshot is checked on the host: a worker that lies about a file is lost."""

    def reply(request: dict[str, Any]) -> bytes:
        if request["op"] == "manifest":
            return frame({"id": request["id"]}, json.dumps([["f", "a", 0o644, 3, "0" * 64]]).encode())
        return frame({"id": request["id"], "size": 3}, b"lie")

    space = await space_of(reply)
    with pytest.raises(SandboxLost, match="differs from its own manifest"):
        await space.save(Store(tmp_path), Secrets({}))
    assert space.guest.lost
    await space.guest.kill()


async def test_manifest_that_leads_out_is_a_lost_sandbox(tmp_path: Path) -> None:
    """A manifest with a path outside of the work space is never used."""
    rows = json.dumps([["f", "../../etc/passwd", 0o644, 0, "0" * 64]]).encode()
    space = await space_of(lambda request: frame({"id": request["id"]}, rows))
    with pytest.raises(SandboxLost, match="no answer that makes sense"):
        await space.save(Store(tmp_path), Secrets({}))
    await space.guest.kill()


async def test_worker_that_never_speaks_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that does not come to its end fails in words and is tidied up."""
    monkeypatch.setattr("branchwise.sandboxes.launch._START_SECONDS", 0.05)
    transport = Scripted(lambda _: b"", first=b"")
    with pytest.raises(
        SandboxStartFailed, match=r"did not start in the test: .*no answer within 0.05 s \(last words\)"
    ):
        await start_guest(transport, TOLD, workspace_bytes=1, place="the test")
    assert transport.killed


def test_worker_refuses_to_be_anything_but_process_1() -> None:
    """Its kill-everything would otherwise end every process of the user."""
    program = worker_program(TOLD).rstrip(b"\0").decode()
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert "must be process 1 of a pid namespace" in told.stderr


async def test_path_outside_is_refused_before_it_is_sent() -> None:
    """The host does not rely on the worker to refuse."""
    space = await space_of(lambda _: b"")
    with pytest.raises(UsageError):
        await space.read("/etc/passwd", limit_bytes=1)
    await space.guest.kill()
