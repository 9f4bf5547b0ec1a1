"""Programs for guests, made from modules of this package.

The modules named `guest_*` and `plain` run inside sandboxes, whose Python may be older than ours and has none of our
packages. A program is what is left of them without docstrings, annotations and imports of each other.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path

from ..core.types import Python

_HERE = Path(__file__).parent


_BEGINNING = """\
from __future__ import annotations
import sys
__name__ = "<branchwise>"
sys.modules["__main__"] = type(sys)("__main__")
sys.path[:] = [path for path in sys.path if path not in ("", ".")]
"""
"""What is judged finds another `__main__` than ours. Nothing in the work space is imported unless the program says so."""


def program(*names: str, args: tuple[str, ...] = ()) -> Python:
    """Return the modules of this package with the given names, in this order, as a program for a guest.

    The last one's `main()` is called at its end.

    Args:
        names: modules; each may use what those before it define.
        args: the program's arguments.
    """
    return Python(_text(*names), args, keep=True)


@functools.cache
def _text(*names: str) -> str:
    return _BEGINNING + _source(*names)


def _source(*names: str) -> str:
    body: list[ast.stmt] = []
    for name in names:
        body += _Bare().visit(ast.parse((_HERE / f"{name}.py").read_text("utf-8"))).body
    body += ast.parse("main()").body
    return ast.unparse(ast.fix_missing_locations(ast.Module(body, [])))


class _Bare(ast.NodeTransformer):
    """Takes away what a guest does not need or could not run."""

    def visit_Module(self, node: ast.Module) -> ast.Module:
        self.generic_visit(node)
        node.body = _without_words(node.body)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        self.generic_visit(node)
        node.body = _without_words(node.body) or [ast.Pass()]
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        node.returns = None
        node.body = _without_words(node.body) or [ast.Pass()]
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt | None:
        if node.value is None:
            return None
        return ast.Assign([node.target], node.value)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt | None:
        return None if node.level or node.module in {"__future__", "typing"} else node

    def visit_If(self, node: ast.If) -> ast.stmt | None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return None
        self.generic_visit(node)
        return node


def _without_words(body: list[ast.stmt]) -> list[ast.stmt]:
    return [s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
