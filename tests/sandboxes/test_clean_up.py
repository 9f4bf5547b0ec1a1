"""What is left behind, by whom, and who takes it away; what is somebody else's is not touched."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from branchwise.core.errors import SandboxError, SandboxLost, SandboxStartFailed
from branchwise.sandboxes import Docker
from branchwise.sandboxes.docker_engine import DockerEngine
from branchwise.sandboxes.image import REPOSITORY, ensure_base_image
from branchwise.sandboxes.inventory import EngineObject, objects, remove_object
from branchwise.sandboxes.owner import LABEL, OWNER_LABEL, RUN_LABEL, Owner

pytestmark = pytest.mark.docker

SMALL = Docker(memory_mb=256, workspace_mb=48, scratch_mb=16, max_idle=0)


@pytest.fixture
def engine() -> Iterator[DockerEngine]:
    """A connection to the engine."""
    connected = DockerEngine.connect()
    yield connected
    connected.close()


@pytest.fixture
def image(engine: DockerEngine) -> str:
    """The made image."""
    return ensure_base_image(engine, ("pytest",))


def dead() -> Owner:
    """Return a process that is gone."""
    number = int(subprocess.check_output([sys.executable, "-c", "import os; print(os.getpid())"]))
    me = Owner.current()
    return Owner(me.boot, me.namespace, number, 1)


def gone(engine: DockerEngine, run_id: str, seconds: float = 15.0) -> None:
    """Wait until no container of a run is left."""
    deadline = time.monotonic() + seconds
    while engine.containers(run_id):
        assert time.monotonic() < deadline, engine.containers(run_id)
        time.sleep(0.05)


def ours(engine: DockerEngine, run_id: str) -> dict[str, EngineObject]:
    """Return what is listed of a run, by name."""
    return {thing.name: thing for thing in objects(engine) if thing.run == run_id}


def test_everything_of_ours_is_listed_and_nothing_else(engine: DockerEngine, image: str) -> None:
    """Containers in every role, networks, volumes, images by our names; not what a user has made of them."""
    run, api = "test-stock", engine.api
    living, left = engine.labels("sandbox", run), {LABEL: "service", RUN_LABEL: run, OWNER_LABEL: str(dead())}
    # Of another machine: a run that starts meanwhile would take away what a dead process of this one has left.
    far = {**left, OWNER_LABEL: str(dataclasses.replace(dead(), boot="another"))}
    made = {
        "living": api.create_container(image, ["sleep", "600"], name="bw-living", labels=living)["Id"],
        "left": api.create_container(image, ["sleep", "600"], name="bw-left", labels=far)["Id"],
        "users": api.create_container(image, ["sleep", "600"], name="bw-users")["Id"],
    }
    api.start(made["living"])
    network = api.create_network("bw-network", internal=True, labels=left)["Id"]
    api.create_volume("bw-volume", labels=left)
    api.create_volume("bw-users-volume")
    api.commit(made["users"], "users-own/image", "1")
    try:
        found = ours(engine, run)
        assert found.keys() == {"bw-living", "bw-left", "bw-network", "bw-volume"}
        assert (found["bw-living"].owner_alive, found["bw-living"].in_use) == (True, True)
        assert (found["bw-left"].owner_alive, found["bw-left"].in_use) == (None, False)
        assert (found["bw-network"].owner_alive, found["bw-network"].in_use) == (False, False)
        assert abs(found["bw-left"].created - time.time()) < 60
        assert abs(found["bw-network"].created - time.time()) < 60
        listed = {thing.name: thing for thing in objects(engine)}
        assert listed[image].kind == "image"
        assert (listed[image].size_bytes or 0) > 1_000_000
        assert listed[image].in_use
        assert not {"users-own/image:1", "bw-users", "bw-users-volume"} & listed.keys()
        with pytest.raises(SandboxError, match="still alive; stop the run first"):
            remove_object(engine, found["bw-living"])
        foreign = EngineObject("container", made["users"], "bw-users", run, 0.0, None, owner_alive=False, in_use=False)
        with pytest.raises(SandboxError, match="does not carry our label"):
            remove_object(engine, foreign)
        users_image = EngineObject(
            "volume", "bw-users-volume", "bw-users-volume", run, 0.0, None, owner_alive=False, in_use=False
        )
        with pytest.raises(SandboxError, match="does not carry our label"):
            remove_object(engine, users_image)
        with pytest.raises(SandboxError, match="is in use"):
            remove_object(engine, listed[image])
        for name in ("bw-left", "bw-network", "bw-volume", "bw-left"):
            remove_object(engine, found[name])
        assert ours(engine, run).keys() == {"bw-living"}
    finally:
        for number in made.values():
            engine.remove(number)
        for remove, name in (
            (api.remove_network, network),
            (api.remove_volume, "bw-volume"),
            (api.remove_volume, "bw-users-volume"),
        ):
            with contextlib.suppress(Exception):
                remove(name)
        api.remove_image("users-own/image:1", force=True)


def test_reaper_knows_every_role(engine: DockerEngine, image: str) -> None:
    """Holders, services, browsers and set-up containers of dead processes go too; a container made from our image stays."""
    owner = str(dead())
    made = {
        role: engine.api.create_container(
            image, ["sleep", "600"], labels={LABEL: role, RUN_LABEL: "test-roles", OWNER_LABEL: owner}
        )["Id"]
        for role in ("sandbox", "holder", "service", "setup", "browser", "image", "else")
    }
    try:
        engine.reap()
        left = {container["Id"] for container in engine.api.containers(all=True)}
        assert {role for role, number in made.items() if number in left} == {"image", "else"}
    finally:
        for number in made.values():
            engine.remove(number)


def test_tags_of_the_user_stay(engine: DockerEngine, image: str) -> None:
    """Where the user has called one of our images otherwise too, removing ours takes our name off and nothing else."""
    engine.api.tag(image, REPOSITORY, "test-tag")
    engine.api.tag(image, "users-own/name", "1")
    thing = next(thing for thing in objects(engine) if thing.kind == "image" and thing.name.startswith(REPOSITORY))
    ours_only = EngineObject(
        "image", thing.id, f"{REPOSITORY}:test-tag", None, 0.0, None, owner_alive=None, in_use=False
    )
    remove_object(engine, ours_only)
    remove_object(engine, ours_only)
    assert engine.has_image("users-own/name:1")
    assert not engine.has_image(f"{REPOSITORY}:test-tag")
    engine.api.remove_image("users-own/name:1")
    assert engine.has_image(image)


SETTING_UP = """
import asyncio, pathlib, sys
from branchwise.sandboxes import Docker
spec = Docker(memory_mb=256, workspace_mb=48, scratch_mb=16, setup=("(setsid sleep 600 &); sleep 600",))
asyncio.run(spec.start(sys.argv[1], pathlib.Path(sys.argv[2])))
"""


async def test_killing_the_client_during_set_up(engine: DockerEngine, tmp_path: Path) -> None:
    """After SIGKILL in the middle of a set-up command nothing runs on."""
    client = await asyncio.create_subprocess_exec(sys.executable, "-c", SETTING_UP, "test-setup-kill", str(tmp_path))
    deadline = time.monotonic() + 30
    while not any(container["State"] == "running" for container in engine.containers("test-setup-kill")):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    client.kill()
    await client.wait()
    gone(engine, "test-setup-kill")


BUILDING = """
import asyncio, pathlib, sys
from branchwise.sandboxes import Docker
spec = Docker(memory_mb=256, workspace_mb=48, scratch_mb=16, build=sys.argv[2])
asyncio.run(spec.start(sys.argv[1], pathlib.Path(sys.argv[2]) / "store"))
"""


async def test_killing_the_client_during_a_build(engine: DockerEngine, image: str, tmp_path: Path) -> None:
    """After SIGKILL in the middle of a build its step ends, and what it leaves is known as ours and can be removed."""
    (tmp_path / "Dockerfile").write_text(f"FROM {image}\nRUN echo {tmp_path}\nRUN sleep 601\n")
    client = await asyncio.create_subprocess_exec(sys.executable, "-c", BUILDING, "test-build-kill", str(tmp_path))

    def steps() -> list[str]:
        return [c["Id"] for c in engine.api.containers(filters={"label": f"{LABEL}=image"}) if "601" in c["Command"]]

    deadline = time.monotonic() + 30
    while not steps():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    client.kill()
    await client.wait()
    deadline = time.monotonic() + 20
    while steps():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    left = [thing for thing in objects(engine) if thing.kind == "image" and ":" not in thing.name]
    for thing in left:
        remove_object(engine, thing)
    assert not [thing for thing in objects(engine) if thing.kind == "image" and ":" not in thing.name]


class Relay:
    """A socket before the engine's, whose connections can be cut."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self.server: asyncio.Server | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        far_reader, far_writer = await asyncio.open_unix_connection("/var/run/docker.sock")
        self.writers += [writer, far_writer]

        async def pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            sink.close()

        await asyncio.gather(pour(reader, far_writer), pour(far_reader, writer))

    def cut(self) -> None:
        """Close everything at once, and take nothing more."""
        assert self.server is not None
        self.server.close()
        for writer in self.writers:
            writer.transport.abort()


