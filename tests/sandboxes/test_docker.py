"""What is Docker's own: containers that vanish, the reaper, images, and what is said when something is missing."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import APIError
from pydantic import ValidationError

from branchwise.core.errors import SandboxLost, SandboxStartFailed
from branchwise.sandboxes import Auto, Docker, Service
from branchwise.sandboxes.docker_engine import DockerEngine
from branchwise.sandboxes.owner import LABEL, OWNER_LABEL, RUN_LABEL, Owner

pytestmark = pytest.mark.docker

SMALL = Docker(memory_mb=256, workspace_mb=48, scratch_mb=16, max_idle=1)


@pytest.fixture
def engine() -> Iterator[DockerEngine]:
    """A connection to the engine."""
    connected = DockerEngine.connect()
    yield connected
    connected.close()


def containers(engine: DockerEngine, run_id: str) -> list[dict[str, Any]]:
    """Return the containers of a run, whatever their state."""
    return engine.containers(run_id)


def wait_until_gone(engine: DockerEngine, run_id: str, seconds: float) -> float:
    """Return how long it took until no container of the run was left."""
    begun = time.monotonic()
    while containers(engine, run_id):
        assert time.monotonic() - begun < seconds, f"containers are left after {seconds} s"
        time.sleep(0.05)
    return time.monotonic() - begun


async def test_nothing_is_left_after_closing(engine: DockerEngine, tmp_path: Path) -> None:
    """Closing the supply removes lent and idle containers, also while programs run in them."""
    supply = await SMALL.start("test-close", tmp_path)
    environments = [await supply.open() for _ in range(3)]
    running = asyncio.create_task(environments[0].exec(["sleep", "60"]))
    await asyncio.sleep(0.2)
    assert len(containers(engine, "test-close")) >= 3
    await supply.aclose()
    await supply.aclose()
    assert containers(engine, "test-close") == []
    with pytest.raises(SandboxLost):
        await running
    with pytest.raises(SandboxStartFailed, match="closed"):
        await supply.open()
    for environment in environments:
        await environment.close()


CLIENT = """
import asyncio, pathlib, sys
from branchwise.sandboxes import Docker
async def main():
    spec = Docker(memory_mb=256, workspace_mb=48, scratch_mb=16, max_idle=0)
    supply = await spec.start(sys.argv[1], pathlib.Path(sys.argv[2]))
    environments = [await supply.open() for _ in range(3)]
    loop = environments[0].exec("(setsid sleep 600 &) ; while true; do :; done", timeout_seconds=600)
    task = asyncio.create_task(loop)
    await environments[1].exec(["true"])
    print("busy", flush=True)
    await task
