"""Services beside a sandbox: reached by name, reaching nothing, fresh each time, gone with it."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from pydantic import ValidationError

from branchwise.core.errors import SandboxLost, SandboxStartFailed
from branchwise.sandboxes import Docker, Service
from branchwise.sandboxes.docker_engine import DockerEngine
from branchwise.sandboxes.environment import WorkerSandboxes
from branchwise.sandboxes.image import ensure_base_image
from branchwise.sandboxes.pod import Pod

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

STORE = """
import http.server, os, sys
values = {}
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, text):
        self.send_response(200); self.send_header("Content-Length", str(len(text))); self.end_headers(); self.wfile.write(text)
    def do_GET(self):
        if self.path == "/die": print("it was told to die", file=sys.stderr, flush=True); os._exit(3)
        if self.path == "/seen": return self.answer(repr(sorted(os.listdir("/proc"))).encode())
        self.answer(values.get(self.path, os.environ["GREETING"]).encode())
    def do_PUT(self):
        values[self.path] = self.rfile.read(int(self.headers["Content-Length"])).decode(); self.answer(b"kept")
    def log_message(self, *_): pass
open("/data/started", "w").close()
http.server.HTTPServer(("127.0.0.1", 7000), Handler).serve_forever()
"""
ASK = "import sys, urllib.request as u; print(u.urlopen(u.Request(sys.argv[1], data=sys.argv[2].encode() if sys.argv[2:] else None, method='PUT' if sys.argv[2:] else 'GET'), timeout=9).read().decode())"


def store(image: str) -> Service:
    """A small key-value store."""
    return Service(
        image=image,
        command=("python3", "-c", STORE),
        env={"GREETING": "hello"},
        ready=7000,
        scratch=("/data",),
        memory_mb=64,
    )


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerEngine]:
    """A connection to the engine."""
    connected = DockerEngine.connect()
    yield connected
    connected.close()


@pytest.fixture(scope="module")
def image(engine: DockerEngine) -> str:
    """An image with Python."""
    return ensure_base_image(engine, ("pytest",))


def spec(**services: Service) -> Docker:
    """Sandboxes with services."""
    return Docker(memory_mb=256, workspace_mb=48, scratch_mb=16, max_idle=0, services=services)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def supply(image: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WorkerSandboxes]:
    """Sandboxes with the store."""
    made = await spec(db=store(image)).start("test-services", tmp_path_factory.mktemp("store"))
    yield made
    await made.aclose()


async def test_services_are_reached_and_reach_nothing(supply: WorkerSandboxes, engine: DockerEngine) -> None:
    """By name and by localhost; neither this machine nor the Internet is there, for them or the sandbox."""
    environment = await supply.open()
    said = await environment.exec(["python3", "-c", ASK, "http://db:7000/greeting"])
    assert said.stdout == "hello\n", said.stderr
    assert (await environment.exec(["python3", "-c", ASK, "http://localhost:7000/x"])).stdout == "hello\n"
    with socket.create_server(("", 0)) as server:
        ours = [
            entry.address.partition("%")[0]
            for entries in psutil.net_if_addrs().values()
            for entry in entries
            if entry.family in {socket.AF_INET, socket.AF_INET6} and not entry.address.startswith(("127.", "::1"))
        ]
        probe = f"""
import socket
for host in {[*ours, "1.1.1.1", "169.254.169.254", "127.0.0.1", "127.0.0.11"]!r}:
    for port in ({server.getsockname()[1]}, 53):
        try: socket.create_connection((host, port), 2); print("reached", host, port)
        except OSError: pass
