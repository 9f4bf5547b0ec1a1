"""What is the engineless sandbox's own, and the choice between the two kinds."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from pathlib import Path

import pytest

from branchwise.core.errors import SandboxLost, SandboxStartFailed
from branchwise.sandboxes import Auto, Docker, Local
from branchwise.sandboxes.companions import AccompaniedTransport
from branchwise.sandboxes.environment import WorkerSandboxes
from branchwise.sandboxes.local import PipeTransport

SMALL = Local(memory_mb=256, workspace_mb=48, scratch_mb=16, max_idle=1)


def workers(run_id: str) -> list[int]:
    """Return the processes of this machine that belong to a run's sandboxes."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"branchwise-run=%b\0" % run_id.encode() in command:
            found.append(int(folder.name))
    return found


def status_of(pid: int) -> str:
    """Return what the kernel says about a process."""
    return Path(f"/proc/{pid}/status").read_text()


async def test_missing_bubblewrap_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without bwrap there is no sandbox, and never plain execution instead."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxStartFailed, match="'apt-get install bubblewrap', or start a Docker engine"):
        await SMALL.start("test-none", tmp_path)


async def test_bubblewrap_that_may_not_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What bubblewrap says when it may not make namespaces reaches the user."""
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    for place in (tmp_path, *tmp_path.parents):
        if place.is_relative_to("/tmp/pytest-of-root"):
            place.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(SandboxStartFailed, match="setting up uid map: Permission denied"):
        await SMALL.start("test-may-not", tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="drops root's rights")
async def test_no_sandbox_runs_as_root(tmp_path: Path) -> None:
    """Seen from outside, bubblewrap and all in it belong to a user of their own, another for every sandbox."""
    supply = await SMALL.start("test-uid", tmp_path)
    environments = [await supply.open() for _ in range(2)]
    statuses = [status_of(pid) for pid in workers("test-uid")]
    uids = {int(line.split()[1]) for status in statuses for line in status.splitlines() if line.startswith("Uid:")}
    assert all(61184 <= uid < 65520 for uid in uids), uids
    assert len(uids) >= 2
    for environment in environments:
        await environment.close()
    await supply.aclose()
    assert workers("test-uid") == []


CLIENT = """
import asyncio, pathlib, sys
from branchwise.sandboxes import Local
async def main():
    supply = await Local(memory_mb=256, workspace_mb=48, scratch_mb=16).start(sys.argv[1], pathlib.Path(sys.argv[2]))
    environments = [await supply.open() for _ in range(2)]
    task = asyncio.create_task(environments[0].exec("(setsid sleep 600 &) ; while true; do :; done", timeout_seconds=600))
    await environments[1].exec(["true"])
    print("busy", flush=True)
    await task
asyncio.run(main())
"""


async def test_killing_the_client_leaves_no_process(tmp_path: Path) -> None:
    """After SIGKILL of the framework its sandboxes end by themselves, the busy ones too."""
    command = [sys.executable, "-c", CLIENT, "test-local-kill", str(tmp_path)]
    client = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert client.stdout is not None
    try:
        assert await client.stdout.readline() == b"busy\n"
        assert workers("test-local-kill")
    finally:
        client.kill()
        await client.wait()
    deadline = time.monotonic() + 10
    while left := workers("test-local-kill"):
        assert time.monotonic() < deadline, left
        await asyncio.sleep(0.05)


async def test_killed_worker_is_a_lost_sandbox(tmp_path: Path) -> None:
    """When the sandbox dies under a program the caller learns that the result is unknown."""
    supply = await SMALL.start("test-local-lost", tmp_path)
    environment = await supply.open()
    assert environment._space is not None
    running = asyncio.create_task(environment.exec(["sleep", "60"]))
    await asyncio.sleep(0.1)
    accompanied = environment._space.guest.channel.transport
    assert isinstance(accompanied, AccompaniedTransport)
    transport = accompanied._inner
    assert isinstance(transport, PipeTransport)
    transport._process.kill()
    with pytest.raises(SandboxLost, match="it ended"):
        await running
    await environment.close()
    await supply.aclose()


@pytest.mark.docker
async def test_auto_takes_docker_where_it_answers(tmp_path: Path) -> None:
    """With an engine, `Auto` is `Docker` with the same limits."""
    spec = Auto(memory_mb=256, workspace_mb=48, scratch_mb=16, max_idle=0)
    supply = await spec.start("test-auto", tmp_path)
    assert supply.isolation == Docker(**spec.model_dump(exclude={"or_unprotected"})).isolation
    await supply.aclose()


async def test_auto_says_so_where_there_is_no_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without an engine `Auto` is `Local`, and a warning says what that isolates and what not."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with caplog.at_level(logging.WARNING):
        supply = await Auto(memory_mb=256, workspace_mb=48, scratch_mb=16).start("test-auto-local", tmp_path)
    assert isinstance(supply, WorkerSandboxes)
    assert supply.isolation == SMALL.isolation
    assert "no Docker engine answers" in caplog.text
    assert "not attacks" in caplog.text
    environment = await supply.open()
    assert (await environment.exec(["echo", "works"])).stdout == "works\n"
    await environment.close()
    await supply.aclose()


async def test_auto_with_neither_kind_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no sandbox can run nothing runs; both reasons are told."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxStartFailed, match=r"no sandbox can run here.*none\.sock.*bubblewrap is not installed"):
        await Auto().start("test-neither", tmp_path)


async def test_auto_without_any_sandbox_when_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Only who says so gets work spaces without isolation, and reads that there is none."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setenv("PATH", str(tmp_path))
    supply = await Auto(or_unprotected=True).start("test-none", tmp_path / "store")
    assert supply.isolation.startswith("NONE: programs run as you")
    assert "may do anything that you may do" in caplog.text
    environment = await supply.open()
    assert (await environment.exec(["/bin/echo", "works"])).stdout == "works\n"
    await environment.close()
    await supply.aclose()