asyncio.run(main())
"""


async def test_killing_the_client_leaves_no_container(engine: DockerEngine, tmp_path: Path) -> None:
    """After SIGKILL of the framework its containers end by themselves, the busy ones too, within seconds.

    It keeps no spares: one that has just been made and not yet started would be the next start's to remove (see below).
    """
    command = [sys.executable, "-c", CLIENT, "test-kill", str(tmp_path)]
    client = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert client.stdout is not None
    assert await client.stdout.readline() == b"busy\n"
    assert len(containers(engine, "test-kill")) == 3
    client.kill()
    await client.wait()
    assert wait_until_gone(engine, "test-kill", 10) < 10


BETWEEN = """
import asyncio, os, pathlib, signal, sys
from branchwise.sandboxes import Docker
from branchwise.sandboxes.docker_engine import DockerEngine
attach = DockerEngine._attach
def killed(self, number):
    attach(self, number)
    print(number, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
DockerEngine._attach = killed
spec = Docker(memory_mb=256, workspace_mb=48, scratch_mb=16, max_idle=0)
asyncio.run(spec.start(sys.argv[1], pathlib.Path(sys.argv[2])))
"""


async def test_a_container_that_was_made_and_never_started_is_reaped(engine: DockerEngine, tmp_path: Path) -> None:
    """After SIGKILL between the two nothing runs; what there is of it goes with the next start."""
    command = [sys.executable, "-c", BETWEEN, "test-between", str(tmp_path)]
    client = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    told, _ = await client.communicate()
    assert (client.returncode, len(told.split())) == (-signal.SIGKILL, 1)
    # None, where a run that starts meanwhile has taken it away already.
    assert {container["State"] for container in containers(engine, "test-between")} <= {"created"}
    supply = await SMALL.start("test-after", tmp_path)
    assert containers(engine, "test-between") == []
    await supply.aclose()


@pytest.mark.parametrize("moment", ["while the engine works on it", "when it has just been started"])
async def test_a_start_that_is_given_up_leaves_nothing(
    engine: DockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Once the cancelled start has returned there is no container, no matter how far it had come."""
    supply = await SMALL.model_copy(update={"max_idle": 0}).start("test-given-up", tmp_path)
    held = await supply.open()
    before = {container["Id"] for container in containers(engine, "test-given-up")}
    reached, loop = asyncio.Event(), asyncio.get_running_loop()
    if moment == "while the engine works on it":
        attach = DockerEngine._attach

        def attached(self: DockerEngine, number: str) -> socket.socket:
            loop.call_soon_threadsafe(reached.set)
            time.sleep(0.2)
            return attach(self, number)

        monkeypatch.setattr(DockerEngine, "_attach", attached)
    else:

        async def connected(**_: object) -> None:
            reached.set()
            await asyncio.sleep(60)

        monkeypatch.setattr("branchwise.sandboxes.docker_engine.asyncio.open_connection", connected)
    opening = asyncio.create_task(supply.open())
    await reached.wait()
    (start,) = supply.pool._starts
    start.cancel()
    await asyncio.wait({start})
    assert {container["Id"] for container in containers(engine, "test-given-up")} == before
    opening.cancel()
    await asyncio.wait({opening})
    monkeypatch.undo()
    await held.close()
    await supply.aclose()


@pytest.mark.parametrize("spec", [Docker(), Auto()])
async def test_a_start_that_is_given_up_closes_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: Docker | Auto
) -> None:
    """What a thread has connected to the engine when nobody waits for it any more is closed."""
    connect, close = DockerEngine.connect, DockerEngine.close
    reached, closed, loop = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop()

    def connecting() -> DockerEngine:
        loop.call_soon_threadsafe(reached.set)
        time.sleep(0.1)
        return connect()

    def closing(engine: DockerEngine) -> None:
        close(engine)
        loop.call_soon_threadsafe(closed.set)

    monkeypatch.setattr(DockerEngine, "connect", connecting)
    monkeypatch.setattr(DockerEngine, "close", closing)
    starting = asyncio.create_task(spec.start("test-unconnected", tmp_path))
    await reached.wait()
    starting.cancel()
    await asyncio.wait({starting})
    await asyncio.wait_for(closed.wait(), 10)


async def test_killed_worker_is_a_lost_sandbox(engine: DockerEngine, tmp_path: Path) -> None:
    """When the container dies under a program the caller learns that the result is unknown, and nothing is left."""
    supply = await SMALL.start("test-lost", tmp_path)
    environment = await supply.open()
    running = asyncio.create_task(environment.exec(["sleep", "60"]))
    await asyncio.sleep(0.2)
    if supply.pool._starts:  # a spare that dies while it starts would be another test
        await asyncio.wait(supply.pool._starts)
    for container in containers(engine, "test-lost"):
        engine.remove(container["Id"])
    with pytest.raises(SandboxLost, match="lost"):
        await running
    with pytest.raises(SandboxLost):
        await environment.read("file")
    await environment.close()
    replacement = await supply.open()
    assert (await replacement.exec(["echo", "new"])).stdout == "new\n"
    await replacement.close()
    await supply.aclose()
    assert containers(engine, "test-lost") == []


