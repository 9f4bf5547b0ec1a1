"""The embedded engine's own process: llama.cpp with its OpenAI-compatible server, and the leases of those who use it.

Started by `models.lease`, which passes a listening Unix socket. Every user of the engine holds one connection to it; the
first line that comes back says where the engine is and how to talk to it. The kernel closes a user's connection however
the user ends, so the engine knows when nobody is left, and goes. It writes nothing that has to be saved.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import secrets
import socket
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import psutil

from ..core.errors import UsageError

FIRST_LEASE_SECONDS = 30.0
"""An engine that nobody has taken a lease on for so long after its start has been forgotten."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How the engine serves a model. Users of equal settings share one engine."""

    model_path: str
    alias: str
    """The server's name of the model."""
    parallel: int = 4
    """Requests served at once."""
    context_tokens: int = 4096
    """For each of them, prompt and reply together."""
    threads: int | None = None
    """None: the physical cores that this process may use."""

    def __post_init__(self) -> None:
        for name, least in (("parallel", 1), ("context_tokens", 256)):
            if getattr(self, name) < least:
                raise UsageError(f"{name}={getattr(self, name)}: the embedded engine needs at least {least}")
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"threads={self.threads}: the embedded engine needs at least 1")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a running engine is."""

    base_url: str
    api_key: str
    parallel: int
    context_tokens: int
    pid: int


class EngineFailed(Exception):
    """The engine cannot serve the model; the message is for the user."""


def usable_cores() -> int:
    """Return the number of physical cores that this process may use; more threads than that slow llama.cpp down."""
    allowed = len(os.sched_getaffinity(0))
    return max(1, min(psutil.cpu_count(logical=False) or allowed, allowed))


def load(settings: EngineSettings, *, port: int = 0) -> tuple[Any, Address]:
    """Load the model and start serving it on the loopback interface; blocks for seconds.

    Args:
        settings: what to serve.
        port: 0 takes a free one.

    Returns:
        The server, which serves as long as it is referred to, and its address.

    Raises:
        EngineFailed: the package is missing, or the model or the port cannot be used.
    """
    try:
        llama: Any = importlib.import_module("xllamacpp")  # has no type information
    except ImportError as error:
        raise EngineFailed(
            f"the embedded engine is not installed ({error}); run: pip install 'branchwise[embedded]'"
        ) from error
    key = secrets.token_urlsafe(32)
    parameters: Any = llama.CommonParams()
    parameters.model.path = settings.model_path
    parameters.model_alias = {settings.alias}
    parameters.port = port
    parameters.hostnames = ["127.0.0.1"]
    parameters.api_keys = [key]
    parameters.n_parallel = settings.parallel
    # One pool of cells for all slots: a slot that needs little leaves its share to the others.
    parameters.n_ctx = settings.context_tokens * settings.parallel
    parameters.kv_unified = True
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = settings.threads or usable_cores()
    parameters.n_threads_http = max(8, 2 * settings.parallel + 4)
    parameters.endpoint_metrics = parameters.endpoint_slots = True
    parameters.ui = False
    parameters.offline = True
    parameters.verbosity = 2  # warnings and errors
    try:
        server: Any = llama.Server(parameters)
    except RuntimeError as error:
        raise EngineFailed(f"llama.cpp could not serve {settings.model_path}: {error}") from error
    return server, Address(
        f"{server.listening_address}/v1", key, settings.parallel, settings.context_tokens, os.getpid()
    )


class Leases:
    """Tells each user of the engine its address, and when the last of them is gone."""

    def __init__(self, greeting: bytes, linger_seconds: float) -> None:
        self._greeting = greeting
        self._linger_seconds = linger_seconds
        self._held = 0
        self._clock: asyncio.TimerHandle | None = None
        self.over = asyncio.Event()
        self._wait(FIRST_LEASE_SECONDS)

    async def hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one user until it is gone."""
        self._held += 1
        if self._clock is not None:
            self._clock.cancel()
        try:
            writer.write(self._greeting)
            await writer.drain()
            while await reader.read(1024):
                pass
        except ConnectionError:
            pass
        finally:
            self._held -= 1
            writer.close()
            if not self._held:
                self._wait(self._linger_seconds)

    def _wait(self, seconds: float) -> None:
        if self._clock is not None:
            self._clock.cancel()
        self._clock = asyncio.get_running_loop().call_later(seconds, self.over.set)


async def _serve(listener: socket.socket, greeting: dict[str, Any], linger_seconds: float) -> None:
    leases = Leases(json.dumps(greeting).encode() + b"\n", linger_seconds)
    server = await asyncio.start_unix_server(leases.hold, sock=listener)
    await leases.over.wait()
    server.close()


def main() -> NoReturn:
    """Serve until the last lease is given back."""
    parser = argparse.ArgumentParser(prog="python -m branchwise.models.engine")
    parser.add_argument("--settings", required=True, help="EngineSettings as JSON")
    parser.add_argument("--listener", type=int, required=True, help="file descriptor of a listening Unix socket")
    parser.add_argument("--linger-seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    listener = socket.socket(fileno=arguments.listener)
    socket_path = Path(listener.getsockname())
    try:
        server, address = load(EngineSettings(**json.loads(arguments.settings)))
        greeting: dict[str, Any] = asdict(address)
    except EngineFailed as error:
        server, greeting = None, {"error": str(error)}
    asyncio.run(_serve(listener, greeting, arguments.linger_seconds if server is not None else 0.0))
    socket_path.unlink(missing_ok=True)
    sys.stderr.flush()
    os._exit(0)  # at once: the engine's threads have nothing to finish, and its destructors take time


if __name__ == "__main__":
    main()
