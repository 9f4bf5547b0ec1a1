"""The way out, from inside: what the list allows arrives, everything else is refused, whatever a program tries."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import socket
import sys
import tempfile
import textwrap
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil
import pytest
import pytest_asyncio

from branchwise.core.errors import SandboxStartFailed
from branchwise.sandboxes import Allow, Docker, Local
from branchwise.sandboxes.door import Door, _home, reap_doors
from branchwise.sandboxes.egress import Egress
from branchwise.sandboxes.environment import WorkerEnvironment, WorkerSandboxes
from branchwise.sandboxes.gate import Gate
from branchwise.sandboxes.network import PROXY_PORT, Address, literal

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS: dict[str, Any] = {"memory_mb": 256, "workspace_mb": 48, "scratch_mb": 16, "max_idle": 0}


@dataclass
class Site:
    """A web server on this machine, which stands for hosts of the Internet."""

    port: int
    heads: list[str] = field(default_factory=list[str])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request; `/moved` leads elsewhere, `/big` is a megabyte, `/slow` never comes."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            path = head.split()[1]
            length = (
                int(head.lower().partition("content-length:")[2].split()[0]) if "content-length" in head.lower() else 0
            )
            body = await reader.readexactly(length)
            if path == "/slow":
                await asyncio.sleep(60)
            if path == "/moved":
                writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://forbidden.test/\r\nContent-Length: 0\r\n\r\n")
            else:
                content = b"x" * (1 << 20) if path == "/big" else b"hello " + body
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(content), content))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def site() -> AsyncIterator[Site]:
    """The web server, listening."""
    made = Site(0)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


class Names:
    """Names as a hostile owner of theirs would have them: each look-up gets the next answer."""

    def __init__(self, answers: dict[str, list[str]]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        """Look up."""
        self.asked.append(host)
        answers = self.answers.get(host)
        if answers is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        found = literal(answers.pop(0) if len(answers) > 1 else answers[0])
        assert found is not None
        return [found]


FETCH = textwrap.dedent(
    """
    import json, socket, sys
    def ask(data, seconds=8):
        with socket.create_connection(("127.0.0.1", 3128), 5) as s:
            s.settimeout(seconds)
            s.sendall(data)
            answer = b""
            try:
                while piece := s.recv(65536):
                    answer += piece
            except TimeoutError:
                return "timeout"
        return answer.decode("latin-1")
    def get(url):
        host = url.split("/")[2]
        return ask(f"GET {url} HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n".encode())
    """
)


@pytest_asyncio.fixture(
    loop_scope="module", scope="module", params=[pytest.param("docker", marks=pytest.mark.docker), "local"]
)
async def supply(
    request: pytest.FixtureRequest, site: Site, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[WorkerSandboxes]:
    """Sandboxes of each kind that may reach the site."""
    kind = Docker if request.param == "docker" else Local
    allow = Allow(f"127.0.0.1:{site.port}", f"localhost:{site.port}", "localhost:1", "metadata.test")
    made = await kind(**LIMITS, network=allow).start(f"test-out-{request.param}", tmp_path_factory.mktemp("store"))
    yield made
    await made.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def inside(supply: WorkerSandboxes) -> AsyncIterator[WorkerEnvironment]:
    """One of them."""
    environment = await supply.open()
    yield environment
    await environment.close()


async def run(environment: WorkerEnvironment, program: str) -> Any:
    """Run a program that prints JSON, and return that."""
    result = await environment.exec(["python3", "-c", FETCH + textwrap.dedent(program)], timeout_seconds=40)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


async def test_what_is_listed_is_reached(inside: WorkerEnvironment, site: Site) -> None:
    """By plain requests and by tunnels, by address and by name, with a body."""
    said = await run(
        inside,
        f"""
        tunnel = "CONNECT 127.0.0.1:{site.port} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"
        post = "POST http://localhost:{site.port}/form HTTP/1.1\\r\\nHost: other.test\\r\\nContent-Length: 5\\r\\n\\r\\n12345"
        print(json.dumps([
            get("http://127.0.0.1:{site.port}/a"), get("http://localhost:{site.port}/b"), ask(post.encode()),
            ask((tunnel + "GET /c HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n").encode()),
        ]))
        """,
    )
    assert [answer.endswith("hello ") for answer in said] == [True, True, False, True]
    assert said[2].endswith("hello 12345")
    assert said[3].startswith("HTTP/1.1 200 ")
    form = next(head for head in site.heads if "/form" in head)
    assert form.startswith(
        "POST /form HTTP/1.1\r\nhost: localhost:"
    )  # the host that was checked, not what else was said
    assert "other.test" not in form


async def test_programs_find_the_proxy(inside: WorkerEnvironment, site: Site) -> None:
    """Python's own client, told nothing, gets what is allowed and a clear refusal of the rest."""
    program = """
    import os, urllib.error, urllib.request
    try:
        urllib.request.urlopen("http://forbidden.test/", timeout=9)
    except urllib.error.HTTPError as error:
        print(json.dumps([error.code, error.read().decode(), os.environ["HTTPS_PROXY"]]))
    """
    code, words, proxy = await run(inside, program)
    assert code == 403
    assert "branchwise: forbidden.test:80 is refused by this sandbox's network policy: it is not allowed" in words
    assert proxy == f"http://127.0.0.1:{PROXY_PORT}"


