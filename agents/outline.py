"""Outlines of Python files: signatures and docstrings instead of code, and what of them a text is about."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Mapping

Function = ast.FunctionDef | ast.AsyncFunctionDef


def outline(source: str) -> str:
    """Return `source` with the body of every function replaced by its docstring and `...`; the rest stays.

    Shows a model what there is at a fraction of the tokens. It also keeps a small model, which tends to copy code that it
    sees, from copying a bug.

    Returns:
        The source itself where it is no valid Python.
    """
    try:
        module = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return source
    for node in ast.walk(module):
        if isinstance(node, Function):
            documented = ast.get_docstring(node, clean=False) is not None
            node.body = [*node.body[:documented], ast.Expr(ast.Constant(...))]
    return ast.unparse(module)


def mentioned(files: Mapping[str, str], text: str) -> list[tuple[str, str]]:
    """Return the functions and methods of Python files whose names occur in `text`, the most frequent first.

    A small model points at what it reads first rather than at what the failing tests call; this is what they call.

    Returns:
        (path, name) of each.
    """
    words = Counter(re.findall(r"\b[A-Za-z_]\w*\b", text))
    found = [(path, name) for path, source in sorted(files.items()) if path.endswith(".py") for name in _names(source)]
    known = [(words[name.rpartition(".")[2]], path, name) for path, name in found]
    return [(path, name) for count, path, name in sorted(known, key=lambda row: -row[0]) if count]


def _names(source: str) -> list[str]:
    try:
        module = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    names: list[str] = []
    for node in module.body:
        if isinstance(node, Function):
            names.append(node.name)
        elif isinstance(node, ast.ClassDef):
            names += [f"{node.name}.{child.name}" for child in node.body if isinstance(child, Function)]
    return names
