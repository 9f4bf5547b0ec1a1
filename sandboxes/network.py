"""What the programs of a sandbox may reach over the network: nothing, or the hosts of an allow-list."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

Address = IPv4Address | IPv6Address

PROXY_PORT = 3128
"""Where, on a sandbox's own loopback, its programs find the proxy."""

_USUAL_PORTS = frozenset({80, 443})
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NAT64 = IPv6Network("64:ff9b::/96")
_LOOKS_PUBLIC = (IPv4Network("168.63.129.16/32"), IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))
"""Clouds serve machines about themselves there, or protocols have set it aside; older Pythons do not know."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of an allow-list."""

    name: str | None
    """A host's name in lower case, `*.` before it for every name below it, `*` for every name; None: an address."""
    network: IPv4Network | IPv6Network | None
    ports: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the rule that `HOST` or `HOST:PORT` describes.

        Raises:
            ValueError: it describes none.
        """
        host, port = split_port(text.strip(), text)
        ports = _USUAL_PORTS if port is None else frozenset({port})
        try:
            return cls(None, ip_network(host, strict=False), ports)
        except ValueError:
            pass
        name = host.lower().removesuffix(".")
        if host != "*" and not is_name(name.removeprefix("*.")):
            raise ValueError(
                f"{text!r} is no host to allow; give a name ('pypi.org'), all names below one ('*.pypi.org'), an address "
                "or network ('10.1.2.3', '10.1.0.0/16'), or '*' for everything public, each with ':PORT' unless it is "
                "80 and 443"
            )
        return cls(name, None, ports)

    def names(self, host: str) -> bool:
        """Whether a host's name is meant."""
        if self.name is None:
            return False
        return self.name in {"*", host} or (self.name.startswith("*.") and host.endswith(self.name[1:]))

    def holds(self, address: Address) -> bool:
        """Whether an address is meant."""
        return self.network is not None and address in self.network


class Allow(BaseModel):
    """An allow-list for `network=`: programs reach these hosts by HTTP and HTTPS through a proxy, and nothing else.

    The sandbox itself has no network. The proxy runs outside of it, in this process, checks every request, and connects
    to the very address that it has checked. Names lead to public addresses only, never to this machine or its network,
    unless the address is on the list too: `Allow("mirror.corp", "10.1.2.3")`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hosts: tuple[str, ...] = Field(min_length=1, description="hosts with or without ':PORT'; without it 80 and 443")
    connections: int = Field(default=32, ge=1, le=1024, description="most connections of one sandbox at a time")
    traffic_mb: int = Field(default=4096, ge=1, description="most MiB that a run's sandboxes move, both ways together")

    def __init__(self, *hosts: str, **settings: Any) -> None:
        super().__init__(hosts=(*hosts, *settings.pop("hosts", ())), **settings)

    @field_validator("hosts")
    @classmethod
    def _all_can_be_read(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for text in hosts:
            Rule.parse(text)
        return hosts

    def rules(self) -> list[Rule]:
        """Return the list's lines."""
        return [Rule.parse(text) for text in self.hosts]

    def __str__(self) -> str:
        return ", ".join(self.hosts)


def split_port(host: str, whole: str) -> tuple[str, int | None]:
    """Return the host and the port of `HOST`, `HOST:PORT`, `[HOST]` or `[HOST]:PORT`.

    Raises:
        ValueError: it is none of these; `whole` is what the message quotes.
    """
    found = re.fullmatch(r"\[([^\[\]]+)\](?::(\d{1,5}))?", host, re.ASCII)
    if found is None and host.count(":") > 1:
        return host, None  # an IPv6 address without brackets
    found = found or re.fullmatch(r"([^\[\]:]+)(?::(\d{1,5}))?", host, re.ASCII)
    if found is None:
        raise ValueError(f"{whole!r} is neither HOST nor HOST:PORT")
    port = None if found[2] is None else int(found[2])
    if port is not None and not 0 < port < 1 << 16:
        raise ValueError(f"{whole!r} has the port {port}; ports are 1 to 65535")
    return found[1], port


def is_name(host: str) -> bool:
    """Whether `host`, in lower case, is a host's name: no address, nor one of the older ways to write one (`127.1`)."""
    labels = host.split(".")
    return len(host) <= 253 and all(map(_LABEL.fullmatch, labels)) and re.match(r"\d|0x", labels[-1]) is None


def literal(host: str) -> Address | None:
    """Return the address that `host` is written as; None where it is none."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Whether an address is on the public Internet: not this machine's, its network's, a cloud's, or nobody's."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.sixtofour is not None or address.teredo is not None or address.is_site_local:
            return False
    special = address.is_private or address.is_reserved or address.is_multicast or address.is_unspecified
    return address.is_global and not special and not any(address in network for network in _LOOKS_PUBLIC)


def may_connect(rules: Iterable[Rule], address: Address, port: int, *, own: frozenset[Address]) -> bool:
    """Whether a connection to an address is within the rules, for a name that is.

    Args:
        rules: the allow-list.
        address: what the name has led to.
        port: of the service.
        own: addresses of this machine: none of its services is meant by a name, however public the address is.
    """
    listed = any(rule.holds(address) and port in rule.ports for rule in rules)
    return listed or (is_public(address) and address not in own)
