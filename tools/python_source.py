"""A tool that changes Python source by definition rather than by text: what small models manage best.

They fail to copy the text that is to be replaced, and put code that is one JSON string on one line; a list of lines they
get right.
"""

from __future__ import annotations

import ast
import textwrap

from ..core.errors import ToolError
from ..core.protocols import Context
from .tool import tool
from .workspace import ExistingFile, read_text

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@tool(name="rewrite", effects="sandbox")
async def rewrite(ctx: Context, path: ExistingFile, name: str, lines: list[str]) -> str:
    """Replace a function, method or class of a Python file by new code.

    Args:
        path: path of the file
        name: name of the function or class, or Class.method
        lines: the lines of its complete new definition, each with its indentation
    """
    text = await read_text(ctx, path)
    new = replace_definition(text, name, "\n".join(lines))
    if new == text:
        raise ToolError(f"the new code of {name} is the same as the old; change what is wrong")
    await ctx.sandbox.write(path, new.encode())
    return f"rewrote {name} in {path}"


def replace_definition(text: str, name: str, code: str) -> str:
    """Return `text` with the definition called `name` replaced by `code`.

    Decorators belong to a definition: they go where the new code does not repeat them. A docstring stays where the new code
    has none. Indentation is adapted.

    Raises:
        ToolError: there is no such definition, or old or new text is no valid Python.
    """
    old = _find(_parse(text, "the file"), name)
    fresh = textwrap.dedent(code.expandtabs(4)).strip("\n")
    defined = [node for node in _parse(fresh, "the new code").body if isinstance(node, Definition)]
    if not defined:
        raise ToolError(
            f"the new code defines nothing; write the whole definition of {name}, beginning with def or class"
        )
    lines = text.splitlines()
    fresh = _with_docstring(fresh, defined[0], old, lines)
    first = min([old.lineno, *(decorator.lineno for decorator in old.decorator_list)]) - 1
    assert old.end_lineno is not None
    new = textwrap.indent(fresh, " " * old.col_offset).splitlines()
    result = "\n".join([*lines[:first], *new, *lines[old.end_lineno :]]) + "\n"
    _parse(result, "the file with the new code")
    return result


def _with_docstring(fresh: str, new: Definition, old: Definition, lines: list[str]) -> str:
    """Return the new code with the old docstring where it has none of its own."""
    first = old.body[0]
    if ast.get_docstring(new) is not None or ast.get_docstring(old) is None or new.body[0].lineno == new.lineno:
        return fresh
    assert first.end_lineno is not None
    kept = textwrap.dedent("\n".join(lines[first.lineno - 1 : first.end_lineno]))
    if not kept.startswith(('"', "'", "r", "R")):
        return fresh  # it stands on the line of its `def`
    parts = fresh.splitlines()
    place = new.body[0].lineno - 1
    parts[place:place] = textwrap.indent(kept, " " * new.body[0].col_offset).splitlines()
    return "\n".join(parts)


def _parse(text: str, what: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise ToolError(f"{what} is no valid Python: {error}{line}") from error


def _find(module: ast.Module, name: str) -> Definition:
    found = _definitions(module)
    wanted = name.replace("()", "").strip()
    matches = [node for path, node in found if path == wanted] or [
        node for path, node in found if path.split(".")[-1] == wanted.split(".")[-1]
    ]
    known = ", ".join(path for path, _ in found) or "nothing"
    if not matches:
        raise ToolError(f"the file defines no {wanted}; it defines {known}")
    if len(matches) > 1:
        raise ToolError(f"the file defines {wanted} {len(matches)} times; say which: {known}")
    return matches[0]


def _definitions(module: ast.Module) -> list[tuple[str, Definition]]:
    """Return functions, classes and the methods of classes, by name; what is inside functions is theirs."""
    found: list[tuple[str, Definition]] = []
    pending: list[tuple[str, ast.AST]] = [("", module)]
    while pending:
        prefix, parent = pending.pop(0)
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, Definition):
                path = f"{prefix}{node.name}"
                found.append((path, node))
                if isinstance(node, ast.ClassDef):
                    pending.append((f"{path}.", node))
    return found
