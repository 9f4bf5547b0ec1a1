"""Sandboxes killed at random points: the same code that kills a thousand of them in the benchmarks, on a few."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kills.py"


@pytest.mark.parametrize(("kind", "sandboxes"), [pytest.param("docker", 16, marks=pytest.mark.docker), ("local", 20)])
async def test_nothing_is_left_after_kills(kind: str, sandboxes: int) -> None:
    """Framework, worker, container and connection die at random points; no container, process, mount or file stays."""
    killing = await asyncio.create_subprocess_exec(
        *(sys.executable, str(SCRIPT), "--kind", kind, "--sandboxes", str(sandboxes), "--seed", "11", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    told, trouble = await killing.communicate()
    assert told, trouble.decode()[-3000:]
    figures = json.loads(told)
    assert figures["killed"] >= sandboxes
    assert {name: value for name, value in figures.items() if name.startswith("left_") and value} == {}, (
        trouble.decode()
    )
    assert killing.returncode == 0
