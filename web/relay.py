"""What Playwright starts in place of a browser that runs in a container. Standard library only, run by its path.

Messages to the browser go straight into the container, by the very pipe that Playwright has made. Messages from it pass here, and
are read: the driver, outside, names files by what the browser says of downloads, so these names must be names. What is no
message ends it.

This ends when the browser does, and when the process that has made the container closes the socket; its end is the container's.
"""

from __future__ import annotations

import array
import json
import os
import re
import select
import socket
import sys

_FROM_PLAYWRIGHT, _TO_PLAYWRIGHT = 3, 4
_PIECE_BYTES = 1 << 18
_MESSAGE_BYTES = 1 << 30
_NAME = re.compile(r"[0-9A-Za-z-]{1,64}")
_DOWNLOAD = b"Browser.download"


class Refused(Exception):
    """The browser has said something that no browser says."""


def main() -> None:
    """Hand over the pipe, and pass on what comes back."""
    folder, *words = sys.argv[1:]
    os.chdir(folder)  # the path of a socket must be short
    control = socket.socket(socket.AF_UNIX)
    control.connect("relay")
    ours, theirs = socket.socketpair()
    handles = array.array("i", [_FROM_PLAYWRIGHT, theirs.fileno()])
    control.sendmsg([json.dumps(words).encode("ascii") + b"\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, handles)])
    theirs.close()
    os.close(_FROM_PLAYWRIGHT)
    try:
        pass_on(ours, control)
    except Refused as refusal:
        os.write(2, f"{refusal}\n".encode())
        sys.exit(1)


def pass_on(browser: socket.socket, control: socket.socket) -> None:
    """Pass on messages until one of the two hangs up.

    Raises:
        Refused: something is no message, or none that may pass.
    """
    held = bytearray()
    while True:
        ready, _, _ = select.select([browser, control], [], [])
        if browser not in ready:
            words = control.recv(_PIECE_BYTES)
            if not words:
                return
            os.write(2, words)  # why it does not start
            continue
        piece = browser.recv(_PIECE_BYTES)
        if not piece:
            return
        begun = len(held)
        held += piece
        end = held.rfind(b"\0", begun) + 1
        for message in bytes(held[:end]).split(b"\0")[:-1]:
            check(message)
        _write(held[:end])
        del held[:end]
        if len(held) > _MESSAGE_BYTES:
            raise Refused(f"the browser's message has more than {_MESSAGE_BYTES} bytes")


def check(message: bytes) -> None:
    """Refuse a message that names a download by anything but a name.

    Raises:
        Refused: it does, or is no message.
    """
    # An escaped letter is what could hide the method's name; others are not worth being read.
    if _DOWNLOAD not in message and b"\\u" not in message:
        return
    try:
        said = json.loads(message.decode("utf-8", "replace"))  # as the driver does
        method = said.get("method", "")
        if str(method).startswith(_DOWNLOAD.decode()) and not _NAME.fullmatch(said["params"]["guid"]):
            raise Refused(f"the browser calls a download {said['params']['guid']!r:.200}")
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise Refused(f"the browser has sent something that is no message: {error}") from error


def _write(data: bytes | bytearray) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(_TO_PLAYWRIGHT, left) :]


if __name__ == "__main__":
    main()
