"""A work space's manifest from the one it started with and what has changed since."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator

from ..core.errors import SandboxError
from . import manifest as manifests
from .manifest import Entry, Manifest, is_inside

_FOLDER = Entry("d", 0, 0, "")


def merged(base: Manifest, text: bytes) -> Manifest:
    """Return the manifest after the changes that a worker describes.

    Args:
        base: the manifest before.
        text: JSON of the rows that are new or changed, those of kind "x" naming what is gone, and of the folders that
            something changed in.

    Raises:
        SandboxError: this is no such description.
    """
    try:
        rows, folders = json.loads(text)
        gone = [row[1] for row in rows if row[0] == "x"]
        present = manifests.parse([row for row in rows if row[0] != "x"])
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise SandboxError(f"this does not describe changes of a work space: {error}") from error
    if not all(isinstance(path, str) and is_inside(path) for path in (*gone, *(path for path in folders if path))):
        raise SandboxError("this does not describe changes of a work space: it has a path that leads out of it")
    # A file or link hides whatever had its name, folders with all that is in them included.
    result = _without(base, [*gone, *present])
    for folder in folders:
        if result.get(folder, _FOLDER).kind != "d":
            del result[folder]
    result.update(present)
    _settle_empty_folders(result, [folder for folder in folders if folder])
    return dict(sorted(result.items()))


def is_unchanged(text: bytes) -> bool:
    """Whether a worker's description says that nothing has changed."""
    return text == b'[[], [""]]'


def _without(base: Manifest, hidden: list[str]) -> dict[str, Entry]:
    """Return `base` without what had one of these names, and what was below it."""
    result = dict(base)
    names = list(base)  # sorted, as manifests are
    for path in hidden:
        result.pop(path, None)
        for inner in _below(path, names):
            result.pop(inner, None)
    return result


def _below(folder: str, names: list[str]) -> Iterator[str]:
    """Yield the paths below a folder from a sorted list."""
    prefix = folder + "/"
    index = bisect_left(names, prefix)
    while index < len(names) and names[index].startswith(prefix):
        yield names[index]
        index += 1


def _settle_empty_folders(result: dict[str, Entry], changed: list[str]) -> None:
    """A manifest names folders with nothing in them, and no others."""
    if not changed:
        return
    names = sorted({*result, *changed})
    for folder in changed:
        if next(_below(folder, names), None) is None:
            result[folder] = _FOLDER
        else:
            result.pop(folder, None)