async def test_frozen_worker_is_given_up(engine: DockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that does not answer is killed, not waited for."""
    monkeypatch.setattr("branchwise.sandboxes.workspace._GRACE_SECONDS", 1.0)
    supply = await SMALL.model_copy(update={"max_idle": 0}).start("test-frozen", tmp_path)
    environment = await supply.open()
    (container,) = containers(engine, "test-frozen")
    os.kill(engine.api.inspect_container(container["Id"])["State"]["Pid"], signal.SIGSTOP)
    with pytest.raises(SandboxLost, match="no answer within"):
        await environment.exec(["true"], timeout_seconds=0.5)
    await environment.close()
    await supply.aclose()
    assert containers(engine, "test-frozen") == []


def test_reaper_takes_only_what_dead_owners_left(engine: DockerEngine) -> None:
    """Containers of a dead process go; those of a living one, of another machine, and the user's own stay."""
    dead = subprocess.check_output([sys.executable, "-c", "import os; print(os.getpid())"])
    me = Owner.current()
    owners = {
        "dead": Owner(me.boot, me.namespace, int(dead), 1),
        "reused": Owner(me.boot, me.namespace, me.pid, me.started + 1),
        "alive": me,
        "elsewhere": Owner("another-boot", me.namespace, int(dead), 1),
    }
    from branchwise.sandboxes.image import ensure_base_image

    image = ensure_base_image(engine, ("pytest",))

    def make(labels: dict[str, str]) -> str:
        number: str = engine.api.create_container(image, ["sleep", "600"], labels=labels)["Id"]
        return number

    made = {
        name: make({LABEL: "sandbox", RUN_LABEL: "test-reap", OWNER_LABEL: str(owner)})
        for name, owner in owners.items()
    }
    made["foreign"] = make({OWNER_LABEL: str(owners["dead"])})
    try:
        with contextlib.suppress(APIError):  # a run that starts meanwhile has taken it away already
            engine.api.start(made["reused"])
        engine.reap()
        left = {container["Id"] for container in engine.api.containers(all=True)}
        assert {name for name, number in made.items() if number in left} == {"alive", "elsewhere", "foreign"}
    finally:
        for number in made.values():
            engine.remove(number)


async def test_container_is_hardened(engine: DockerEngine, tmp_path: Path) -> None:
    """The engine's own record of a sandbox says what was asked for."""
    supply = await SMALL.start("test-hard", tmp_path)
    client = docker.from_env()
    attributes = client.containers.get(containers(engine, "test-hard")[0]["Id"]).attrs
    client.close()
    await supply.aclose()
    host = attributes["HostConfig"]
    assert host["NetworkMode"] == "none"
    assert host["CapDrop"] == ["ALL"]
    assert {name.removeprefix("CAP_") for name in host["CapAdd"]} == {"KILL", "SETFCAP", "SETGID", "SETUID"}
    assert host["ReadonlyRootfs"]
    assert host["AutoRemove"]
    assert not host["Privileged"]
    assert not host["Binds"]
    assert host["IpcMode"] == "private"
    assert host["Memory"] == host["MemorySwap"] == 256 << 20
    assert host["PidsLimit"] == 128
    assert host["NanoCpus"] == 1_000_000_000
    assert host["LogConfig"]["Type"] == "none"
    assert "no-new-privileges" in host["SecurityOpt"]
    assert any(option.startswith("seccomp={") for option in host["SecurityOpt"])
    assert "nr_inodes=" in host["Tmpfs"]["/workspace"]
    assert attributes["Config"]["StdinOnce"]


async def test_inodes_are_limited(tmp_path: Path) -> None:
    """A bomb of empty files fills its own work space and nothing else."""
    supply = await SMALL.model_copy(update={"inodes": 500}).start("test-inodes", tmp_path)
    environment = await supply.open()
    fill = "for number in range(10_000): open(str(number), 'w').close()"
    result = await environment.exec(["python3", "-c", fill])
    assert "No space left on device" in result.stderr
    assert 400 < len(await environment.list()) < 500
    await environment.close()
    again = await supply.open()
    assert await again.list() == []
    await again.close()
    await supply.aclose()


# --- images -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def make_image() -> Iterator[Any]:
    """Make small images; they are removed afterwards."""
    client = docker.from_env()
    made: list[str] = []

    def make(name: str, base: str | None, changes: list[str]) -> str:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("empty"))
        if base is None:
            client.api.import_image_from_data(
                archive.getvalue(), repository="branchwise-test/" + name, tag="1", changes=changes
            )
        else:
            dockerfile = "\n".join([f"FROM {base}", *changes])
            client.images.build(fileobj=io.BytesIO(dockerfile.encode()), tag=f"branchwise-test/{name}:1", rm=True)
        made.append(f"branchwise-test/{name}:1")
        return made[-1]

    yield make
    for tag in made:
        client.images.remove(tag, force=True)
    client.close()


async def test_own_image_by_name(engine: DockerEngine, make_image: Any, tmp_path: Path) -> None:
    """An image of the user's own serves as it is: its environment stays, its user, entry point and volumes do not matter."""
    from branchwise.sandboxes.image import ensure_base_image

    image = make_image(
        "own",
        ensure_base_image(engine, ("pytest",)),
        [
            "ENV COLOUR=green",
            "USER 12345",
            "VOLUME /data",
            'ENTRYPOINT ["false"]',
            "WORKDIR /workspace",
            "HEALTHCHECK CMD false",
        ],
    )
    supply = await SMALL.model_copy(update={"image": image}).start("test-own", tmp_path)
    first = await supply.open()
    result = await first.exec("echo $COLOUR; id -u; touch /data/left && touch file && ls /data")
    assert (result.stdout, result.stderr) == ("green\n65532\nleft\n", "")
    await first.close()
    second = await supply.open()
    assert (await second.exec("ls -A /data .")).stdout == ".:\n\n/data:\n"
    await second.close()
    await supply.aclose()


