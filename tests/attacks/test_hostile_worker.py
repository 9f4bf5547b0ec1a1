"""A worker that was taken over: whatever it sends, the host sees a lost sandbox or a sound answer, soon, and goes on."""

from __future__ import annotations

import asyncio
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from branchwise.core.errors import OutputLimitExceeded, SandboxError, SandboxLost, UsageError
from branchwise.core.types import ExecResult
from branchwise.sandboxes import Store
from branchwise.sandboxes.channel import Channel
from branchwise.sandboxes.guest import Guest
from branchwise.sandboxes.secret import Secrets
from branchwise.sandboxes.workspace import WorkSpace

Frame = tuple[dict[str, Any], bytes]
Answer = Callable[[dict[str, Any]], bytes]

NONSENSE: list[Any] = [
    None, True, -1, 0.5, float("nan"), float("inf"), 2**70, "", "1", "x" * 5000, [], [1], {}, {"a": 1}, [[[]]],
]  # fmt: skip
DONE = {"code": 0, "timed_out": False, "cancelled": False, "truncated": False, "seconds": 0.1, "stdout": 2}
EXPECTED = (SandboxLost, OSError, OutputLimitExceeded, UsageError)
"""What the callers of an environment are told to expect."""


def frame(header: object, body: bytes = b"") -> bytes:
    """Return one frame."""
    text = json.dumps(header).encode()
    return struct.pack(">II", len(text), len(body)) + text + body


class Hostile:
    """A worker that answers as the test says. A transport as any other."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.ends = False
        """Whether it has nothing more to say after its answer."""
        self.arrived = asyncio.StreamReader()
        self.arrived.feed_data(frame({"id": 0}))
        self.killed = False

    async def read(self) -> bytes:
        return await self.arrived.read(1 << 16)

    async def write(self, data: bytes) -> None:
        size = struct.unpack(">II", data[:8])[0]
        self.arrived.feed_data(self.answer(json.loads(data[8 : 8 + size])))
        if self.ends:
            self.arrived.feed_eof()

    async def kill(self) -> None:
        self.killed = True

    def diagnosis(self) -> str:
        return ""


async def space_of(answer: Answer, *, ends: bool = False) -> WorkSpace:
    """Return a work space whose worker answers as told."""
    transport = Hostile(answer)
    transport.ends = ends
    channel = Channel(transport)
    await channel.open(1)
    return WorkSpace(Guest(channel, workspace="/workspace", workspace_bytes=1 << 20), None, None)


def sound(value: Any) -> bool:
    """Whether a result has the types that it says it has."""
    if isinstance(value, ExecResult):
        kinds = [type(part) for part in (value.exit_code, value.stdout, value.stderr, value.timed_out, value.truncated)]
        return kinds == [int, str, str, bool, bool] and type(value.seconds) in {int, float} and 0 <= value.seconds < 1e9
    return isinstance(value, bytes | dict | str | None)


async def talk(space: WorkSpace) -> ExecResult:
    """Have a conversation with a program."""
    options: dict[str, Any] = {"timeout_seconds": 0.02, "cwd": ".", "env": {}, "output_limit_bytes": 100}
    async with space.start(["true"], **options) as process:
        await process.send(b"x")
        await process.receive()
        return await process.wait()


OPERATIONS: dict[str, tuple[Callable[[WorkSpace, Store], Any], Frame]] = {
    "exec": (
        lambda space, _: space.exec(["true"], stdin=b"", timeout_seconds=0.2, cwd=".", env={}, output_limit_bytes=100),
        (DONE, b"oute"),
    ),
    "talk": (lambda space, _: talk(space), ({**DONE, "stdout": 0}, b"err")),
    "read": (lambda space, _: space.read("file", limit_bytes=100), ({"size": 4}, b"body")),
    "write": (lambda space, _: space.write("file", b"content"), ({}, b"")),
    "remove": (lambda space, _: space.remove("file"), ({}, b"")),
    "list": (lambda space, store: space.manifest(store), ({}, b'[["l", "a", 0, 0, "b"]]')),
    "save": (lambda space, store: space.save(store, Secrets({})), ({}, b'[["l", "a", 0, 0, "b"]]')),
    "load": (lambda space, store: space.restore(store.empty_ref, store), ({}, b"[]")),
}


async def outcome(name: str, answer: Answer, folder: Path, *, ends: bool = False) -> Any:
    """Return what the operation gives, or the exception by which it refuses; it must not take long."""
    space = await space_of(answer, ends=ends)
    try:
        async with asyncio.timeout(40):
            return await OPERATIONS[name][0](space, Store(folder))
    except EXPECTED as error:
        return error
    finally:
        await space.guest.kill()


@pytest.mark.parametrize("name", OPERATIONS)
async def test_fields_of_any_type(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each field of each answer in turn is missing or of another type: a lost sandbox or a sound result."""
    monkeypatch.setattr("branchwise.sandboxes.workspace._GRACE_SECONDS", 0.08)
    header, body = OPERATIONS[name][1]
    headers: list[dict[str, Any]] = [{key: header[key] for key in header if key != gone} for gone in header]
    for field in [*header, "error", "errno", "message", "part", "taken", "branches"]:
        headers += [{**header, field: value} for value in NONSENSE]
    headers += [{"error": "os", "errno": value, "message": value} for value in NONSENSE]
    for number, fields in enumerate(headers):

        def answer(request: dict[str, Any], fields: dict[str, Any] = fields) -> bytes:
            return frame({**fields, "id": request["id"]}, body) if request["op"] != "input" else b""

        result = await outcome(name, answer, tmp_path / str(number))
        assert isinstance(result, EXPECTED) or sound(result) or isinstance(result, WorkSpace), (fields, result)


