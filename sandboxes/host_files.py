"""Folders of the host: read into manifests, and written from them without ever leaving the folder."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from ..core.errors import UsageError
from .manifest import Entry, is_inside, link_stays_inside, printable

_log = logging.getLogger(__name__)

SKIPPED_FOLDERS = frozenset(
    {
        ".git", ".hg", ".svn", "__pycache__", ".venv", ".tox", ".nox", "node_modules",
        ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".ipynb_checkpoints",
    }
)  # fmt: skip
"""Never part of a task's files: history, environments and caches."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def scan(folder: Path, *, limit_bytes: int, keep: Callable[[bytes], str]) -> dict[str, Entry]:
    """Return the entries of a host folder; `keep` is given each file's content and returns its digest.

    Links are kept where they are relative and stay in the folder; others, and what is neither file nor folder, are left
    out with a warning. Modes are reduced to executable or not.

    Raises:
        UsageError: no such folder, something in it cannot be read, or it holds more than `limit_bytes`.
    """
    if not folder.is_dir():
        raise UsageError(f"{str(folder)!r} is not a folder; give the folder whose files the sandbox shall have")
    entries: dict[str, Entry] = {}
    total = 0
    try:
        for path, item in _walk(folder):
            if item is None:
                entries[path] = Entry("d", 0, 0, "")
            elif item.is_symlink():
                target = os.readlink(item.path)  # noqa: PTH115  # a Path would tidy the target up
                if link_stays_inside(path, target):
                    entries[path] = Entry("l", 0, 0, target)
                else:
                    _log.warning("%s: link to %r leaves the folder and is left out", item.path, target)
            else:
                status = item.stat(follow_symlinks=False)
                total += status.st_size
                if total > limit_bytes:
                    raise UsageError(_too_large(folder, limit_bytes))
                content = Path(item.path).read_bytes()
                mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
                entries[path] = Entry("f", mode, len(content), keep(content))
    except OSError as error:
        raise UsageError(f"cannot read the folder {str(folder)!r}: {error}") from error
    return entries


def _too_large(folder: Path, limit_bytes: int) -> str:
    return (
        f"the folder {str(folder)!r} holds more than the {limit_bytes >> 20} MiB of a sandbox's work space "
        f"(left out already: {', '.join(sorted(SKIPPED_FOLDERS))}); raise workspace_mb or give a smaller folder"
    )


def _walk(folder: Path) -> Iterator[tuple[str, os.DirEntry[str] | None]]:
    """Yield (path, item) of every file and link, and (path, None) of every empty folder."""
    pending = [""]
    while pending:
        inner = pending.pop()
        with os.scandir(folder / inner) as listing:
            items = sorted(listing, key=lambda item: item.name)
        kept = 0
        for item in items:
            path = os.path.join(inner, item.name)  # noqa: PTH118  # plain text is what a manifest holds
            if item.is_dir(follow_symlinks=False):
                if item.name in SKIPPED_FOLDERS or Path(item.path, "pyvenv.cfg").exists():
                    continue
                pending.append(path)
            elif item.is_symlink() or item.is_file(follow_symlinks=False):
                if item.name.endswith(".pyc"):
                    continue
                yield path, item
            else:
                _log.warning("%s: neither file, folder nor link; left out", item.path)
                continue
            kept += 1
        if not kept and inner:
            yield inner, None


def write_tree(folder: Path, changed: Mapping[str, bytes], deleted: Sequence[str] = ()) -> None:
    """Write a result's files into a folder of the host and remove those that are gone.

    Nothing is ever written or removed outside of `folder`: no link below it is followed, wherever it points. A file that
    exists keeps its mode; each is replaced atomically.

    Args:
        folder: created where it does not exist.
        changed: content by path relative to `folder`, such as `Result.files`.
        deleted: paths to remove, such as `Result.deleted`; those that are not there are passed over.

    Raises:
        UsageError: a path is absolute, has a `..`, or leads through a link. Nothing at all was written in the first two
            cases.
    """
    for path in (*changed, *deleted):
        if not is_inside(path):
            raise UsageError(f"{path!r} is not a path within a folder: it must be relative and without '..'")
    folder.mkdir(parents=True, exist_ok=True)
    for path in deleted:
        _within(folder, path, _remove, make=False)
    for path, content in changed.items():
        _within(folder, path, partial(_replace, content=content), make=True)


def write_entry(folder: Path, path: str, entry: Entry, content: bytes) -> None:
    """Write one entry of a snapshot below `folder`, by the rules of `write_tree`.

    Links that lead out of the folder are left out with a warning: guests can make them, and what they lead to there is
    not what they would lead to here.

    Raises:
        UsageError: the path leads through a link.
    """
    if entry.kind == "f":
        _within(folder, path, partial(_replace, content=content, mode=entry.mode), make=True)
    elif entry.kind == "d":
        _within(folder, f"{path}/.", _nothing, make=True)
    elif not link_stays_inside(path, entry.content):
        _log.warning("%s: link to %r leaves the folder and is left out", printable(path), printable(entry.content))
    else:
        _within(folder, path, lambda parent, name: os.symlink(entry.content, name, dir_fd=parent), make=True)


def _within(folder: Path, path: str, work: Callable[[int, str], None], *, make: bool) -> None:
    """Call `work` with a handle of the path's parent, reached folder by folder and never through a link."""
    *parents, name = path.split("/")
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for parent in parents:
            try:
                inner = os.open(parent, _FOLDER, dir_fd=handle)
            except FileNotFoundError:
                if not make:
                    return
                os.mkdir(parent, dir_fd=handle)
                inner = os.open(parent, _FOLDER, dir_fd=handle)
            except OSError as error:
                raise UsageError(f"{path!r}: {parent!r} is a link or a file where a folder is needed") from error
            os.close(handle)
            handle = inner
        work(handle, name)
    finally:
        os.close(handle)


def _nothing(_parent: int, _name: str) -> None:
    """Do nothing: the way there is all that was wanted."""


def _remove(parent: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return


def _replace(parent: int, name: str, content: bytes, mode: int | None = None) -> None:
    if mode is None:
        mode = 0o644
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                mode = stat.S_IMODE(status.st_mode)
        except FileNotFoundError:
            pass
    part = f".{name[:100]}.{secrets.token_hex(4)}.part"
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
        os.replace(part, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException:
        os.unlink(part, dir_fd=parent)
        raise


def digest(content: bytes) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
