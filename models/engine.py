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
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from ..core.errors import UsageError
from .router import SLOT_FILES, Router

FIRST_LEASE_SECONDS = 30.0
"""An engine that nobody has taken a lease on for so long after its start has been forgotten."""

KEPT_LIMIT_BYTES = 2 << 30
"""Memory for states of prompts that were read, at most; a quarter of what is free if that is less."""


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


def load(settings: EngineSettings, api_key: str) -> Any:
    """Load the model and start llama.cpp's server on a free port of the loopback interface; blocks for seconds.

    Returns:
        The server, which serves as long as it is referred to.

    Raises:
        EngineFailed: the package is missing, or the model cannot be used.
    """
    # Threads that wait for each other spin for some microseconds, then sleep. With the cores shared, by programs in sandboxes
    # for example, spinning on made sampling 28 times slower; sleeping at once cost a quarter of the speed where they are not:
    # 10.3 tokens/s against 13.2, and 6.7 against 6.9 beside a busy process. Read when the library is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    try:
        llama: Any = importlib.import_module("xllamacpp")  # has no type information
    except ImportError as error:
        raise EngineFailed(
            f"the embedded engine is not installed ({error}); run: pip install 'branchwise[embedded]'"
        ) from error
    parameters: Any = llama.CommonParams()
    parameters.model.path = settings.model_path
    parameters.model_alias = {settings.alias}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [api_key]
    parameters.n_parallel = settings.parallel
    # Each slot has cells of its own: a shared pool makes every token look at the other slots' cells too, which cost 12 %.
    parameters.n_ctx = settings.context_tokens * settings.parallel
    parameters.kv_unified = False
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = settings.threads or usable_cores()
    parameters.n_threads_http = max(8, 2 * settings.parallel + 4)
    parameters.endpoint_metrics = parameters.endpoint_slots = True
    # The router keeps states; llama.cpp's own cache would hold each of them once more, and only ever in one slot.
    parameters.slot_save_path = SLOT_FILES
    parameters.cache_ram_mib = 0
    parameters.cache_idle_slots = False
    parameters.ui = False
    parameters.offline = True
    parameters.verbosity = 1  # errors
    try:
        return llama.Server(parameters)
    except RuntimeError as error:
        raise EngineFailed(f"llama.cpp could not serve {settings.model_path}: {error}") from error


@asynccontextmanager
async def serving(settings: EngineSettings, *, port: int = 0) -> AsyncGenerator[Address]:
    """Serve a model within the block.

    Args:
        settings: what to serve.
        port: 0 takes a free one.

    Raises:
        EngineFailed: the model or the port cannot be used.
    """
    key = secrets.token_urlsafe(32)
    _require_port(port)
    engine = load(settings, key)
    memory = min(KEPT_LIMIT_BYTES, psutil.virtual_memory().available // 4)
    router = Router(engine.listening_address, key, slots=settings.parallel, limit_bytes=memory, port=port)
    await router.start()
    try:
        url = f"http://127.0.0.1:{router.port}/v1"
        yield Address(url, key, settings.parallel, settings.context_tokens, os.getpid())
    finally:
        await router.close()
        del engine


def _require_port(port: int) -> None:
    """Find out before the model is loaded whether the port can be had."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise EngineFailed(
                f"cannot listen on 127.0.0.1:{port}: {error.strerror}; port 0 takes a free one"
            ) from error


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


async def _serve(settings: EngineSettings, listener: socket.socket, linger_seconds: float) -> None:
    """Serve until the last lease is given back; where it cannot, tell why to those who wait."""
    try:
        async with serving(settings) as address:
            await _lease_out(listener, asdict(address), linger_seconds)
    except EngineFailed as error:
        await _lease_out(listener, {"error": str(error)}, 0.0)


async def _lease_out(listener: socket.socket, greeting: dict[str, Any], linger_seconds: float) -> None:
    leases = Leases(json.dumps(greeting).encode() + b"\n", linger_seconds)
    async with await asyncio.start_unix_server(leases.hold, sock=listener):
        await leases.over.wait()
        # At once: nothing has to be finished or saved, and the kernel takes sockets, memory and threads.
        os._exit(0)


def main() -> None:
    """Serve until the last lease is given back."""
    parser = argparse.ArgumentParser(prog="python -m branchwise.models.engine")
    parser.add_argument("--settings", required=True, help="EngineSettings as JSON")
    parser.add_argument("--listener", type=int, required=True, help="file descriptor of a listening Unix socket")
    parser.add_argument("--linger-seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    listener = socket.socket(fileno=arguments.listener)
    asyncio.run(_serve(EngineSettings(**json.loads(arguments.settings)), listener, arguments.linger_seconds))


if __name__ == "__main__":
    main()
