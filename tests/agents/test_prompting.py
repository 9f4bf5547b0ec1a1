"""The messages that a model sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import branchwise as bw

FILES = {"a.py": "A = 1\n", "notes.txt": "remember\n", "src/b.py": "B = 2\n", "src/deep/c.py": "C = 3\n"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A task's files."""
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def shown(context: Any, folder: Path) -> str:
    """The prompts of an agent with this setting."""
    agent = bw.Agent(name="a", model="embedded:m", context=context, sandbox=bw.sandboxes.Auto())
    return agent.explain("Look.", files=folder)


@pytest.mark.parametrize(
    ("context", "contents"),
    [
        ("none", set[str]()),
        ("list", set[str]()),
        ("files", set(FILES)),
        (["*.py"], {"a.py"}),
        (["*.py", "src/*.py"], {"a.py", "src/b.py"}),
        (["src/*/*"], {"src/deep/c.py"}),
    ],
)
def test_context_says_what_of_the_files_is_shown(context: Any, contents: set[str], folder: Path) -> None:
    """Nothing, names, everything, or what patterns match; a `*` stays within its folder."""
    text = shown(context, folder)
    assert {path for path, content in FILES.items() if content.strip() in text} == contents
    assert all(path in text for path in contents)
    assert ("notes.txt" in text) == (context in ("list", "files"))


def test_a_context_that_means_nothing_is_refused(folder: Path) -> None:
    """A pattern that was not put into a list would otherwise be taken letter by letter."""
    with pytest.raises(bw.UsageError, match="allowed are 'none', 'list', 'files' or patterns"):
        shown("*.py", folder)


def test_prompts_are_the_same_every_time(folder: Path) -> None:
    """Siblings and resumed runs send the same bytes, so the server's prefix cache pays."""
    assert shown("files", folder) == shown("files", folder)
