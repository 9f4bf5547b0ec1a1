"""Allow-lists: how they are written, and which addresses a name may lead to."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from pydantic import ValidationError

from branchwise.sandboxes import Allow
from branchwise.sandboxes.network import Rule, is_name, is_public, may_connect


@pytest.mark.parametrize(
    ("text", "host", "port", "meant"),
    [
        ("pypi.org", "pypi.org", 443, True),
        ("pypi.org", "pypi.org", 80, True),
        ("pypi.org", "pypi.org", 22, False),
        ("PyPI.org.", "pypi.org", 443, True),
        ("pypi.org", "www.pypi.org", 443, False),
        ("pypi.org", "notpypi.org", 443, False),
        ("*.pypi.org", "www.pypi.org", 443, True),
        ("*.pypi.org", "a.b.pypi.org", 443, True),
        ("*.pypi.org", "pypi.org", 443, False),
        ("*.pypi.org", "evilpypi.org", 443, False),
        ("git.example:22", "git.example", 22, True),
        ("git.example:22", "git.example", 443, False),
        ("*", "anything.example", 80, True),
        ("*:8080", "anything.example", 8080, True),
        ("*:8080", "anything.example", 80, False),
    ],
)
def test_rules_for_names(text: str, host: str, port: int, meant: bool) -> None:
    """A name means itself, `*.` what is below it, and ports are 80 and 443 unless one is given."""
    rule = Rule.parse(text)
    assert (rule.names(host) and port in rule.ports) is meant


@pytest.mark.parametrize(
    ("text", "address", "meant"),
    [
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.4", False),
        ("10.1.0.0/16:8000", "10.1.200.9", True),
        ("10.1.0.0/16", "10.2.0.1", False),
        ("::1", "::1", True),
        ("[fd00::1]:8000", "fd00::1", True),
        ("fd00::/8", "fd12::9", True),
        ("fd00::/8", "10.0.0.1", False),
    ],
)
def test_rules_for_addresses(text: str, address: str, meant: bool) -> None:
    """Addresses and networks of both kinds can be listed; no name is meant by them."""
    rule = Rule.parse(text)
    assert rule.holds(ip_address(address)) is meant
    assert not rule.names(address)


@pytest.mark.parametrize(
    "text",
    ["", "https://pypi.org", "pypi.org/simple", "user@pypi.org", "a b", "pypi.org:", "pypi.org:0", "pypi.org:99999",
     "**.org", "*.", "www.*.org", "a..b", "-a.org", "127.1", "0x7f.1", "2130706433", "[::1", "[]:80", "10.0.0.0/99"],
)  # fmt: skip
def test_what_is_no_rule_is_told(text: str) -> None:
    """Mistakes are refused where they are written; nothing is guessed."""
    with pytest.raises(ValidationError):
        Allow(text)


def test_a_list_needs_hosts() -> None:
    """An empty list is no policy; 'none' is."""
    with pytest.raises(ValidationError, match="at least 1 item"):
        Allow()
    with pytest.raises(ValidationError, match="Extra inputs"):
        Allow("pypi.org", port=3)
    assert Allow.model_validate({"hosts": ["pypi.org"]}) == Allow("pypi.org")
    assert Allow.model_validate(Allow("pypi.org", traffic_mb=3).model_dump()) == Allow("pypi.org", traffic_mb=3)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
     "100.100.100.200", "192.0.0.192", "168.63.129.16", "224.0.0.1", "255.255.255.255", "240.0.0.1", "198.18.0.1",
     "::", "::1", "fe80::1", "fd00:ec2::254", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
     "::ffff:169.254.169.254", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::1", "2002:7f00:1::",
     "2001::1", "::127.0.0.1"],
)  # fmt: skip
def test_what_is_not_public(address: str) -> None:
    """This machine, its network, clouds' metadata, and every way to write an IPv4 address into an IPv6 one."""
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "151.101.0.223", "2606:4700::1111", "64:ff9b::1.1.1.1", "::ffff:1.1.1.1"]
)
def test_what_is_public(address: str) -> None:
    """Addresses of the public Internet, the translated ones too."""
    assert is_public(ip_address(address))


def test_where_names_may_lead() -> None:
    """To public addresses that are not this machine's, and to others only where the address is listed with its port."""
    rules = Allow("pypi.org", "10.1.0.0/16:443").rules()
    own = frozenset({ip_address("8.8.4.4")})
    assert may_connect(rules, ip_address("1.1.1.1"), 443, own=own)
    assert may_connect(rules, ip_address("10.1.9.9"), 443, own=own)
    assert not may_connect(rules, ip_address("10.1.9.9"), 80, own=own)
    assert not may_connect(rules, ip_address("10.2.0.1"), 443, own=own)
    assert not may_connect(rules, ip_address("8.8.4.4"), 443, own=own)


@pytest.mark.parametrize("host", ["a.b", "xn--bcher-kva.example", "a_b.c", "1.example"])
def test_names(host: str) -> None:
    """What hosts are called."""
    assert is_name(host)


@pytest.mark.parametrize(
    "host", ["", "a\nb", "a b", "1.2.3.4", "1.2.3", "0x7f000001", "a" * 64 + ".b", "a." * 130 + "b", "ü.de"]
)
def test_no_names(host: str) -> None:
    """What would be read as an address, or spoil a record."""
    assert not is_name(host)
