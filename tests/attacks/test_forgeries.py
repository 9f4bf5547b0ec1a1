"""Every forgery at every level that it is meant for, in real sandboxes."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import pytest_asyncio

from branchwise.sandboxes import Docker, Local


def _benchmark() -> ModuleType:
    """Load the module that arms and judges forgeries; it holds none of their code."""
    path = Path(__file__).parents[2] / "benchmarks" / "forgeries.py"
    spec = importlib.util.spec_from_file_location("branchwise_forgeries", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


forgeries = _benchmark()
CORPUS = forgeries.corpus()
STRICT = ["host-io", "split"]
KNOWN = {
    "always-equal",
    "emptied-before",
    "equal-items",
    "equal-list",
    "lying-class",
    "metaclass-equal",
    "mock-any",
    "read-the-callers",
    "read-the-tests",
    "taken-over-run",
    "targeted-patch",
}
"""What the in-process level does not claim to exclude; docs/verifiers.md has the same list."""


async def judged(spec: Docker | Local, folder: Path, levels: Sequence[str]) -> dict[str, Any]:
    """Return what came of all of them at some levels."""
    supply = await spec.start("test-forgeries", folder)
    try:
        found: dict[str, Any] = await forgeries.judge_all(supply, levels)
    finally:
        await supply.aclose()
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tallies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of all of them in Docker sandboxes."""
    return await judged(Docker(max_idle=4), tmp_path_factory.mktemp("store"), forgeries.LEVELS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local_tallies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of them without an engine, where nothing may be forged."""
    return await judged(Local(max_idle=4), tmp_path_factory.mktemp("store"), STRICT)


def test_the_corpus_is_whole() -> None:
    """There are enough forgeries of each kind, with names of their own and words on what they try."""
    assert len({forgery.name for forgery in CORPUS}) == len(CORPUS) >= 40
    assert all(forgery.tries and forgery.levels for forgery in CORPUS)
    for level in ("host-io", "split", "in-process"):
        assert sum(level in forgery.levels for forgery in CORPUS) >= 40
    assert {forgery.name for forgery in CORPUS if not forgery.excluded} == KNOWN


def test_nothing_of_the_corpus_runs_outside_a_sandbox() -> None:
    """Every file that may be run begins with the proof, which ends the program on this machine."""
    for forgery in CORPUS:
        for path, content in forgeries.armed(forgery.files).items():
            if path.endswith(".py") and not content.startswith(forgeries.LINK):
                assert content.startswith("import os as _os, socket as _socket\nif not (")
    proof = forgeries.armed({"x.py": "print('ran')\n"})["x.py"]
    ran = subprocess.run([sys.executable, "-c", proof], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", "not in a sandbox\n")
    marked = subprocess.run(
        [sys.executable, "-c", proof], capture_output=True, text=True, check=False, env={"BRANCHWISE_SANDBOX": "1"}
    )
    assert (marked.returncode, marked.stdout) == (1, "")


@pytest.mark.docker
@pytest.mark.parametrize("level", STRICT)
@pytest.mark.asyncio(loop_scope="module")
async def test_nothing_is_forged(tallies: dict[str, Any], level: str) -> None:
    """Where the expected values are not in the code's sandbox, no forgery is accepted."""
    assert tallies[level].forged == []
    assert tallies[level].tried == sum(level in forgery.levels for forgery in CORPUS)


@pytest.mark.parametrize("level", STRICT)
@pytest.mark.asyncio(loop_scope="module")
async def test_nothing_is_forged_without_an_engine(local_tallies: dict[str, Any], level: str) -> None:
    """Nor where there is no engine: integrity comes from what is in which sandbox."""
    assert local_tallies[level].forged == []
    assert local_tallies[level].tried == sum(level in forgery.levels for forgery in CORPUS)


@pytest.mark.docker
@pytest.mark.parametrize("name", [f.name for f in CORPUS if "in-process" in f.levels and f.excluded])
@pytest.mark.asyncio(loop_scope="module")
async def test_excluded_in_process(tallies: dict[str, Any], name: str) -> None:
    """What `Tests` claims to exclude it excludes."""
    assert name not in tallies["in-process"].forged


@pytest.mark.docker
@pytest.mark.asyncio(loop_scope="module")
async def test_what_stays_possible_in_process(tallies: dict[str, Any]) -> None:
    """The documented number of forgeries is the true one: no more succeed, and those that are named do."""
    assert set(tallies["in-process"].forged) <= KNOWN
    assert len(tallies["in-process"].forged) >= len(KNOWN) - 2