@pytest.fixture
async def relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Relay]:
    """The relay, which the framework takes for the engine."""
    made = Relay()
    made.server = await asyncio.start_unix_server(made.serve, str(tmp_path / "engine.sock"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine.sock")
    yield made
    made.cut()


async def test_lost_engine_leaves_nothing(engine: DockerEngine, relay: Relay, tmp_path: Path) -> None:
    """When the connection to the engine breaks the containers end by themselves, and callers learn that they are lost."""
    supply = await SMALL.start("test-cut", tmp_path / "store")
    environment = await supply.open()
    running = asyncio.create_task(environment.exec("(setsid sleep 600 &) ; while true; do :; done"))
    await asyncio.sleep(0.3)
    assert engine.containers("test-cut")
    relay.cut()
    with pytest.raises(SandboxLost):
        await running
    await asyncio.to_thread(gone, engine, "test-cut")
    await environment.close()
    await supply.aclose()


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("tcp://127.0.0.1:1", "correct DOCKER_HOST"),
        ("tcp://[::1]:1", "correct DOCKER_HOST"),
        ("ftp://x", "correct DOCKER_HOST"),
        ("unix:///no/such.sock", "scripts/docker-engine.sh"),
    ],
)
def test_engines_that_do_not_answer(host: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of address gets a message of its own, soon."""
    monkeypatch.setenv("DOCKER_HOST", host)
    begun = time.monotonic()
    with pytest.raises(SandboxStartFailed, match=words):
        DockerEngine.connect()
    assert time.monotonic() - begun < 6


def test_tls_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates that are not there are told, with the variables that name them."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:2376")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    with pytest.raises(SandboxStartFailed, match="DOCKER_TLS_VERIFY, DOCKER_CERT_PATH"):
        DockerEngine.connect()


def test_engine_that_one_may_not_use_is_told(tmp_path: Path) -> None:
    """Without the right to its socket the message says how to get it."""
    program = (
        "import os\nfrom branchwise.sandboxes.docker_engine import DockerEngine\nos.setgroups([]); os.setuid(65534)\n"
        "try: DockerEngine.connect()\nexcept Exception as error: print(type(error).__name__, error)"
    )
    if Path("/var/run/docker.sock").stat().st_mode & 0o006:
        pytest.skip("everybody may use this engine")
    told = subprocess.check_output([sys.executable, "-c", program], text=True, cwd=tmp_path)
    assert told.startswith("SandboxStartFailed no Docker engine answers")
    assert "usermod -aG docker" in told
