"""Tools for the files of the sandbox's work space."""

from __future__ import annotations

import difflib
from typing import Annotated

from pydantic import Field

from ..core.errors import ToolError
from ..core.protocols import Context
from .tool import Toolset, tool

EXISTING_FILE = "existing-file"
"""Format, in a tool's schema, of an argument that names a file of the task; a form that is enforced offers those files only."""

ExistingFile = Annotated[str, Field(json_schema_extra={"format": EXISTING_FILE})]


@tool(name="list", effects="pure")
async def list_files(ctx: Context) -> str:
    """List the files of the work space."""
    return "\n".join(await ctx.sandbox.list()) or "[no files]"


@tool(name="read", effects="pure")
async def read_file(ctx: Context, path: ExistingFile, first_line: int = 1, last_line: int | None = None) -> str:
    """Read a file, or some of its lines.

    Args:
        path: path relative to the work space
        first_line: first line to show, from 1
        last_line: last line to show; the end of the file unless given
    """
    lines = (await read_text(ctx, path)).splitlines()
    return "\n".join(lines[max(0, first_line - 1) : last_line])


@tool(name="write", effects="sandbox")
async def write_file(ctx: Context, path: str, content: str) -> str:
    """Write a whole file; an existing one is replaced.

    Args:
        path: path relative to the work space
        content: the file's new content
    """
    await ctx.sandbox.write(path, content.encode())
    return f"wrote {path} ({len(content.splitlines())} lines)"


@tool(name="replace", effects="sandbox")
async def replace_text(ctx: Context, path: ExistingFile, old: str, new: str) -> str:
    """Replace a piece of a file's text by another. The piece must occur exactly once.

    Args:
        path: path relative to the work space
        old: the text to replace, as it stands in the file, with its indentation
        new: the text to put in its place
    """
    text = await read_text(ctx, path)
    if not old:
        raise ToolError("old is empty; copy the lines to replace from the file")
    found = text.count(old)
    if found != 1:
        raise ToolError(_miss(path, text, old) if found == 0 else _many(path, found))
    if old == new:
        raise ToolError("old and new are the same; nothing would change")
    await ctx.sandbox.write(path, text.replace(old, new).encode())
    return f"replaced in {path}:\n" + "\n".join(
        line
        for line in difflib.unified_diff(text.splitlines(), text.replace(old, new).splitlines(), lineterm="", n=1)
        if not line.startswith(("---", "+++"))
    )


async def read_text(ctx: Context, path: str) -> str:
    """Return a file's text.

    Raises:
        ToolError: there is no such file, it is a folder or no text; the message says what there is.
    """
    try:
        return (await ctx.sandbox.read(path)).decode()
    except FileNotFoundError as error:
        files = await ctx.sandbox.list()
        close = difflib.get_close_matches(path, files, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(files[:20]) or 'no files'}"
        raise ToolError(f"there is no file {path}; {hint}") from error
    except IsADirectoryError as error:
        raise ToolError(f"{path} is a folder; `list` shows the files") from error
    except UnicodeDecodeError as error:
        raise ToolError(f"{path} is no UTF-8 text") from error


def _many(path: str, found: int) -> str:
    return f"old occurs {found} times in {path}; add lines around it until it is unique"


def _miss(path: str, text: str, old: str) -> str:
    first = old.strip().splitlines()[0] if old.strip() else old
    close = difflib.get_close_matches(first.strip(), [line.strip() for line in text.splitlines()], n=1, cutoff=0.5)
    hint = f" The nearest line is: {close[0]}" if close else ""
    return f"old does not occur in {path}; copy it exactly, with its indentation.{hint}"


files = Toolset("files", (list_files, read_file, write_file, replace_text))
"""Read, write, list and change the files of the sandbox."""
