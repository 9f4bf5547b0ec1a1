"""Test code that counts its asserts, ready to be run by a judge."""

from __future__ import annotations

import ast
import base64
import functools
import importlib.util
import marshal
from typing import Any


class _Counting(ast.NodeTransformer):
    """Has every `assert` say when it begins and when it holds."""

    def visit_Assert(self, node: ast.Assert) -> Any:
        begins, holds = (self.said(name, node) for name in ("__begins__", "__holds__"))
        return [begins, node, holds]

    def said(self, name: str, node: ast.Assert) -> ast.stmt:
        """Return the call of a counter, in the place of `node`."""
        call = ast.Call(ast.Name(name, ast.Load()), [ast.Constant(node.lineno)], [])
        return ast.fix_missing_locations(ast.copy_location(ast.Expr(call), node))


@functools.lru_cache(maxsize=256)
def counting(test: str) -> dict[str, str]:
    """Return a test's code that counts, compiled for Pythons of this version, and its source for others."""
    tree = _Counting().visit(ast.parse(test))
    code = base64.b64encode(marshal.dumps(compile(tree, "test.py", "exec"))).decode("ascii")
    return {"code": code, "magic": importlib.util.MAGIC_NUMBER.hex(), "counting": ast.unparse(tree)}
