"""The code that a trajectory came to: a file of its state, or the code in its answer."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from ..core.errors import UsageError
from ..core.protocols import Candidate, Environment

ANSWER_FILE = "solution.py"

_BLOCK = re.compile(r"^```[ \t]*([\w+-]*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)


def code_of(answer: str) -> str:
    """Return the last Python block of an answer in Markdown, else its last block, else all of it."""
    blocks = [(language.lower(), code) for language, code in _BLOCK.findall(answer)]
    python = [code for language, code in blocks if language in {"python", "py", "python3"}]
    return python[-1] if python else blocks[-1][1] if blocks else answer


@asynccontextmanager
async def opened(candidate: Candidate, file: str | None) -> AsyncGenerator[tuple[Environment, str]]:
    """Open a fresh environment with the judged code; give it with the path of the code.

    Args:
        candidate: what is judged.
        file: path of the code in the node's state; None for the code in the answer, put into the task's own files.
    """
    if file is not None:
        async with candidate.open(candidate.node.env_ref) as environment:
            yield environment, file
        return
    async with candidate.open(candidate.origin_ref) as environment:
        await environment.write(ANSWER_FILE, code_of(candidate.answer or "").encode("utf-8", "replace"))
        yield environment, ANSWER_FILE


def check_file(owner: str, file: str | None) -> None:
    """Refuse a path that is no Python file of the work space.

    Raises:
        UsageError: it is none.
    """
    if file is not None and (not file.endswith(".py") or file.startswith("/") or ".." in file.split("/")):
        raise UsageError(f"{owner}(file={file!r}) must be a Python file in the work space, such as 'src/solution.py'")
