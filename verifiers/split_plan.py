"""What a test's source says before it runs: its kind, what must happen in it, and what it will ask first."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..core.errors import UsageError
from .plain import NotPlainError, dump

Style = Literal["check", "tests", "script"]
Request = dict[str, Any]

_MOST_AHEAD = 200
_LAZY = (ast.BoolOp, ast.IfExp, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
"""Expressions whose parts may not be evaluated, or later, or more than once."""


@dataclass(frozen=True)
class Plan:
    """A test, as far as its source tells.

    `ahead` are the calls that it is bound to make first, with arguments that are written down in it: they need not wait until
    the judge makes them.
    """

    style: Style
    asserts: tuple[int, ...]
    """Lines of all its asserts."""
    bound: tuple[int, ...]
    """Lines of those that are reached in every run that succeeds."""
    tests: tuple[str, ...]
    """Names of the tests that it has at least."""
    ahead: tuple[Request, ...]
    whole: bool
    """Whether, as far as the source tells, these are all calls that it makes."""


def plan(test: str, entry: str | None, module: str) -> Plan:
    """Read a test.

    Args:
        test: its source.
        entry: name of the judged function, where the test expects to be given it.
        module: name under which the test imports the judged code.

    Raises:
        UsageError: it is no Python, or has neither asserts nor tests, or needs what a plain run does not give.
    """
    try:
        tree = ast.parse(test)
    except SyntaxError as error:
        raise UsageError(f"Split(test=...) is no Python: {error}") from error
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    tests = list(_tests(tree))
    style: Style = "check" if "check" in functions else "tests" if tests else "script"
    asserts = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    if not asserts and not tests:
        raise UsageError("Split(test=...) has no assert and no test, so it accepts everything; give it some")
    if style == "check" and entry is None:
        raise UsageError("Split: the test has check(candidate); say which function that is: entry='name'")
    for name, function in functions.items():
        if style == "tests" and name.startswith("test") and function.args.args:
            raise UsageError(f"Split: {name} takes arguments; tests with fixtures can be judged by Tests, not split")
    blocks = _blocks(tree, style)
    bound = [line for block in blocks for line in _bound(block)]
    ahead, whole = _ahead(tree, blocks, style, entry, module)
    return Plan(style, tuple(asserts), tuple(bound), tuple(tests), tuple(ahead), whole)


def _tests(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            yield node.name
        elif isinstance(node, ast.ClassDef) and any("TestCase" in ast.unparse(base) for base in node.bases):
            methods = [part.name for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)]
            yield from (f"{node.name}.{method}" for method in methods if method.startswith("test"))


def _blocks(tree: ast.Module, style: Style) -> list[Sequence[ast.stmt]]:
    """Return the bodies that are run, in their order."""
    prefix = {"check": "check", "tests": "test"}.get(style)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    run = [function for function in functions if prefix is not None and function.name.startswith(prefix)]
    return [tree.body, *(function.body for function in run if style == "tests" or function.name == "check")]


def _bound(block: Sequence[ast.stmt]) -> Iterator[int]:
    """Yield the lines of asserts that no condition can skip. A loop that never turns compares nothing, so it counts."""
    for statement in block:
        if isinstance(statement, ast.Assert):
            yield statement.lineno
        elif isinstance(statement, ast.For):
            yield from _bound(statement.body)
        elif isinstance(statement, ast.Return | ast.Break | ast.Continue):
            return


def _ahead(
    tree: ast.Module, blocks: list[Sequence[ast.stmt]], style: Style, entry: str | None, module: str
) -> tuple[list[Request], bool]:
    """Return the first requests of a run, up to the first that the source does not tell, and whether there is none such."""
    found: list[Request] = []
    names = {} if entry is None else {entry.rpartition(".")[2]: entry}
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module == module:
            for alias in statement.names:
                found.append({"op": "get", "on": "", "name": alias.name})
                names[alias.asname or alias.name] = alias.name
    for index, block in enumerate(blocks):
        known = names
        if style == "check" and index > 0:
            check = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "check")
            known = {**names, check.args.args[0].arg: entry or ""} if check.args.args else names
        for statement in block:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and index == 0:
                continue  # runs later, in a block of its own or when it is called
            calls = _calls(statement, known)
            if calls is None or len(found) + len(calls) > _MOST_AHEAD:
                return found, False
            found += calls
    return found, style != "tests" or not any(isinstance(node, ast.ClassDef) for node in tree.body)


def _calls(statement: ast.stmt, names: dict[str, str]) -> list[Request] | None:
    """Return the calls that a statement makes, in their order; None where that cannot be told."""
    whole: ast.AST = statement.test if isinstance(statement, ast.Assert) else statement
    if not any(isinstance(node, ast.Name) and node.id in names for node in ast.walk(whole)):
        # It may call a function of the test that makes calls; then the order is another, and the judge asks itself.
        return []
    if not isinstance(statement, ast.Assert | ast.Expr | ast.Assign):
        return None
    calls = _Calls(names)
    calls.visit(whole)
    return calls.found if calls.certain else None


class _Calls(ast.NodeVisitor):
    """Collects calls of the judged functions whose arguments are literals."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names
        self.found: list[Request] = []
        self.certain = True

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, _LAZY) or (isinstance(node, ast.Compare) and len(node.ops) > 1):
            self.certain = self.certain and not any(
                isinstance(inner, ast.Name) and inner.id in self.names for inner in ast.walk(node)
            )
            return
        super().visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if not (isinstance(node.func, ast.Name) and node.func.id in self.names):
            self.generic_visit(node)
            return
        try:
            args = [dump(ast.literal_eval(arg)) for arg in node.args]
            named = [(word.arg, dump(ast.literal_eval(word.value))) for word in node.keywords]
        except (ValueError, TypeError, MemoryError, RecursionError, NotPlainError):
            self.certain = False
            return
        kwargs = {name: value for name, value in named if name is not None}
        self.certain = self.certain and len(kwargs) == len(named)
        self.found.append({"op": "call", "on": self.names[node.func.id], "args": args, "kwargs": kwargs})

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in self.names:
            self.certain = False
