"""The tools that run programs, in a real sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from branchwise.core.protocols import Context, Environment
from branchwise.core.types import Task
from branchwise.sandboxes import Auto
from branchwise.tools import python, session, shell

pytestmark = pytest.mark.docker


@pytest_asyncio.fixture
async def environment(tmp_path: Path) -> AsyncIterator[Environment]:
    """An environment with one file."""
    supply = await Auto(max_idle=0).start("test-tools", tmp_path)
    opened = await supply.open()
    await opened.write("numbers.txt", b"1\n2\n")
    yield opened
    await opened.close()
    await supply.aclose()


async def test_programs_see_the_work_space(environment: Environment) -> None:
    """A shell's line and a Python program work on the node's files, and fail as programs do."""
    context = Context(Task(prompt="count"), environment)
    assert "1 numbers.txt" not in await shell.run(context, {"command": "wc -l < numbers.txt; false"})
    assert "3" in await python.run(context, {"code": "print(sum(map(int, open('numbers.txt'))))"})
    failed = await python.run(context, {"code": "import sys\nsys.exit('not at all')"})
    assert "not at all" in failed
    assert "1" in failed


async def test_session_keeps_names(environment: Environment) -> None:
    """What one call of the tool defined, the next one finds."""
    context = Context(Task(prompt="count"), environment)
    await session.run(context, {"code": "numbers = [int(line) for line in open('numbers.txt')]"})
    assert "3" in await session.run(context, {"code": "sum(numbers)"})
