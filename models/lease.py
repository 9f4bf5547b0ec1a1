"""Using the embedded engine together with others: start it if need be, hold it, let it go.

The socket's name is made from the engine's settings, so that all processes of a user that want the same engine meet
there. Who finds nobody listening becomes the starter, under a lock: it makes the listening socket, connects to it and
hands it to the new engine, so that the engine is never without a lease from its first moment on.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path

import psutil

from .. import core
from ..core.errors import CatalogError, ModelUnavailable, UsageError
from ..core.keys import canonical_json
from ..core.settings import home
from ..core.types import JSON
from .engine import Address, EngineSettings

DEFAULT_LINGER_SECONDS = 1.0
_BOOT = """
import runpy, sys, types
for name, folders in (("branchwise", []), ("branchwise.core", [sys.argv.pop(1)]), ("branchwise.models", [sys.argv.pop(1)])):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = folders
runpy.run_module("branchwise.models.engine", run_name="__main__", alter_sys=True)
"""
"""Runs the engine's module without the rest of Branchwise, which takes seconds to import and would never be used there:
the packages' own `__init__` are left out."""

_GGUF_MAGIC = b"GGUF"
_LOG_TAIL_LINES = 12


class Lease:
    """A held engine. The engine stays at least as long as this is open and the process lives."""

    def __init__(self, connection: socket.socket, address: Address) -> None:
        self._connection = connection
        self.address = address

    @property
    def alive(self) -> bool:
        """Whether the engine is still there: it says nothing after its greeting, so anything to read is the end."""
        try:
            return bool(self._connection.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def close(self) -> None:
        """Let the engine go. Idempotent."""
        self._connection.close()


def check(settings: EngineSettings) -> None:
    """Find out what can be known before an engine is started.

    Raises:
        UsageError: the engine's package is not installed, or the file is no model.
        CatalogError: there is no such file.
        ModelUnavailable: the model does not fit into memory.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise UsageError("the embedded engine is not installed; run: pip install 'branchwise[embedded]'")
    path = Path(settings.model_path)
    try:
        with path.open("rb") as file:
            magic = file.read(len(_GGUF_MAGIC))
    except OSError as error:
        raise CatalogError(
            f"cannot read the model {path}: {error.strerror}; `branchwise models list` shows what there is"
        ) from error
    if magic != _GGUF_MAGIC:
        raise UsageError(f"{path} is not a model in GGUF format: it begins with {magic!r}, not {_GGUF_MAGIC!r}")
    size, free = path.stat().st_size, psutil.virtual_memory().available
    if size > free:
        raise ModelUnavailable(
            f"not enough memory for {path.name}: it takes {size / 2**20:,.0f} MiB and more, {free / 2**20:,.0f} MiB are "
            "available; stop other programs or use a smaller model"
        )


async def take(settings: EngineSettings, *, linger_seconds: float = DEFAULT_LINGER_SECONDS) -> Lease:
    """Return a lease on the engine with these settings, starting it where there is none; takes seconds then.

    Raises:
        UsageError, CatalogError, ModelUnavailable: see `check`; also where the engine cannot serve the model: the message
            ends with what it logged.
    """
    check(settings)
    folder, name = _runtime_folder(), _engine_name(settings)
    log = home() / "engines" / f"{name}.log"
    try:
        while (connection := _connect(folder / f"{name}.sock")) is not None:
            with contextlib.suppress(_Ended):  # it was about to go; soon nobody will listen there
                return await _greeted(connection)
        return await _greeted(await asyncio.to_thread(_start_once, settings, folder, name, log, linger_seconds))
    except _Ended as error:
        raise ModelUnavailable(f"the embedded engine died while it loaded {settings.model_path}{_tail(log)}") from error
    except _Refused as error:
        raise ModelUnavailable(f"the embedded engine did not start: {error}{_tail(log)}") from error


class _Ended(Exception):
    """The engine went away before it had said anything."""


class _Refused(Exception):
    """The engine cannot serve the model."""


async def _greeted(connection: socket.socket) -> Lease:
    """Wait for the engine's first line, which comes when the model is loaded; close the connection if none comes."""
    try:
        greeting = await _first_line(connection)
        if "error" in greeting:
            raise _Refused(greeting["error"])  # noqa: TRY301 - closes the connection like every failure
        return Lease(connection, Address(**greeting))
    except BaseException:
        connection.close()
        raise


async def _first_line(connection: socket.socket) -> dict[str, JSON]:
    loop, line = asyncio.get_running_loop(), b""
    while not line.endswith(b"\n"):
        try:
            piece = await loop.sock_recv(connection, 4096)
        except ConnectionError as error:
            raise _Ended from error
        if not piece:
            raise _Ended
        line += piece
    greeting: dict[str, JSON] = json.loads(line)
    return greeting


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL_LINES:]
    except OSError:
        lines = []
    said = "\n  ".join(lines)
    return (
        f"\nIts log ({log}) ends with:\n  {said}"
        if said
        else f"\nIts log is empty ({log}); it may have run out of memory."
    )


# --- starting ---------------------------------------------------------------------------------------------------------


def _start_once(settings: EngineSettings, folder: Path, name: str, log: Path, linger_seconds: float) -> socket.socket:
    """Return a connection to an engine that we, or another process in the meantime, have started."""
    path = folder / f"{name}.sock"
    with _locked(folder / f"{name}.lock"):
        connection = _connect(path)
        if connection is not None:
            return connection
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(path))
            listener.listen(128)
            connection = _connect(path)
            if connection is None:
                raise ModelUnavailable(f"cannot connect to {path}, which was made a moment ago; was it deleted?")
            try:
                _spawn(settings, listener, log, linger_seconds)
            except BaseException:
                connection.close()
                raise
        return connection


def _spawn(settings: EngineSettings, listener: socket.socket, log: Path, linger_seconds: float) -> None:
    models = Path(__file__).parent
    command = [sys.executable, "-c", _BOOT, str(Path(core.__file__ or "").parent), str(models)]
    command += ["--settings", json.dumps(asdict(settings))]
    command += ["--listener", str(listener.fileno()), "--linger-seconds", str(linger_seconds)]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        # A session of its own: Ctrl-C in the terminal is for the user's program, which then gives its lease back.
        engine = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[listener.fileno()],
            start_new_session=True,
            cwd="/",
        )
    threading.Thread(target=engine.wait, name="branchwise-engine-wait", daemon=True).start()  # leaves no zombie


def _connect(path: Path) -> socket.socket | None:
    """Return a connection to a listening engine, None where nobody listens."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        return None
    connection.setblocking(False)
    return connection


@contextlib.contextmanager
def _locked(path: Path) -> Generator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _engine_name(settings: EngineSettings) -> str:
    """A name for engines with these settings and this very file."""
    state = Path(settings.model_path).stat()
    told = {**asdict(settings), "size": state.st_size, "changed": state.st_mtime_ns, "python": sys.executable}
    return hashlib.sha256(canonical_json(told)).hexdigest()[:24]


def _runtime_folder() -> Path:
    """Return a folder of this user alone. Not under `home()`: a socket's path may have at most 107 bytes.

    Raises:
        UsageError: somebody else owns it.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(base) / "branchwise" if base else Path(tempfile.gettempdir()) / f"branchwise-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o077:
        raise UsageError(
            f"{folder} must be a folder that only you can use; delete it, or set XDG_RUNTIME_DIR to one that is"
        )
    return folder