print(sorted(name for _, name in socket.if_nameindex()))
"""
        assert (await environment.exec(["python3", "-c", probe])).stdout == "['lo']\n"
        number = next(c["Id"] for c in engine.containers("test-services") if c["Labels"]["branchwise"] == "service")
        assert engine.run_inside(number, ["python3", "-c", probe]) == (0, "['lo']\n")
    await environment.close()


async def test_sandbox_is_apart_from_its_services(supply: WorkerSandboxes) -> None:
    """A service sees neither the sandbox's processes nor its files, and the sandbox not the service's."""
    environment = await supply.open()
    await environment.write("mark", b"")
    inside = (await environment.exec("ls -d /proc/[0-9]*; ls /data /workspace")).stdout
    assert "started" not in inside
    assert len([line for line in inside.split() if line.startswith("/proc/")]) <= 3
    assert environment.isolation.count("services db that are not forked") == 1
    await environment.close()


async def test_forks_have_services_of_their_own(supply: WorkerSandboxes) -> None:
    """Files are forked, services start afresh: what one branch has told them no other hears, nor the same one later."""
    parent = await supply.open()
    assert parent.capability == "replayable"
    await parent.write("file", b"kept")
    put = ["python3", "-c", ASK, "http://db:7000/key", "of the parent"]
    get = ["python3", "-c", ASK, "http://db:7000/key"]
    assert (await parent.exec(put)).stdout == "kept\n"
    ref = await parent.snapshot()
    child = await parent.fork()
    assert (await child.exec(get)).stdout == "hello\n"
    assert await child.read("file") == b"kept"
    assert (await parent.exec(get)).stdout == "of the parent\n"
    await parent.restore(ref)
    assert (await parent.exec(get)).stdout == "hello\n"
    await child.close()
    await parent.close()


async def test_nothing_is_left(engine: DockerEngine, image: str, tmp_path: Path) -> None:
    """When a sandbox goes its services go, and the volumes of their images with them."""
    volumes = len(engine.api.volumes()["Volumes"] or ())
    supply = await spec(db=store(image)).start("test-services-gone", tmp_path)
    roles = sorted(container["Labels"]["branchwise"] for container in engine.containers("test-services-gone"))
    assert roles == ["holder", "sandbox", "service"]
    environment = await supply.open()
    await environment.close()
    deadline = time.monotonic() + 20
    while engine.containers("test-services-gone"):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    await supply.aclose()
    assert len(engine.api.volumes()["Volumes"] or ()) == volumes


async def test_end_of_a_service_is_a_lost_sandbox(image: str, tmp_path: Path) -> None:
    """What programs see of a dead service is no result: the caller learns which one ended and what it said."""
    supply = await spec(db=store(image)).start("test-services-lost", tmp_path)
    environment = await supply.open()
    with pytest.raises(SandboxLost, match="the service 'db' has ended: it was told to die"):
        await environment.exec(f'python3 -c "{ASK}" http://db:7000/die; sleep 30')
    await environment.close()
    await supply.aclose()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"command": ("python3", "-c", "import sys; sys.exit('no configuration')")},
            "'bad' has ended: no configuration",
        ),
        ({"command": ("touch", "/etc/x")}, "Service\\(scratch=...\\) only"),
        ({"command": ("sleep", "9"), "ready": 7001}, "'bad' was not ready within 1 s: 7001 last said: .*refused"),
        ({"command": ("sleep", "9"), "ready": "echo not yet; false"}, "not ready within 1 s: .*'not yet'"),
        ({"image": "no-such/image:1"}, "has no image 'no-such/image:1'"),
        ({"command": ("no-such-program",)}, "no-such-program"),
    ],
)
async def test_services_that_do_not_come_up(
    changes: dict[str, object], words: str, engine: DockerEngine, image: str
) -> None:
    """One message says which and why; nothing is left."""
    bad = Service.model_validate({"image": image, "memory_mb": 64, "ready_seconds": 1.0, **changes})
    with pytest.raises(SandboxStartFailed, match=words):
        await Pod.start(engine, {"bad": bad}, image=image, run_id="test-services-bad")
    assert engine.containers("test-services-bad") == []


CLIENT = """
import asyncio, pathlib, sys
from branchwise.sandboxes import Allow, Docker, Service
db = Service(image=sys.argv[3], command=("sh", "-c", "trap '' TERM HUP INT; sleep 600 & while true; do wait; done"), memory_mb=64)
spec = Docker(memory_mb=256, workspace_mb=48, scratch_mb=16, max_idle=0, services={"db": db}, network=Allow("a.test"))
async def main():
    supply = await spec.start(sys.argv[1], pathlib.Path(sys.argv[2]))
    environment = await supply.open()
    task = asyncio.create_task(environment.exec("(setsid sleep 600 &) ; while true; do :; done", timeout_seconds=600))
    await asyncio.sleep(0)
    print("busy", flush=True)
    await task
asyncio.run(main())
"""


async def test_killing_the_client_leaves_no_service(engine: DockerEngine, image: str, tmp_path: Path) -> None:
    """After SIGKILL of the framework sandbox, services and what holds them end by themselves, stubborn ones too."""
    command = [sys.executable, "-c", CLIENT, "test-services-kill", str(tmp_path), image]
    client = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert client.stdout is not None
    assert await client.stdout.readline() == b"busy\n"
    assert len(engine.containers("test-services-kill")) == 3
    client.kill()
    await client.wait()
    deadline = time.monotonic() + 10
    while engine.containers("test-services-kill"):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("ready", [0, 70000, 3128, "", ()])
async def test_ready_must_be_something(ready: object) -> None:
    """What cannot be waited for is refused where it is written."""
    with pytest.raises(ValidationError, match="ready"):
        Service.model_validate({"image": "x", "ready": ready})
