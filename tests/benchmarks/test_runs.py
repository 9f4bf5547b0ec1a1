"""Many runs in one process, in little: what `make bench-runs` measures with a thousand."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path

import psutil
import pytest
import runs

from branchwise.core.errors import UsageError
from branchwise.graphs import LocalRunner, RunStore
from branchwise.graphs.open_files import FILES_PER_RUN, SPARE, wanted


def test_runs_at_once_hold_few_files(tmp_path: Path) -> None:
    """Each run comes to its end, and has no more files open meanwhile than room was made for."""
    figures = runs.measured_at_once(tmp_path, 20, 3)
    assert 0 < figures["files_per_run"] <= FILES_PER_RUN
    assert figures["super_steps"] > 3


@pytest.mark.parametrize("trouble", ["crashes", "hangs", "floods"])
def test_one_child_of_many_goes_wrong(trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others' results are there in time, and the budget adds up."""
    monkeypatch.setattr(runs, "CHILDREN", 6)
    monkeypatch.setattr(runs, "HANG_SECONDS", 1.0)
    figures = asyncio.run(runs.parent_of_many(LocalRunner(RunStore(tmp_path)), trouble))
    assert (figures["answered"], figures["said"], figures["adds_up"]) == (5, "5 answered", True)
    assert figures["seconds"] < 30
    expected = {"crashes": "out of order", "hangs": "seconds", "floods": "budget's"}
    assert expected[trouble] in figures["of_the_one"]


def test_nothing_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks, threads, files, sockets and processes are no more than before; every budget adds up."""
    monkeypatch.setenv("BRANCHWISE_HOME", str(tmp_path))
    figures = runs.measured_leaks(20, 3, 0)
    assert {name: count for name, count in figures["after"].items() if count > figures["before"][name]} == {}
    assert (figures["runs"], figures["wrong"]) == (20, 0)


def test_room_for_open_files() -> None:
    """The process's limit is raised where it is needed, as far as the system lets it; beyond that it is said."""
    assert wanted(3, 1024, 4096) == 1024
    assert wanted(1000, 1024, 1_000_000) == 2 * (SPARE + 1000 * FILES_PER_RUN)
    assert wanted(300, 1024, 2700) == 2700
    assert wanted(1000, 1024, -1) > 8000
    assert wanted(1000, -1, -1) == -1
    with pytest.raises(UsageError, match="1000 runs at once need some 8256 open files, and the system allows 4096"):
        wanted(1000, 1024, 4096)


def test_more_runs_than_the_limit_of_files_allows(tmp_path: Path) -> None:
    """Runs at once for which the process's limit is too low raise it, and come to their end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (psutil.Process().num_fds() + 40, hard))
    try:
        assert runs.measured_at_once(tmp_path, 20, 1)["runs"] == 20
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > SPARE
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
