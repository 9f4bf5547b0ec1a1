"""Where secrets are to be seen on a page, so that they can be kept out of pictures of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from ..sandboxes.secret import Secrets
from .live import Live, PageStuck
from .targets import corner_of

_ROWS_MOST = 20_000
_APART = b"\0"


class Box(TypedDict):
    """A part of what is in view, in pixels of the tab."""

    x: float
    y: float
    width: float
    height: float


class Veil:
    """Finds what has to be masked: texts and form contents that hold a secret, fields that one was filled into, passwords.

    The secrets themselves are never told to the page. What a page draws without text (images, canvas, style sheets) is not
    looked into.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    async def over(self, live: Live) -> list[Box]:
        """Return what has to be masked in the tab in front; nothing where there are no secrets.

        Raises:
            PageStuck: a frame of the page cannot be looked into, so that no picture may be taken.
            SandboxLost: the browser is gone.
        """
        if not self._secrets:
            return []
        found: list[Box] = []
        for frame in live.frames(live.page):
            rows = await live.call(frame, "inked", _ROWS_MOST)
            if rows is None or len(rows) >= _ROWS_MOST:
                raise PageStuck("secrets cannot be looked for in all that is in view")
            left, top = await corner_of(frame)
            found += [shifted(row, left, top) for row in _telling(rows, self._secrets)]
        return found


def _telling(rows: Sequence[Mapping[str, Any]], secrets: Secrets) -> list[Mapping[str, Any]]:
    """Return the rows that a secret is told by, also one that several texts beside each other make up."""
    text = bytearray()
    ends: list[tuple[int, int]] = []
    for row in rows:
        begin = len(text) + (1 if row["field"] else 0)
        said = str(row["text"]).encode("utf-8", "surrogatepass")
        text += _APART + said + _APART if row["field"] else said
        ends.append((begin, begin + len(said)))
    places = secrets.places(bytes(text))
    return [
        row
        for row, (begin, end) in zip(rows, ends, strict=True)
        if row["hidden"] or any(first < end and begin < last for first, last in places)
    ]


def shifted(row: Mapping[str, Any], left: float, top: float) -> Box:
    """Return a frame's box as one of its tab."""
    return {"x": row["x"] + left, "y": row["y"] + top, "width": row["width"], "height": row["height"]}
