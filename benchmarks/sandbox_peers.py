"""What other sandboxes cost on the same image: llm-sandbox, SWE-ReX, and what the Docker engine offers by itself.

The peers live in an environment of their own, which is made on request and never touches this one:

    python benchmarks/sandbox_peers.py --install
    python benchmarks/sandbox_peers.py [--json] [--count 100]

For each: the median time of a small Python program in a sandbox that is there, the start of a sandbox, whether a loop that
runs out of time is stopped, the end of a sandbox, and how many containers are left ten seconds after a `kill -9` of the
process that made one. Of the engine: `docker exec` through docker-py with the processor time that it costs, and
`docker commit` with a start from the new image, as a fork of a container.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import docker
import psutil
from platformdirs import user_cache_path
from rich.console import Console
from rich.table import Table

from branchwise.sandboxes.docker_engine import DockerEngine
from branchwise.sandboxes.image import ensure_base_image

PEERS = {"llm-sandbox": "llm-sandbox[docker]==0.3.46", "swe-rex": "swe-rex==1.4.0"}
EXTRAS = ("aiohttp>=3.13,<4",)
"""What SWE-ReX imports without saying so."""
INSTALL = "python benchmarks/sandbox_peers.py --install"
PROGRAM = "print(6 * 7)"
KILLED_SECONDS = 10.0
_ENGINE = ("dockerd", "containerd", "containerd-shim", "containerd-shim-runc-v2")
_INSIDE = Path(__file__).with_name("peers_inside.py")
_MEASURE_SECONDS = 300
_OPEN_SECONDS = 60


def home() -> Path:
    """Return the folder of the peers' environment."""
    return user_cache_path("branchwise") / "peers"


def installed(peer: str) -> bool:
    """Whether a peer's package is in the peers' environment."""
    return any(home().glob(f"lib/python*/site-packages/{peer.replace('-', '_')}-*.dist-info"))


def install() -> None:
    """Make the peers' environment, with the Python that the image has, and the folder that SWE-ReX's container mounts."""
    subprocess.run([sys.executable, "-m", "venv", str(home())], check=True)
    subprocess.run([str(home() / "bin" / "pip"), "install", "-q", *PEERS.values(), *EXTRAS], check=True)
    mounted = home() / "mounted"
    (mounted / "bin").mkdir(parents=True, exist_ok=True)
    program = mounted / "bin" / "swerex-remote"
    program.write_text("#!/usr/bin/env python3\nfrom swerex.server import main\n\nmain()\n", encoding="utf-8")
    program.chmod(0o755)
    packages = next(home().glob("lib/python*/site-packages"))
    shutil.copytree(packages, mounted / "site", dirs_exist_ok=True)
    (mounted / "lib").mkdir(exist_ok=True)
    for library in packages.rglob("*.so"):
        told = subprocess.run(["ldd", str(library)], capture_output=True, text=True, check=False).stdout
        for needed in re.findall(r"=> (/\S+)", told):
            shutil.copy(needed, mounted / "lib")


async def measure_peer(peer: str, image: str, count: int) -> dict[str, Any] | None:
    """Return a peer's figures; None where it is not installed."""
    if not installed(peer):
        return None
    process = await _start(peer, image, count)
    try:
        told, trouble = await asyncio.wait_for(process.communicate(), _MEASURE_SECONDS)
    except TimeoutError:
        process.kill()
        return {"error": f"nothing within {_MEASURE_SECONDS} s"}
    if process.returncode:
        return {"error": trouble.decode(errors="replace").strip().splitlines()[-1:]}
    figures: dict[str, Any] = json.loads(told.splitlines()[-1])
    return figures | {"left_after_kill": await _left_after_kill(peer, image)}


async def _start(peer: str, image: str, count: int) -> asyncio.subprocess.Process:
    command = [str(home() / "bin" / "python"), str(_INSIDE), peer, image, str(count), str(home() / "mounted")]
    return await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


async def _left_after_kill(peer: str, image: str) -> int:
    """Kill a process that has a sandbox; return how many containers it leaves, and remove them."""
    client = docker.from_env()
    api: Any = client.api
    before = {item["Id"] for item in api.containers(all=True, filters={"ancestor": image})}
    process = await _start(peer, image, 0)
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.readline(), _OPEN_SECONDS)
    found = {item["Id"]: item for item in api.containers(all=True, filters={"ancestor": image})}
    # Other programs may use the image at the same time; theirs have our label.
    own = {number for number, item in found.items() if number not in before and "branchwise.run" not in item["Labels"]}
    process.kill()
    await process.communicate()
    await asyncio.sleep(KILLED_SECONDS)
    left = own & {item["Id"] for item in api.containers(all=True)}
    for number in left:
        api.remove_container(number, force=True)
    client.close()
    return len(left)


