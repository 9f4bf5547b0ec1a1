"""What a Python session has done, kept as a file of the work space: a state is files, and a session is brought back from them."""

from __future__ import annotations

import hashlib
import json
from typing import Any, NamedTuple, Self

from .manifest import Manifest

HISTORY = ".branchwise/session.json"
PAGES = ".branchwise/pages.json"
"""How the pages of a browser got where they are."""
_OWN = frozenset({HISTORY, PAGES})
MOST_BYTES = 4 << 20


class PastCell(NamedTuple):
    """A cell that has run to its end."""

    code: str
    seconds: float
    output: str
    """SHA-256 of what it printed."""


class History(NamedTuple):
    """The cells of a session, and the state of the work space before the first of them."""

    base: str
    cells: tuple[PastCell, ...] = ()

    @classmethod
    def parse(cls, text: bytes) -> Self | None:
        """Return the history that a file holds; None where it is none: it lies where its guest can write."""
        try:
            data: Any = json.loads(text)
            cells = tuple(PastCell(str(code), float(seconds), str(output)) for code, seconds, output in data["cells"])
            return cls(str(data["base"]), cells)
        except (ValueError, TypeError, KeyError, RecursionError):
            return None

    def text(self) -> bytes:
        """Return what the file holds."""
        return json.dumps({"base": self.base, "cells": self.cells}, indent=1).encode()

    def after(self, code: str, seconds: float, output: str) -> History:
        """Return the history with one more cell."""
        return self._replace(cells=(*self.cells, PastCell(code, seconds, fingerprint(output))))


def visible(manifest: Manifest) -> Manifest:
    """Return a state as others are to see it: what brings sessions and pages back is their own business."""
    return {path: entry for path, entry in manifest.items() if path not in _OWN}


def fingerprint(output: str) -> str:
    """Return what is remembered of an output, to see whether it is the same the next time."""
    return hashlib.sha256(output.encode("utf-8", "surrogatepass")).hexdigest()
