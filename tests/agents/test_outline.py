"""Outlines of Python files, and what of them a text is about."""

from __future__ import annotations

import branchwise as bw
from branchwise.agents.forms import name_files
from branchwise.agents.outline import mentioned, outline

SOURCE = '''
LIMIT = 3


def first(x):
    """Return x."""
    secret = x
    return secret


class Box:
    size = 1

    def open(self):
        return self.size


async def last():
    return first(1)
'''


def test_an_outline_shows_signatures_and_docstrings() -> None:
    """Constants, signatures and docstrings stay, bodies go; what is no Python stays as it is."""
    text = outline(SOURCE)
    for part in (
        "LIMIT = 3",
        "def first(x):",
        '"""Return x."""',
        "class Box:",
        "size = 1",
        "def open(self):",
        "async def last",
    ):
        assert part in text
    assert "secret" not in text
    assert outline("def (") == "def ("


def test_mentioned_functions_come_by_frequency() -> None:
    """Functions and methods whose names are in the text, the most frequent first; whole words in Python files only."""
    files = {"b.py": SOURCE, "a.py": "def other(): ...\n", "broken.py": "def (", "notes.txt": "first"}
    told = "assert first(1) == last() + first(2)  # test_first box.open()"
    assert mentioned(files, told) == [("b.py", "first"), ("b.py", "Box.open"), ("b.py", "last")]
    assert mentioned(files, "nothing") == []


def test_file_arguments_admit_the_files_that_there_are() -> None:
    """A marked argument becomes a choice among the files, or loses its mark where none are known."""
    spec = name_files(bw.tools.rewrite.spec, ["a.py", "b.py"])
    assert spec.parameters["properties"]["path"]["enum"] == ["a.py", "b.py"]
    plain = name_files(bw.tools.rewrite.spec, [])
    assert "format" not in plain.parameters["properties"]["path"]
    assert "enum" not in plain.parameters["properties"]["path"]