@pytest.mark.parametrize("name", ["list", "save", "load", "read", "exec"])
async def test_bodies_of_any_kind(name: str, tmp_path: Path) -> None:
    """Bodies that are no JSON, or JSON of the wrong form, or too deep, make a lost sandbox and no other error."""
    rows = [
        *NONSENSE,
        [["f", "../x", 0, 0, "0" * 64]],
        [["f", "a"]],
        [["l", "a", 0, 0, "b"]] * 2,
        [["x", "a", 0, 0, ""]],
    ]
    bodies = [json.dumps(row).encode() for row in rows]
    bodies += [
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b"\xff\xfe",
        b"",
        b"[" + b"9" * 6000 + b"]",
        b'[["l","\\ud800",0,0,"b"]]',
    ]
    for number, body in enumerate(bodies):
        header = OPERATIONS[name][1][0]

        def answer(request: dict[str, Any], header: dict[str, Any] = header, body: bytes = body) -> bytes:
            return frame({**header, "id": request["id"]}, body)

        result = await outcome(name, answer, tmp_path / str(number))
        assert isinstance(result, (*EXPECTED, SandboxError)) or sound(result) or isinstance(result, WorkSpace), body[
            :80
        ]


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 1_000_000,
        b'{"id":' * 150_000,
        b'{"id": [1]}',
        b'{"id": {}}',
        b'{"id": ' + b"9" * 10_000 + b"}",
        b'{"id": NaN}',
        b"\xff" * 100,
        b"{}",
        b"null",
        b'"id"',
    ],
    ids=lambda header: header[:10].decode("latin-1"),
)
async def test_headers_that_break_parsers(header: bytes, tmp_path: Path) -> None:
    """Too deep, too long, of the wrong kind: the reader does not die of it, whoever waits learns at once."""
    raw = struct.pack(">II", len(header), 0) + header
    begun = asyncio.get_running_loop().time()
    result = await outcome("exec", lambda _: raw, tmp_path)
    assert isinstance(result, SandboxLost)
    assert "no answer within" not in str(result)
    assert asyncio.get_running_loop().time() - begun < 5


async def test_random_bytes(tmp_path: Path) -> None:
    """Noise, and sound frames with noise in them, never become a result."""
    rng = random.Random(5)
    for number in range(200):

        def answer(request: dict[str, Any], number: int = number) -> bytes:
            good = bytearray(frame({**DONE, "id": request["id"]}, b"oute"))
            if number % 2:
                return rng.randbytes(rng.randrange(8, 200)) + bytes(1 << 16)
            good[rng.randrange(8)] ^= 1 << rng.randrange(8)
            return bytes(good) + bytes(1 << 16)

        result = await outcome("exec", answer, tmp_path, ends=True)
        # A length of the body that is another one is a body that is another one.
        assert isinstance(result, SandboxLost) or (sound(result) and number % 2 == 0), (number, result)


async def test_flood_of_parts_is_stopped(tmp_path: Path) -> None:
    """A worker that sends more of a conversation than it was allowed is lost before it fills the host's memory."""

    def answer(request: dict[str, Any]) -> bytes:
        if request["op"] != "exec":
            return b""
        return frame({"id": request["id"], "part": True}, bytes(1 << 16)) * 200

    begun = asyncio.get_running_loop().time()
    result = await outcome("talk", answer, tmp_path)
    assert isinstance(result, SandboxLost)
    assert "no answer within" not in str(result)
    assert asyncio.get_running_loop().time() - begun < 5


async def test_flood_of_output_is_stopped(tmp_path: Path) -> None:
    """Output beyond the limit that the call set is no answer."""
    result = await outcome("exec", lambda request: frame({**DONE, "id": request["id"]}, bytes(1 << 20)), tmp_path)
    assert isinstance(result, SandboxLost) or len(result.stdout + result.stderr) <= 200