async def test_image_without_python_is_told(make_image: Any, tmp_path: Path) -> None:
    """An image in which the worker cannot run is refused in words, and nothing is left."""
    image = make_image("bare", None, ["ENV PATH=/bin"])
    with pytest.raises(SandboxStartFailed, match="has no 'python3', which the sandbox's worker needs"):
        await SMALL.model_copy(update={"image": image}).start("test-bare", tmp_path)
    engine = DockerEngine.connect()
    assert containers(engine, "test-bare") == []
    engine.close()


@pytest.mark.parametrize(
    ("update", "words"),
    [
        ({"image": "no-such/image:1"}, "has no image 'no-such/image:1'; bring it with 'docker pull"),
        ({"runtime": "no-such-runtime"}, "has no runtime 'no-such-runtime'"),
        ({"packages": ("no-such-package",)}, "'no-such-package' is to go into the sandbox image but is not installed"),
    ],
)
async def test_what_is_missing_is_told(update: dict[str, Any], words: str, tmp_path: Path) -> None:
    """One line says what is missing and what to do."""
    with pytest.raises(SandboxStartFailed, match=words) as error:
        await SMALL.model_copy(update=update).start("test-missing", tmp_path)
    assert "\n" not in str(error.value)


async def test_missing_engine_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no engine answers, the message names the socket that was tried and both ways out."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(SandboxStartFailed) as error:
        await Docker().start("test-none", tmp_path)
    message = str(error.value)
    assert f"{tmp_path}/none.sock (from DOCKER_HOST)" in message
    assert "scripts/docker-engine.sh" in message
    assert "bw.sandboxes.Local()" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"memory_mb": 128}, "files count as memory"),
        ({"cpus": 0}, "greater than 0"),
        ({"network": "host"}, "network='host' is neither 'none' nor an allow-list"),
        ({"network": "bridge"}, "lead to this machine and its neighbours"),
        ({"image": "x", "build": "."}, "both name an image"),
        ({"setup_files": ["x"]}, "there are none"),
        ({"secrets": {"TOKEN": "short"}}, "fewer than 8 characters"),
        ({"env": {"A=B": "x"}}, "cannot be the name of an environment variable"),
        ({"services": {"Data Base": Service(image="x")}}, "cannot be a host's name"),
        ({"services": {"db": Service(image="x")}, "runtime": "runsc"}, "do not work with it"),
        ({"imagee": "x"}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_settings_are_told(arguments: dict[str, Any], words: str) -> None:
    """Settings that cannot work are refused where they are written."""
    with pytest.raises(ValidationError, match=words):
        Docker(**arguments)


async def test_pool_follows_demand(engine: DockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening and closing in turn needs two containers at most; after a rush all but `max_idle` go."""
    monkeypatch.setattr("branchwise.sandboxes.pool._LINGER_SECONDS", 1.0)
    supply = await SMALL.start("test-pool", tmp_path)
    for _ in range(10):
        environment = await supply.open()
        await environment.close()
        assert len(containers(engine, "test-pool")) <= 2
    many = [await supply.open() for _ in range(4)]
    assert len(containers(engine, "test-pool")) >= 4
    for environment in many:
        await environment.close()
    deadline = time.monotonic() + 30
    while len(containers(engine, "test-pool")) > 1:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    await supply.aclose()


def test_engine_script_is_quick_and_clear(tmp_path: Path) -> None:
    """It does nothing where an engine answers; without root it says what to do; wrong arguments are refused."""
    script = Path(__file__).parents[2] / "scripts" / "docker-engine.sh"
    begun = time.monotonic()
    assert subprocess.run([script], check=False).returncode == 0
    assert time.monotonic() - begun < 5
    environment = {**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    copy = Path("/tmp") / f"docker-engine-{os.getpid()}.sh"
    copy.write_text(script.read_text())
    try:
        told = subprocess.run(["sh", copy], env=environment, user=65534, capture_output=True, text=True, check=False)
    finally:
        copy.unlink()
    assert told.returncode == 1
    assert "only root can start one" in told.stderr
    wrong = subprocess.run([script, "--nonsense"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "unknown argument '--nonsense'" in wrong.stderr
