"""The way out of a run's sandboxes: what the allow-list lets through, and the record of what it did not."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import psutil

from .network import Address, Allow, is_name, literal, may_connect

_log = logging.getLogger(__name__)

Resolver = Callable[[str, int], Awaitable[Sequence[Address]]]

_CONNECT_SECONDS = 10.0
_REMEMBERED = 1000
"""Refused hosts that are told apart; a guest could ask for any number."""


class Refused(Exception):
    """A request that is not served.

    Attributes:
        status: for the HTTP reply.
    """

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        super().__init__(reason)


class Egress:
    """Opens connections for the sandboxes of one supply, as far as its allow-list goes."""

    def __init__(self, policy: Allow, *, resolve: Resolver | None = None) -> None:
        self.policy = policy
        self.refused: dict[str, int] = {}
        """How often which `host:port` was asked for in vain."""
        self.moved_bytes = 0
        # Whoever else holds a listening socket can make accepting block: it happens in a thread of its own.
        self.acceptor = ThreadPoolExecutor(1, thread_name_prefix="sandbox-egress")
        self._rules = policy.rules()
        self._resolve = resolve or _resolve

    async def connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a connection to a host that is allowed.

        A name is looked up once, and only once it is known to be allowed; the connection goes to an address that was
        checked, so that a name which leads elsewhere a moment later gains nothing.

        Raises:
            Refused: it is not allowed, or cannot be reached.
        """
        self.count(0)
        addresses = await self._permitted(host.lower().removesuffix("."), port)
        reason = "no address"
        for address in addresses:
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    return await asyncio.open_connection(str(address), port, limit=1 << 17)
            except TimeoutError:
                reason = f"no answer within {_CONNECT_SECONDS:g} s"
            except OSError as error:
                reason = error.strerror or str(error)
        raise Refused(502, f"{host}:{port} cannot be reached from this machine: {reason}")

    async def _permitted(self, host: str, port: int) -> list[Address]:
        address = literal(host)
        if address is not None:
            if not any(rule.holds(address) and port in rule.ports for rule in self._rules):
                raise self.refuse(f"[{address}]" if address.version == 6 else str(address), port, "it is not allowed")
            return [address]
        if not is_name(host):
            raise self.refuse("(no valid name)", port, "that is no host's name")
        if not any(rule.names(host) and port in rule.ports for rule in self._rules):
            raise self.refuse(host, port, "it is not allowed")
        try:
            found = await self._resolve(host, port)
        except OSError as error:
            raise Refused(502, f"the name {host} cannot be resolved: {error.strerror or error}") from error
        own = await asyncio.to_thread(_own_addresses)
        permitted = [address for address in found if may_connect(self._rules, address, port, own=own)]
        if not permitted:
            raise self.refuse(host, port, "its name leads to an address that is not public and not allowed by itself")
        return permitted

    def refuse(self, host: str, port: int, reason: str) -> Refused:
        """Note a refusal, tell the user of the first one of its kind, and return what is to be raised."""
        target = f"{host}:{port}"
        if target not in self.refused:
            if len(self.refused) >= _REMEMBERED:
                target = "(others)"
            else:
                _log.warning("a sandbox was refused %s: %s (allowed: %s)", target, reason, self.policy)
        self.refused[target] = self.refused.get(target, 0) + 1
        return Refused(
            403, f"{host}:{port} is refused by this sandbox's network policy: {reason} (allowed: {self.policy})"
        )

    def count(self, size_bytes: int) -> None:
        """Add to what was moved.

        Raises:
            Refused: it is more than the run may move.
        """
        self.moved_bytes += size_bytes
        if self.moved_bytes > self.policy.traffic_mb << 20:
            if "traffic" not in self.refused:
                self.refused["traffic"] = 1
                _log.warning("the sandboxes of this run have moved %d MiB; they may no more", self.policy.traffic_mb)
            raise Refused(403, f"the sandboxes of this run have moved {self.policy.traffic_mb} MiB and may no more")

    def close(self) -> None:
        """End the thread. Gates are closed before."""
        self.acceptor.shutdown(wait=False, cancel_futures=True)


async def _resolve(host: str, port: int) -> list[Address]:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(_CONNECT_SECONDS):  # its TimeoutError is an OSError
        rows = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    found = (literal(str(row[4][0]).partition("%")[0]) for row in rows)
    return [address for address in found if address is not None]


def _own_addresses() -> frozenset[Address]:
    texts = (entry.address.partition("%")[0] for entries in psutil.net_if_addrs().values() for entry in entries)
    return frozenset(address for text in texts if (address := literal(text)) is not None)