async def test_nothing_else_is_reached(inside: WorkerEnvironment, site: Site) -> None:
    """Addresses, other names, other ports, metadata, redirects: refused. Without the proxy there is no way at all."""
    addresses = [
        entry.address.partition("%")[0]
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family in {socket.AF_INET, socket.AF_INET6} and not entry.address.startswith(("127.", "::1"))
    ]
    text = Path("/etc/resolv.conf").read_text()  # noqa: ASYNC240  # a few bytes
    resolvers = [line.split()[1] for line in text.splitlines() if line.startswith("nameserver")]
    asked = [
        "169.254.169.254",
        "127.0.0.1",
        "[::1]",
        "127.1",
        "2130706433",
        "0x7f.1",
        "localhost",
        "metadata.google.internal",
    ]
    said = await run(
        inside,
        f"""
        import errno
        refused = [get(f"http://{{host}}/")[:12] for host in {asked!r}]
        refused.append(get("http://localhost:1/")[:12])
        tunnels = [ask(f"CONNECT {{host}}:{site.port} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n".encode())[:12] for host in {asked[:1]!r}]
        moved = get("http://127.0.0.1:{site.port}/moved")
        direct = []
        for host in {[*addresses, *resolvers, "1.1.1.1", "169.254.169.254"]!r}:
            for port in (22, 53, 80, {site.port}):
                try:
                    socket.create_connection((host, port), 2).close()
                    direct.append([host, port])
                except OSError as error:
                    assert error.errno in (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EINVAL), error
        try:
            socket.getaddrinfo("localhost.test", 80)
            direct.append("names")
        except OSError:
            pass
        print(json.dumps([refused, tunnels, moved, direct]))
        """,
    )
    refused, tunnels, moved, direct = said
    assert {answer[9:] for answer in refused} <= {"403", "400", "502"}, refused
    assert tunnels == ["HTTP/1.1 403"]
    assert "http://forbidden.test/" in moved  # it comes back as it is: following it is a request of its own
    assert direct == []


HOSTILE = {
    "no request": b"\x16\x03\x01\x02\x00\x01",
    "origin form": b"GET /a HTTP/1.1\r\nHost: forbidden.test\r\n\r\n",
    "https": b"GET https://forbidden.test/ HTTP/1.1\r\nHost: forbidden.test\r\n\r\n",
    "file": b"GET file:///etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    "credentials": b"GET http://allowed.test@forbidden.test/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "no port": b"CONNECT forbidden.test HTTP/1.1\r\nHost: x\r\n\r\n",
    "odd port": b"CONNECT forbidden.test:0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "two hosts": b"GET http://forbidden.test/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "control": b"GET http://forbidden\x01.test/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "huge": b"GET http://forbidden.test/ HTTP/1.1\r\nHost: x\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n",
}


async def ask(port: int, data: bytes) -> bytes:
    """Say something to a proxy and return the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        writer.write(data)
        answer = await asyncio.wait_for(reader.read(), 20)
    except ConnectionError:
        pass
    finally:
        writer.close()
    return answer


class Proxy:
    """A gate on this machine's own loopback, for what needs no sandbox to be tested."""

    def __init__(self, allow: Allow, names: Names) -> None:
        self.egress = Egress(allow, resolve=names)
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        self.port: int = listener.getsockname()[1]
        self.gate = Gate(listener, self.egress)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.gate.close()
        self.egress.close()


async def test_hostile_requests_are_refused() -> None:
    """What is no request to a proxy gets an answer that says so, or none; no name is looked up for it."""
    names = Names({})
    async with Proxy(Allow("allowed.test"), names) as proxy:
        for case, data in HOSTILE.items():
            answer = await ask(proxy.port, data)
            assert answer[:10] in {b"HTTP/1.1 4", b""}, (case, answer)
        assert names.asked == []
        assert proxy.egress.refused.keys() <= {"forbidden.test:80", "forbidden.test:443", "(no valid name):80"}


async def test_rebinding_gains_nothing(site: Site) -> None:
    """A name is looked up once per request, after it is known to be allowed, and what was checked is what is called."""
    names = Names({"two-faced.test": ["127.0.0.1", "169.254.169.254"], "inner.test": ["10.0.0.1"]})
    allow = Allow(f"two-faced.test:{site.port}", f"127.0.0.1:{site.port}", f"inner.test:{site.port}")
    async with Proxy(allow, names) as proxy:
        url = f"http://two-faced.test:{site.port}/"
        request = f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        assert (await ask(proxy.port, request)).endswith(b"hello ")
        assert names.asked == ["two-faced.test"]
        assert b"403" in (await ask(proxy.port, request))[:12]
        inner = f"CONNECT inner.test:{site.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        assert b"not public" in await ask(proxy.port, inner)
        assert b"403" in (await ask(proxy.port, b"CONNECT other.test:443 HTTP/1.1\r\nHost: x\r\n\r\n"))[:12]
        assert "other.test" not in names.asked