def engine_cpu_seconds() -> dict[int, float]:
    """Return the processor time of the engine's processes and of this one by process, their ended children included."""
    found: dict[int, float] = {}
    for process in [*psutil.process_iter(["name"]), psutil.Process(os.getpid())]:
        try:
            if process.pid == os.getpid() or process.name() in _ENGINE:
                found[process.pid] = sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return found


def spent_seconds(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    """Return the processor time that processes have used in between; those that have ended meanwhile are left out."""
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())


def docker_exec(image: str, count: int) -> dict[str, float]:
    """Return the median time of a small program by docker-py's exec, and the processor time that each costs in all."""
    client = docker.from_env()
    api: Any = client.api
    number = api.create_container(image, ["sleep", "600"], network_disabled=True)["Id"]
    try:
        api.start(number)
        container: Any = client.containers.get(number)
        times: list[float] = []
        before = engine_cpu_seconds()
        for _ in range(count):
            begun = time.perf_counter()
            told = container.exec_run(["python3", "-c", PROGRAM])
            times.append(time.perf_counter() - begun)
            assert told.output == b"42\n", told
        cpu_seconds = spent_seconds(before, engine_cpu_seconds())
    finally:
        api.remove_container(number, force=True)
        client.close()
    return {"exec_ms": round(statistics.median(times) * 1000, 2), "cpu_ms": round(cpu_seconds / count * 1000, 1)}


def commit_and_start(image: str, files: int, total_bytes: int, count: int = 5) -> float:
    """Return the median milliseconds of `docker commit` and a start from the new image, a fork as the engine offers it.

    Args:
        image: what the container is made of.
        files: how many files its own layer holds.
        total_bytes: how many bytes these hold together.
        count: how many forks are timed.
    """
    client = docker.from_env()
    api: Any = client.api
    origin = api.create_container(image, ["sleep", "600"], network_disabled=True)["Id"]
    made: list[str] = [origin]
    images: list[str] = []
    times: list[float] = []
    try:
        api.start(origin)
        api.put_archive(origin, "/", _tree(files, total_bytes))
        for _ in range(count):
            begun = time.perf_counter()
            images.append(api.commit(origin)["Id"])
            made.append(api.create_container(images[-1], ["sleep", "600"], network_disabled=True)["Id"])
            api.start(made[-1])
            times.append(time.perf_counter() - begun)
    finally:
        for number in made:
            api.remove_container(number, force=True)
        for number in images:
            api.remove_image(number, force=True)
        client.close()
    return round(statistics.median(times) * 1000, 1)


def _tree(files: int, total_bytes: int) -> bytes:
    archive = io.BytesIO()
    content = os.urandom(total_bytes // files)
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for number in range(files):
            entry = tarfile.TarInfo(f"forked/{number % 50}/{number}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


async def measure(image: str, count: int = 100) -> dict[str, dict[str, Any] | None]:
    """Return the figures of every peer; None for one that is not installed."""
    return {peer: await measure_peer(peer, image, count) for peer in PEERS}


def with_image(work: Callable[[str], Any]) -> Any:
    """Call `work` with the name of the image that sandboxes have by default."""
    engine = DockerEngine.connect()
    try:
        image = ensure_base_image(engine, ("pytest",))
    finally:
        engine.close()
    return work(image)


def main() -> None:
    """Install, or measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", action="store_true", help="make the peers' own environment")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--count", type=int, default=100, help="executions that are timed")
    given = parser.parse_args()
    if given.install:
        install()
        return
    figures = with_image(
        lambda image: {
            **asyncio.run(measure(image, given.count)),
            "docker exec": docker_exec(image, given.count),
            "docker commit + start": {
                "fork_5mb_ms": commit_and_start(image, 500, 5 << 20),
                "fork_100mb_ms": commit_and_start(image, 2000, 100 << 20),
            },
        }
    )
    if given.json:
        print(json.dumps(figures))
        return
    table = Table("", "", title="other sandboxes, the same image")
    for name, values in figures.items():
        if values is None:
            table.add_row(name, f"not installed: {INSTALL}")
        else:
            table.add_row(name, "\n".join(f"{key}  {value}" for key, value in values.items()))
    Console().print(table)


if __name__ == "__main__":
    main()
