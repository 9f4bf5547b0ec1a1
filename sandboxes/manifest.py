"""What a work space consists of: the manifest, whose hash is a snapshot's address."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, get_args

from ..core.errors import SandboxError

Kind = Literal["f", "l", "d"]
"""File, symbolic link, empty folder. Folders with something in them follow from the paths."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Entry(NamedTuple):
    """One line of a manifest."""

    kind: Kind
    mode: int
    """Permission bits of a file; 0 for the other kinds."""
    size_bytes: int
    """Of a file; 0 for the other kinds."""
    content: str
    """SHA-256 of a file's content, target of a link, empty for a folder."""


Manifest = Mapping[str, Entry]
"""Entries by path relative to the work space, sorted by path."""


def is_inside(path: str) -> bool:
    """Whether `path` is relative, in normal form and cannot leave the folder it is relative to."""
    parts = path.split("/")
    return "\0" not in path and all(part not in {"", ".", ".."} for part in parts)


def link_stays_inside(path: str, target: str) -> bool:
    """Whether a link at `path` leads nowhere but into the tree, whatever links its way takes.

    It must be relative and go up only at its beginning and not beyond the top. Then, where all links of a tree are such,
    no way through any number of them leads out: `a/../..` would, by way of a link `a`.
    """
    parts = target.split("/")
    ups = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    return not target.startswith("/") and "\0" not in target and ups <= path.count("/") and ".." not in parts[ups:]


def parse(rows: Any) -> Manifest:
    """Return the manifest that `rows`, lists of [kind, path, mode, size, content], describe.

    Raises:
        SandboxError: the rows are not those of a manifest; nothing of them can be trusted.
    """
    try:
        entries = [(path, Entry(kind, mode, size, content)) for kind, path, mode, size, content in rows]
        manifest = dict(sorted(entries))
    except (TypeError, ValueError) as error:
        raise SandboxError(f"this is not a manifest of a work space: {error}") from error
    for path, entry in entries:
        if not _is_sound(path, entry):
            raise SandboxError(f"this is not a manifest of a work space: it has the line {path!r}, {entry!r}")
    if len(manifest) != len(entries):
        raise SandboxError("this is not a manifest of a work space: it has the same path twice")
    return manifest


def _is_sound(path: Any, entry: Entry) -> bool:
    kind, mode, size, content = map(type, entry)
    return (
        (type(path), kind, mode, size, content) == (str, str, int, int, str)
        and is_inside(path)
        and _is_name(path)
        and (entry.kind != "l" or _is_name(entry.content))
        and entry.kind in get_args(Kind)
        and 0 <= entry.mode <= 0o777
        and entry.size_bytes >= 0
        and (entry.kind != "f" or _DIGEST.fullmatch(entry.content) is not None)
    )


def _is_name(text: str) -> bool:
    """Whether the operating system can be given this text."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def rows(manifest: Manifest) -> list[list[Any]]:
    """Return the manifest as the lists that `parse` reads."""
    return [[entry.kind, path, entry.mode, entry.size_bytes, entry.content] for path, entry in manifest.items()]


def canonical(manifest: Manifest) -> bytes:
    """Return the one JSON text of a manifest; pure ASCII, so that names that are not UTF-8 survive."""
    return json.dumps(rows(dict(sorted(manifest.items()))), separators=(",", ":")).encode("ascii")


def address(text: bytes) -> str:
    """Return the content address of a manifest's canonical text."""
    return hashlib.sha256(text).hexdigest()


def total_bytes(entries: Iterable[Entry]) -> int:
    """Return how many bytes the files hold."""
    return sum(entry.size_bytes for entry in entries)


def printable(path: str) -> str:
    r"""Return `path` as text that any encoder takes: bytes of a name that are not UTF-8 are shown as `\xNN`."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
