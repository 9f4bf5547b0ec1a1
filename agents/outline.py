"""Outlines of Python files: signatures and docstrings instead of code."""

from __future__ import annotations

import ast

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
