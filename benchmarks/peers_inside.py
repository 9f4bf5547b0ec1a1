"""One peer at work, measured in the peers' own environment: knows nothing of Branchwise, prints one JSON object.

python peers_inside.py llm-sandbox|swe-rex IMAGE COUNT [FOLDER]     measure
python peers_inside.py llm-sandbox|swe-rex IMAGE 0 [FOLDER]         open a sandbox, say so, and wait to be killed
"""

from __future__ import annotations

import asyncio
import json
import logging
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

PROGRAM = "print(6 * 7)"
LOOP = "while True: pass"
TIMEOUT_SECONDS = 1


def median_ms(seconds: list[float]) -> float:
    """Return the median in milliseconds."""
    return round(statistics.median(seconds) * 1000, 2)


def llm_sandbox(image: str, count: int) -> dict[str, float | bool]:
    """Use a session of llm-sandbox."""
    import docker
    from llm_sandbox import SandboxSession

    begun = time.perf_counter()
    session = SandboxSession(
        client=docker.from_env(),
        lang="python",
        image=image,
        keep_template=True,
        skip_environment_setup=True,
        runtime_configs={"command": "sh"},  # the image has no command of its own
    )
    session.open()
    opened = time.perf_counter() - begun
    print("open", flush=True)
    if not count:
        time.sleep(600)
    times: list[float] = []
    for _ in range(count):
        begun = time.perf_counter()
        told = session.run(PROGRAM)
        times.append(time.perf_counter() - begun)
        assert told.stdout == "42\n", told
    stopped = False
    begun = time.perf_counter()
    try:
        session.run(LOOP, timeout=TIMEOUT_SECONDS)
    except Exception:  # noqa: BLE001 - whatever it raises
        stopped = True
    late = time.perf_counter() - begun - TIMEOUT_SECONDS
    begun = time.perf_counter()
    try:
        session.close()
    except Exception:  # noqa: BLE001 - the time-out may have closed it
        stopped = True
    return {
        "start_ms": round(opened * 1000),
        "exec_ms": median_ms(times),
        "stops_loops": stopped,
        "stops_late_ms": round(late * 1000),
        "close_ms": round((time.perf_counter() - begun) * 1000),
    }


async def swe_rex(image: str, count: int, folder: str) -> dict[str, float | bool]:
    """Use a deployment of SWE-ReX; its server is mounted, for no image has it and no network brings it."""
    from swerex.deployment.docker import DockerDeployment
    from swerex.runtime.abstract import Command

    logging.disable(logging.CRITICAL)
    server = [
        "-v",
        f"{folder}:/peers:ro",
        "-e",
        "PYTHONPATH=/peers/site",
        "-e",
        "LD_LIBRARY_PATH=/peers/lib",
        "-e",
        "PATH=/peers/bin:/usr/local/bin:/usr/bin:/bin",
    ]
    begun = time.perf_counter()
    deployment = DockerDeployment(image=image, pull="never", docker_args=server, startup_timeout=60)
    await deployment.start()
    opened = time.perf_counter() - begun
    print("open", flush=True)
    if not count:
        await asyncio.sleep(600)

    async def run(code: str) -> str:
        told = await deployment.runtime.execute(Command(command=["python3", "-c", code], timeout=TIMEOUT_SECONDS))
        return told.stdout

    times = [await timed(lambda: run(PROGRAM)) for _ in range(count)]
    stopped, begun = False, time.perf_counter()
    try:
        await run(LOOP)
    except Exception:  # noqa: BLE001 - whatever it raises
        stopped = True
    late = time.perf_counter() - begun - TIMEOUT_SECONDS
    begun = time.perf_counter()
    await deployment.stop()
    return {
        "start_ms": round(opened * 1000),
        "exec_ms": median_ms(times),
        "stops_loops": stopped,
        "stops_late_ms": round(late * 1000),
        "close_ms": round((time.perf_counter() - begun) * 1000),
    }


async def timed(work: Callable[[], Awaitable[str]]) -> float:
    """Return the seconds that a run takes, whose answer must be right."""
    begun = time.perf_counter()
    told = await work()
    seconds = time.perf_counter() - begun
    assert told == "42\n", told
    return seconds


def main() -> None:
    """Measure one peer."""
    peer, image, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    figures = llm_sandbox(image, count) if peer == "llm-sandbox" else asyncio.run(swe_rex(image, count, sys.argv[4]))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
