"""The worker's own way to this process: taken where it can be had, by the worker alone, and ended with either side."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from branchwise.core.errors import SandboxLost, SandboxStartFailed
from branchwise.core.types import Python
from branchwise.sandboxes import Docker
from branchwise.sandboxes.channel import Channel
from branchwise.sandboxes.door import Door
from branchwise.sandboxes.inside.frames import Hangup, Stream, connected
from branchwise.sandboxes.launch import WorkerSettings, start_guest
from branchwise.sandboxes.wire import WIRE, WireTransport

SMALL = Docker(memory_mb=256, workspace_mb=48, scratch_mb=16, max_idle=0)


def frame(header: object) -> bytes:
    """Return one frame."""
    text = json.dumps(header).encode()
    return struct.pack(">II", len(text), 0) + text


class Attached:
    """The stream of a container in which nothing runs: says what the test says. A transport as any other."""

    def __init__(self) -> None:
        self.arrived = asyncio.StreamReader()
        self.sent = b""
        self.killed = False

    async def read(self) -> bytes:
        return await self.arrived.read(1 << 16)

    async def write(self, data: bytes) -> None:
        self.sent += data

    async def kill(self) -> None:
        self.killed = True

    def diagnosis(self) -> str:
        return "last words"


class Meeting:
    """A transport that waits for a worker, and the test in the worker's place."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.attached = Attached()
        self.transport = WireTransport(self.attached, door[WIRE])
        self.channel = Channel(self.transport)

    async def connect(self, shown: str | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Do as the worker does; return the streams that it is handed, or the bare connection where it is handed none."""
        loop = asyncio.get_running_loop()
        door = socket.socket(socket.AF_UNIX)
        try:
            door.connect(str(self.door.folder / WIRE))
        except OSError:
            door.close()
            raise
        door.send((self.transport.told["secret"] if shown is None else shown).encode())
        if shown is not None:
            return await asyncio.open_connection(sock=door)
        with door:
            _, handles, _, _ = await loop.run_in_executor(None, socket.recv_fds, door, 1, 1)
        return await asyncio.open_connection(sock=socket.socket(fileno=handles[0]))


@pytest.fixture
async def meeting() -> AsyncIterator[Meeting]:
    """A meeting, closed in the end."""
    made = Meeting(Door(WIRE))
    yield made
    await made.channel.close()
    assert made.attached.killed
    made.door.close()


async def test_frames_take_the_wire(meeting: Meeting) -> None:
    """Who shows the secret is the worker; the attached stream is not used any more."""
    opening = asyncio.create_task(meeting.channel.open(5))
    reader, writer = await meeting.connect()
    writer.write(frame({"id": 0, "python": "3"}))
    assert (await opening)["python"] == "3"
    asking = asyncio.create_task(meeting.channel.request("ping", {}, timeout_seconds=5))
    sizes = struct.unpack(">II", await reader.readexactly(8))
    request = json.loads(await reader.readexactly(sizes[0]))
    writer.write(frame({"id": request["id"]}))
    assert (await asking)[0] == {"id": request["id"]}
    assert meeting.attached.sent == b""
    writer.close()


async def test_nobody_comes_after_the_worker(meeting: Meeting) -> None:
    """The first connection is the only one, while the path is still there as much as afterwards."""
    opening = asyncio.create_task(meeting.channel.open(5))
    _, writer = await meeting.connect()
    writer.write(frame({"id": 0}))
    await opening
    with pytest.raises(ConnectionRefusedError):
        await meeting.connect("")
    meeting.door.close()
    assert not meeting.door.folder.exists()
    writer.close()


@pytest.mark.parametrize("shown", ["0" * 64, "0" * 63 + "\n", "\0" * 64], ids=["guess", "line", "nothing"])
async def test_impostor_is_refused(meeting: Meeting, shown: str) -> None:
    """Who does not know what only the worker was told is heard of nothing, and nothing of it is believed."""
    opening = asyncio.create_task(meeting.channel.open(0.5))
    reader, writer = await meeting.connect(shown)
    writer.write(frame({"id": 0}) * 8)
    with pytest.raises(SandboxLost, match="somebody else than its worker"):
        await opening
    with pytest.raises(ConnectionResetError):  # and nobody has read on
        await reader.read()
    writer.close()


async def test_silent_impostor_is_not_waited_for(meeting: Meeting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who connects and says nothing makes a start that fails in its time."""
    monkeypatch.setattr("branchwise.sandboxes.launch._START_SECONDS", 0.1)
    starting = start_guest(meeting.transport, WorkerSettings(scratch=[], guest=1), workspace_bytes=1, place="the test")
    started = asyncio.create_task(starting)
    _, writer = await meeting.connect("")
    with pytest.raises(SandboxStartFailed, match=r"no answer within 0.1 s \(last words\)"):
        await started
    assert meeting.attached.killed
    writer.close()


async def test_worker_that_cannot_connect_is_heard(meeting: Meeting) -> None:
    """One that speaks by the attached stream is answered there, and nobody can connect any more."""
    opening = asyncio.create_task(meeting.channel.open(5))
    meeting.attached.arrived.feed_data(frame({"id": 0}))
    await opening
    with pytest.raises(ConnectionRefusedError):
        await meeting.connect("")
    await meeting.channel.say("x", {})
    assert b'"op": "x"' in meeting.attached.sent
    meeting.attached.arrived.feed_eof()


@pytest.mark.parametrize("side", ["attached", "wire", "talkative"])
async def test_either_end_is_the_end(meeting: Meeting, side: str) -> None:
    """When the connection or the container's stream ends, or that one is used beside the wire, the worker is lost at once."""
    opening = asyncio.create_task(meeting.channel.open(5))
    reader, writer = await meeting.connect()
    writer.write(frame({"id": 0}))
    await opening
    waiting = asyncio.create_task(meeting.channel.request("ping", {}, timeout_seconds=60))
    await reader.readexactly(8)
    if side == "attached":
        meeting.attached.arrived.feed_eof()
    elif side == "wire":
        meeting.attached.arrived.feed_eof()
        writer.close()
    else:
        meeting.attached.arrived.feed_data(b"x")
    with pytest.raises(SandboxLost, match=r"it ended \(last words\)"):
        await waiting
    while await reader.read(1 << 16):
        pass
    writer.close()


def test_worker_goes_on_without(tmp_path: Path) -> None:
    """Where nobody listens at the path, or nothing is there, it takes its standard streams."""
    deaf = socket.socket(socket.AF_UNIX)
    deaf.bind(str(tmp_path / "deaf"))
    for path in ("deaf", "nothing"):
        stream = connected({"path": str(tmp_path / path), "secret": "s"})
        assert (stream.source, stream.sink, stream.life) == (0, 1, None)
    deaf.close()


def test_worker_writes_to_the_end_and_learns_of_the_end() -> None:
    """A frame larger than the socket's buffer arrives whole; a host that is gone with something unread is one that is gone."""
    ours, theirs = socket.socketpair()
    life, held = os.pipe()
    stream = Stream(theirs.fileno(), theirs.fileno(), life)
    program = "import sys, socket; s = socket.socket(fileno=int(sys.argv[1])); n = 0\nwhile n < 4000010: n += len(s.recv(65536))"
    taking = subprocess.Popen([sys.executable, "-c", program, str(ours.fileno())], pass_fds=[ours.fileno()])
    ours.close()
    stream.send({}, bytes(4_000_000))
    assert taking.wait() == 0
    with pytest.raises(Hangup):
        stream.wait()
    os.close(held)
    with pytest.raises(Hangup):
        stream.wait()
    os.close(life)
    theirs.close()


@pytest.mark.docker
async def test_containers_have_a_wire(tmp_path: Path) -> None:
    """By default everything but life and death goes past the engine."""
    supply = await SMALL.start("test-wire", tmp_path)
    environment = await supply.open()
    assert environment._space is not None
    assert environment._space.guest.has_wire
    await environment.write("file", bytes(3 << 20))
    assert len(await environment.read("file")) == 3 << 20
    await environment.close()
    await supply.aclose()


@pytest.mark.docker
async def test_far_engine_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an address of another machine the attached stream carries everything, and everything works."""
    relays: set[asyncio.Task[Any]] = set()

    async def pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                sink.write(data)
        sink.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        relays.add(task)
        far = await asyncio.open_unix_connection("/var/run/docker.sock")
        try:
            await asyncio.gather(pour(reader, far[1]), pour(far[0], writer))
        finally:
            for end in (writer, far[1]):
                end.transport.abort()
            await asyncio.sleep(0)

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    supply = await SMALL.start("test-far-wire", tmp_path)
    environment = await supply.open()
    assert environment._space is not None
    assert not environment._space.guest.has_wire
    assert (await environment.exec(Python("print(6 * 7)"))).stdout == "42\n"
    await environment.close()
    await supply.aclose()
    server.close()
    for task in relays:
        task.cancel()
    await asyncio.gather(*relays, return_exceptions=True)


UNSEEN = """
import asyncio, pathlib, sys, tempfile
from branchwise.sandboxes import Docker
async def main():
    with tempfile.TemporaryDirectory() as folder:
        supply = await Docker(memory_mb=256, workspace_mb=48, scratch_mb=16, max_idle=0).start("test-unseen", pathlib.Path(folder))
        environment = await supply.open()
        print(environment._space.guest.has_wire, (await environment.exec("echo up")).stdout.strip())
        await environment.close()
        await supply.aclose()
asyncio.run(main())
"""


@pytest.mark.docker
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide a folder from the engine")
def test_engine_that_does_not_see_our_folders(tmp_path: Path) -> None:
    """With folders that are not the engine's (a forwarded socket, a container around this process) there is none, and it works."""
    over = 'mount -t tmpfs none "$TMPDIR" && exec "$0" -c "$1"'
    hidden = ["unshare", "-m", "sh", "-c", over, sys.executable, UNSEEN]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    told = subprocess.run(hidden, capture_output=True, text=True, check=False, env=env)
    assert told.stdout == "False up\n", told.stderr


async def test_killed_while_nobody_has_connected(meeting: Meeting) -> None:
    """A container that something beside it ends before its worker is there is a lost one at once, and nothing stays open."""
    opening = asyncio.create_task(meeting.channel.open(60))
    await asyncio.sleep(0)
    await meeting.transport.kill()
    meeting.attached.arrived.feed_eof()  # as a killed container's stream
    with pytest.raises(SandboxLost, match="it ended"):
        await opening


async def test_given_up_as_somebody_connects(meeting: Meeting) -> None:
    """Who has connected to a start that is given up in that moment is left alone with it; no connection is forgotten."""
    opening = asyncio.create_task(meeting.channel.open(60))
    await asyncio.sleep(0)
    connecting = asyncio.create_task(meeting.connect(""))
    await asyncio.sleep(0)
    opening.cancel()
    await meeting.channel.close()
    await asyncio.wait({opening})
    reader, writer = await connecting
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()
    gc.collect()


@pytest.mark.parametrize("turns", range(12))
async def test_given_up_while_the_worker_is_let_in(meeting: Meeting, turns: int) -> None:
    """However far a start had come when it is given up: no connection is forgotten."""
    opening = asyncio.create_task(meeting.channel.open(60))
    with socket.socket(socket.AF_UNIX) as worker:
        worker.settimeout(5)
        worker.connect(str(meeting.door.folder / WIRE))
        worker.send(meeting.transport.told["secret"].encode())
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        await meeting.channel.close()
        await asyncio.wait({opening})
        meeting.door.close()  # as whoever has started the container does
        with contextlib.suppress(ConnectionResetError):
            while worker.recv(1 << 10):  # ends: nobody holds the other end any more
                pass
    gc.collect()
