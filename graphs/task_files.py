"""What a model is first shown of its sandbox: the task's files that are text, or a page."""

from __future__ import annotations

from pathlib import Path

from ..agents.agent import Agent
from ..core.protocols import Sandboxes, Shows
from ..core.types import Task
from ..sandboxes.archive import read_archive
from ..sandboxes.host_files import digest, scan

_EXPLAINED_BYTES = 1 << 28
"""Files that `explain` looks at, at most."""


def files_of(task: Task) -> Path | None:
    """Return the folder or archive that a task's files come from."""
    return None if task.files is None else Path(task.files).expanduser()


async def texts(sandboxes: Sandboxes | None, root_ref: str | None, agent: Agent) -> dict[str, str]:
    """The task's files that are text, as the snapshot has them."""
    if sandboxes is None or root_ref is None or agent.context == "none":
        return {}
    environment = await sandboxes.open(root_ref)
    try:
        contents = {path: await environment.read(path) for path in await environment.list()}
    finally:
        await environment.close()
    return {path: text for path, content in contents.items() if (text := _text(content)) is not None}


async def first_look(sandboxes: Sandboxes | None, root_ref: str | None) -> str:
    """What the sandbox shows before the first step; nothing where it holds files only."""
    return await sandboxes.first_look(root_ref) if isinstance(sandboxes, Shows) else ""


def host_texts(source: Path) -> dict[str, str]:
    """The files of a folder or archive of the host that are text, as a sandbox would get them."""
    contents: dict[str, bytes] = {}

    def keep(content: bytes) -> str:
        name = digest(content)
        contents[name] = content
        return name

    read = read_archive if source.is_file() else scan
    entries = sorted(read(source, limit_bytes=_EXPLAINED_BYTES, keep=keep).items())
    found = {path: _text(contents[entry.content]) for path, entry in entries if entry.kind == "f"}
    return {path: text for path, text in found.items() if text is not None}


def _text(content: bytes) -> str | None:
    try:
        return content.decode() if b"\0" not in content else None
    except UnicodeDecodeError:
        return None
