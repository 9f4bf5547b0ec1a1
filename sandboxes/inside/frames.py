"""Frames between worker and host: two big-endian 32-bit lengths, a JSON object, raw bytes."""

from __future__ import annotations

import array
import contextlib
import json
import os
import select
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # Python 3.8 cannot evaluate these
    from typing import Any

    Header = dict[str, Any]
    Frame = tuple[Header, bytes]

HEAD = struct.Struct(">II")


class Refused(Exception):
    """The request cannot be granted; `kind` tells the host why."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Hangup(Exception):
    """The host closed the stream."""


class Stream:
    """Frames to and from the host. Reading never blocks unless asked to, writing does.

    Args:
        source: where frames come from.
        sink: where they go.
        life: what says nothing, and ends with the host; None where the source itself does.
    """

    def __init__(self, source: int, sink: int, life: int | None = None) -> None:
        self.source = source
        self.sink = sink
        self.life = life
        self.sources = [source] if life is None else [source, life]
        """What is to be listened to."""
        self.buffer = bytearray()
        os.set_blocking(source, False)

    def fill(self) -> None:
        """Take in what has arrived, without waiting."""
        try:
            data = os.read(self.source, 1 << 16)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            raise Hangup
        self.buffer += data

    def take(self) -> Frame | None:
        """Return the next frame, None where it has not wholly arrived."""
        if len(self.buffer) < HEAD.size:
            return None
        header_size, body_size = HEAD.unpack_from(self.buffer)
        end = HEAD.size + header_size + body_size
        if len(self.buffer) < end:
            return None
        with memoryview(self.buffer) as view:
            header = bytes(view[HEAD.size : HEAD.size + header_size])
            body = bytes(view[HEAD.size + header_size : end])
        del self.buffer[:end]
        return json.loads(header), body

    def wait(self) -> Frame:
        """Return the next frame."""
        while True:
            frame = self.take()
            if frame is not None:
                return frame
            if self.life in select.select(self.sources, [], [])[0]:
                raise Hangup
            self.fill()

    def send(self, header: Header, body: bytes = b"") -> None:
        """Send one frame."""
        text = json.dumps(header).encode()
        write_all(self.sink, HEAD.pack(len(text), len(body)) + text + body)


def connected(wire: dict[str, str] | None) -> Stream:
    """Return the way to the host: a socket that it hands over at the path it has named, else the standard streams."""
    handles = array.array("i")
    if wire is not None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as door:
            door.connect(wire["path"])
            door.sendall(wire["secret"].encode())
            for _, _, data in door.recvmsg(1, socket.CMSG_LEN(handles.itemsize))[1]:
                handles.frombytes(data)
    if not handles:
        return Stream(0, 1)
    os.set_inheritable(handles[0], False)  # programs of the guest are no heirs to it
    return Stream(handles[0], handles[0], life=0)


def read_all(handle: int) -> bytes:
    """Read to the end, and close. What Python's files do besides costs more than the reading."""
    pieces: list[bytes] = []
    try:
        while True:
            piece = os.read(handle, 1 << 16)
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
    finally:
        os.close(handle)


def pour(handle: int, data: bytes) -> None:
    """Write all of it, unless nobody reads any more, and close."""
    try:
        with contextlib.suppress(BrokenPipeError):
            write_all(handle, data)
    finally:
        os.close(handle)


def write_all(handle: int, data: bytes) -> None:
    """Write to the end, however small the pieces are that the other side takes."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(handle, view) :]
        except BlockingIOError:
            select.select([], [handle], [])
