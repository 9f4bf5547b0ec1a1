"""Keeps a browser: process 1 of its container. Sent there as text; Python 3.8, standard library only.

It does what it is told by one Unix socket: opens a listening socket on the container's loopback and hands it over, starts
the browser with the pipe that it is handed, hands over a file that was downloaded. It ends with the browser, with that
socket, and with its standard input, which the engine closes when whoever has made the container dies.
"""

from __future__ import annotations

import array
import ctypes
import glob
import json
import os
import select
import shutil
import signal
import socket
import stat
from typing import Any

_HANDLES_MOST = 4
_LINE_BYTES = 1 << 18
_NAMESPACES = 0x70000000
"""Of users, processes and network."""
_LISTENING = 64


def main(settings: dict[str, Any]) -> None:
    """Say what there is, and serve until one of the three ends."""
    for folder in (settings["downloads"], settings["environment"]["HOME"]):
        os.makedirs(folder, exist_ok=True)
    control = socket.socket(socket.AF_UNIX)
    control.connect(settings["door"])
    program = _found(settings["programs"])
    _say(control, {"program": program, "namespaces": _has_namespaces(), "fonts": _has_fonts()})
    waker = _woken_by_children()
    keeper = Keeper(control, settings)
    talk = control.fileno()
    while True:
        ready, _, _ = select.select([0, talk, waker], [], [])
        if 0 in ready and not os.read(0, 4096):
            return
        if waker in ready:
            os.read(waker, 4096)
            if keeper.has_ended():
                return
        if talk in ready and not keeper.serve():
            return


class Keeper:
    """Serves one socket."""

    def __init__(self, control: socket.socket, settings: dict[str, Any]) -> None:
        self._control = control
        self._settings = settings
        self._browser: int | None = None
        self._held = b""

    def has_ended(self) -> bool:
        """Take note of processes that have ended; whether the browser is one of them."""
        while True:
            try:
                number, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return self._browser is not None
            if number == 0:
                return False
            if number == self._browser:
                return True

    def serve(self) -> bool:
        """Do what is asked for next; whether there may be more."""
        request, handles = self._next()
        if request is None:
            return False
        try:
            reply, handle = self._do(request, handles)
        except OSError as error:
            reply, handle = {"error": os.strerror(error.errno) if error.errno else str(error)}, None
        finally:
            for one in handles:
                os.close(one)
        _say(self._control, reply, handle)
        if handle is not None:
            os.close(handle)
        return True

    def _next(self) -> tuple[dict[str, Any] | None, list[int]]:
        handles = array.array("i")
        while b"\n" not in self._held:
            room = socket.CMSG_SPACE(_HANDLES_MOST * handles.itemsize)
            data, ancillary, _, _ = self._control.recvmsg(_LINE_BYTES, room)
            for level, kind, content in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    handles.frombytes(content[: len(content) - len(content) % handles.itemsize])
            if not data:
                return None, list(handles)
            self._held += data
        line, _, self._held = self._held.partition(b"\n")
        return json.loads(line), list(handles)

    def _do(self, request: dict[str, Any], handles: list[int]) -> tuple[dict[str, Any], int | None]:
        if request["do"] == "listen":
            return {}, _listening(request["port"])
        if request["do"] == "take":
            return {}, self._taken(request["name"])
        self._start(request["words"], *handles)
        return {}, None

    def _taken(self, name: str) -> int:
        """Return a downloaded file, which has no name any more then."""
        path = os.path.join(self._settings["downloads"], name)
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError("it is no file")
        os.unlink(path)
        return handle

    def _start(self, words: list[str], reading: int, writing: int) -> None:
        """Start the browser; it reads and writes messages where programs have their files 3 and 4."""
        os.set_inheritable(2, True)
        number = os.fork()
        if number:
            self._browser = number
            return
        try:
            os.setsid()
            nothing = os.open(os.devnull, os.O_RDONLY)
            # Out of the way first: either may be where the other has to go.
            high = [os.dup2(handle, 100 + place, inheritable=False) for place, handle in enumerate((reading, writing))]
            for place, handle in enumerate([nothing, 2, 2, *high]):
                os.dup2(handle, place, inheritable=True)
            os.closerange(5, 100)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.execve(words[0], words, self._settings["environment"])
        except OSError as error:
            os.write(2, f"{words[0]} cannot be started: {error}\n".encode())
        finally:
            os._exit(127)


def _found(programs: list[str]) -> str | None:
    """Return the first program that is there, of names on the PATH, paths, and patterns of paths."""
    for wanted in programs:
        for path in sorted(glob.glob(wanted), reverse=True) or [wanted]:
            found = shutil.which(path)
            if found is not None:
                return os.path.realpath(found)
    return None


def _has_fonts() -> bool:
    """Whether there is a font: without any a browser ends at the first letter."""
    places = ("/usr/share/fonts", "/usr/local/share/fonts", "/usr/share/X11/fonts")
    endings = (".ttf", ".otf", ".ttc", ".pfb", ".pcf.gz", ".woff2")
    return any(name.endswith(endings) for place in places for _, _, names in os.walk(place) for name in names)


def _has_namespaces() -> bool:
    """Whether programs in here may make the namespaces of which the browser's own sandbox is made, and use them."""
    number = os.fork()
    if number == 0:
        try:
            if ctypes.CDLL(None).unshare(_NAMESPACES) == 0:
                os.chroot("/proc/self")  # some systems let one make them, and give no rights in them
                os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(number, 0)[1] == 0


def _woken_by_children() -> int:
    """Return a file that can be read from once a child has ended."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.signal(signal.SIGCHLD, _note)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    return reading


def _note(_signal: int, _frame: object) -> None:
    """Do nothing: that there is a handler has a byte written."""


def _listening(port: int) -> int:
    """Return a socket that listens on the loopback."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(_LISTENING)
    return listener.detach()


def _say(control: socket.socket, reply: dict[str, Any], handle: int | None = None) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [] if handle is None else [handle]))]
    control.sendmsg([json.dumps(reply).encode("ascii") + b"\n"], [] if handle is None else rights)