async def test_slow_ones_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not come to the end of a head is not waited for."""
    monkeypatch.setattr("branchwise.sandboxes.forwarding._HEAD_SECONDS", 0.3)
    async with Proxy(Allow("allowed.test"), Names({})) as proxy:
        begun = time.monotonic()
        assert b"408" in (await ask(proxy.port, b"GET http://allowed.test/ HTTP/1.1\r\n"))[:12]
        assert time.monotonic() - begun < 5


async def test_idle_tunnels_are_cut(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tunnel through which nothing goes does not stay."""
    monkeypatch.setattr("branchwise.sandboxes.forwarding._IDLE_SECONDS", 0.3)
    async with Proxy(Allow(f"127.0.0.1:{site.port}"), Names({})) as proxy:
        answer = await ask(proxy.port, f"CONNECT 127.0.0.1:{site.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 200")


async def test_traffic_is_limited(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A run moves what it may and no more; the user is told."""
    async with Proxy(Allow(f"127.0.0.1:{site.port}", traffic_mb=2), Names({})) as proxy:
        request = f"GET http://127.0.0.1:{site.port}/big HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        sizes = [len(await ask(proxy.port, request)) for _ in range(3)]
        assert sizes[0] > 1 << 20
        assert sum(sizes) < 2 << 20
        assert b"may no more" in await ask(proxy.port, request)
        assert "have moved 2 MiB; they may no more" in caplog.text


async def test_connections_are_limited(site: Site) -> None:
    """More connections than allowed wait until others are done; when the gate closes all are cut."""
    async with Proxy(Allow(f"127.0.0.1:{site.port}", connections=2), Names({})) as proxy:
        request = f"GET http://127.0.0.1:{site.port}/slow HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        waiting = [asyncio.create_task(ask(proxy.port, request)) for _ in range(6)]
        await asyncio.sleep(0.3)
        assert len(proxy.gate._visits) == 2
        await proxy.gate.close()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert proxy.gate._visits == set()


@pytest.mark.parametrize("turns", range(8))
async def test_closed_as_somebody_connects(turns: int) -> None:
    """However far a connection had come when the gate closes: it is cut, and not forgotten."""
    async with Proxy(Allow("allowed.test"), Names({})) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port)) as visitor:
            visitor.setblocking(False)
            for _ in range(turns):
                await asyncio.sleep(0)
            await proxy.gate.close()
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.get_running_loop().sock_recv(visitor, 1) == b""
    gc.collect()


async def test_refusals_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """The user reads host and port of what was refused, once each, and no more than a bounded number."""
    async with Proxy(Allow("allowed.test"), Names({})) as proxy:
        for _ in range(2):
            await ask(proxy.port, b"GET http://secret:pw@forbidden.test/path?token=x HTTP/1.1\r\nHost: x\r\n\r\n")
            await ask(proxy.port, b"GET http://forbidden.test/path?token=x HTTP/1.1\r\nHost: x\r\n\r\n")
        told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert told == ["a sandbox was refused forbidden.test:80: it is not allowed (allowed: allowed.test)"]
        assert proxy.egress.refused["forbidden.test:80"] == 2
        for number in range(1200):
            proxy.egress.refuse(f"h{number}", 80, "it is not allowed")
        assert len(proxy.egress.refused) <= 1001


@pytest.mark.docker
async def test_no_door_is_left(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the socket was handed over by is gone once it has been, and what dead processes left goes at the next start."""
    # A folder of its own: whoever starts a sandbox meanwhile takes away what the dead have left in the usual one.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def of(pid: int) -> list[str]:
        return [place.name for place in _home().iterdir() if f"_{pid}_" in place.name]

    supply = await Docker(**LIMITS, network=Allow("allowed.test")).start("test-door", tmp_path)
    environment = await supply.open()
    assert (
        await environment.exec("ls -A /run/branchwise; cat /proc/self/mounts | grep -c /run/branchwise")
    ).stdout == "1\n"
    assert of(os.getpid()) == []
    await environment.close()
    await supply.aclose()
    program = "from branchwise.sandboxes.door import Door; import os; Door('gate'); os.kill(os.getpid(), 9)"
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", program, env=env)
    await killed.wait()
    assert len(of(killed.pid)) == 1
    living = Door("gate")
    reap_doors()
    assert of(killed.pid) == []
    assert len(of(os.getpid())) == 1
    living.close()
    assert of(os.getpid()) == []


@pytest.mark.docker
async def test_far_engine_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that is reached over the network cannot have the proxy of this machine."""

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far = await asyncio.open_unix_connection(os.environ.get("TEST_SOCKET", "/var/run/docker.sock"))

        async def pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
            sink.close()

        await asyncio.gather(pour(reader, far[1]), pour(far[0], writer))

    server = await asyncio.start_server(pipe, "127.0.0.1", 0)
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    with pytest.raises(SandboxStartFailed, match="need an engine on this machine"):
        await Docker(**LIMITS, network=Allow("allowed.test")).start("test-far", tmp_path)
    server.close()
