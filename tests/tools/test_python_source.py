"""Changing Python source by definition."""

from __future__ import annotations

import textwrap

import pytest

from branchwise.core.errors import ToolError
from branchwise.tools.python_source import replace_definition

SOURCE = textwrap.dedent('''
    import os


    @cache
    def one():
        return 1


    class Box:
        """A box."""

        def size(self):
            def inner():
                return 2

            return inner()

        @property
        def name(self):
            return "box"


    last = one()
''').lstrip()


@pytest.mark.parametrize(
    ("name", "code", "gone", "there"),
    [
        ("one", "def one():\n    return 11", "@cache", "def one():\n    return 11\n\n\nclass Box"),
        ("one", "    @cache\n    def one():\n        return 11\n", "return 1\n", "@cache\ndef one():\n    return 11\n"),
        (
            "Box.size",
            "def size(self):\n    return 3",
            "inner",
            "    def size(self):\n        return 3\n\n    @property",
        ),
        ("size", "def size(self):\n\treturn 3", "inner", "    def size(self):\n        return 3\n"),
        (
            "name()",
            "@property\ndef name(self):\n    return 'b'",
            '"box"',
            "    @property\n    def name(self):\n        return 'b'\n",
        ),
        ("Box", "class Box:\n    pass", "size", 'class Box:\n    """A box."""\n    pass\n\n\nlast'),
    ],
)
def test_definitions_are_replaced_in_place(name: str, code: str, gone: str, there: str) -> None:
    """Functions, methods and classes, with their decorators, at any indentation; the rest of the file stays."""
    result = replace_definition(SOURCE, name, code)
    assert gone not in result
    assert there in result
    assert result.startswith("import os\n")
    assert result.endswith("last = one()\n")


def test_a_docstring_stays_where_the_new_code_has_none() -> None:
    """New code without a docstring keeps the old one, at its own indentation; its own goes before."""
    source = 'def f(x):\n    """Do it.\n\n    Well.\n    """\n    return x\n'
    assert replace_definition(source, "f", "def f(x):\n  # no\n  return 2") == (
        'def f(x):\n  # no\n  """Do it.\n\n  Well.\n  """\n  return 2\n'
    )
    assert '"""Other."""' in replace_definition(source, "f", 'def f(x):\n    """Other."""\n    return 2')
    assert "Do it" not in replace_definition(source, "f", "def f(x): return 2")


@pytest.mark.parametrize(
    ("name", "code", "told"),
    [
        ("two", "def two(): ...", "the file defines no two; it defines one, Box, Box.size, Box.name"),
        ("one", "return 1", "the new code is no valid Python|the new code defines nothing"),
        ("one", "x = 1", "the new code defines nothing"),
        ("one", "def one(:", "the new code is no valid Python"),
    ],
)
def test_what_cannot_be_done_is_said(name: str, code: str, told: str) -> None:
    """Unknown names and broken code are refused with a message for the model."""
    with pytest.raises(ToolError, match=told):
        replace_definition(SOURCE, name, code)


def test_a_name_that_is_defined_twice_must_be_said_in_full() -> None:
    """Two methods of the same name need their class; a broken file is said to be broken."""
    twice = "class A:\n    def f(self): ...\n\n\nclass B:\n    def f(self): ...\n"
    with pytest.raises(ToolError, match="2 times; say which: A, B, A.f, B.f"):
        replace_definition(twice, "f", "def f(self): ...")
    assert "return 1" in replace_definition(twice, "B.f", "def f(self):\n    return 1")
    with pytest.raises(ToolError, match="the file is no valid Python"):
        replace_definition("def (", "f", "def f(): ...")
