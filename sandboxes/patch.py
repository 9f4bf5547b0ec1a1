"""What leads from one state to another as a patch in git's format, which `git apply` takes."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable, Iterator, Sequence

from .line_diff import Change, changes, lines_of
from .manifest import Entry, Manifest, link_stays_inside

_CONTEXT = 3
"""Unchanged lines around a change."""
_NOTHING = "0" * 40
_BINARY_LINE_BYTES = 52
_TEXT_MOST_BYTES = 8 << 20
"""A larger file is written as binary: nobody reads it as lines."""


def patch(old: Manifest, new: Manifest, get: Callable[[str], bytes]) -> str:
    """Return a patch from `old` to `new`; the empty text where git would see no difference.

    Git knows files (executable or not) and links, so empty folders and other bits of modes are not in it. Links that lead
    out of the tree are left out. Contents that are not UTF-8 are written in git's binary form.

    Args:
        old: the state to start from.
        new: the state to reach.
        get: returns a content by its digest.
    """
    parts: list[str] = []
    for path in sorted(old.keys() | new.keys()):
        before, after = (_Side.of(path, manifest.get(path), get) for manifest in (old, new))
        if before is not None and after is not None and before.kind != after.kind:
            # Git has no way of saying that a file became a link but its going and the link's coming.
            parts += [_difference(path, before, None), _difference(path, None, after)]
        else:
            parts.append(_difference(path, before, after))
    return "".join(parts)


class _Side:
    """A file or link before or after."""

    def __init__(self, entry: Entry, get: Callable[[str], bytes]) -> None:
        self.kind = entry.kind
        self.mode = "120000" if entry.kind == "l" else "100755" if entry.mode & 0o100 else "100644"
        self.digest = entry.content
        self._entry = entry
        self._get = get

    @classmethod
    def of(cls, path: str, entry: Entry | None, get: Callable[[str], bytes]) -> _Side | None:
        """Return the side that an entry is; None where git does not see it."""
        if entry is None or entry.kind == "d" or (entry.kind == "l" and not link_stays_inside(path, entry.content)):
            return None
        return cls(entry, get)

    def content(self) -> bytes:
        """Return what git holds as the content: that of the file, or the link's target."""
        if self.kind == "l":
            return self._entry.content.encode("utf-8", "surrogateescape")
        return self._get(self._entry.content)


def _difference(path: str, before: _Side | None, after: _Side | None) -> str:
    if before is None and after is None:
        return ""
    same = before is not None and after is not None and before.digest == after.digest
    if same and before is not None and after is not None and before.mode == after.mode:
        return ""
    head = [f"diff --git {_quoted('a/' + path)} {_quoted('b/' + path)}"]
    if before is None and after is not None:
        head.append(f"new file mode {after.mode}")
    elif after is None and before is not None:
        head.append(f"deleted file mode {before.mode}")
    elif before is not None and after is not None and before.mode != after.mode:
        head += [f"old mode {before.mode}", f"new mode {after.mode}"]
    if same:
        return "\n".join(head) + "\n"
    contents = [None if side is None else side.content() for side in (before, after)]
    old, new = (content or b"" for content in contents)
    ids = [_NOTHING if content is None else _blob(content) for content in contents]
    head.append(
        f"index {ids[0]}..{ids[1]}" + (f" {after.mode}" if before and after and before.mode == after.mode else "")
    )
    if _is_text(old) and _is_text(new):
        names = ["/dev/null" if side is None else _name(f"{letter}/{path}") for letter, side in
                 (("a", before), ("b", after))]  # fmt: skip
        body = _text_body(old, new, names)
    else:
        body = f"GIT binary patch\n{_literal(new)}\n{_literal(old)}\n"
    return "\n".join(head) + "\n" + body


def _blob(content: bytes) -> str:
    """Return git's name of a content; it checks it where a patch is binary."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _is_text(content: bytes) -> bool:
    if b"\0" in content or len(content) > _TEXT_MOST_BYTES:
        return False
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


# --- names ------------------------------------------------------------------------------------------------------------

_ESCAPES = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r", 34: '"', 92: "\\"}


def _quoted(name: str) -> str:
    """Return a name as git writes it: in quotes, in the way of C, where it has anything unusual."""
    raw = name.encode("utf-8", "surrogateescape")
    if all(32 <= byte < 127 and byte not in {34, 92} for byte in raw):
        return name
    letters = (
        f"\\{_ESCAPES[byte]}" if byte in _ESCAPES else chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}"
        for byte in raw
    )
    return f'"{"".join(letters)}"'


def _name(name: str) -> str:
    """Return a name for a line that begins with --- or +++, where a tab ends one with blanks."""
    quoted = _quoted(name)
    return f"{quoted}\t" if " " in quoted and not quoted.startswith('"') else quoted


# --- bodies -----------------------------------------------------------------------------------------------------------


def _text_body(old: bytes, new: bytes, names: Sequence[str]) -> str:
    """Return the hunks of a text; none where both are empty."""
    before, after = lines_of(old), lines_of(new)
    hunks = ["".join(_hunk(before, after, group)) for group in _groups(changes(before, after))]
    return f"--- {names[0]}\n+++ {names[1]}\n{''.join(hunks)}" if hunks else ""


def _groups(found: Sequence[Change]) -> Iterator[list[Change]]:
    """Put changes together whose contexts touch."""
    group: list[Change] = []
    for change in found:
        if group and change.old_start - group[-1].old_end > 2 * _CONTEXT:
            yield group
            group = []
        group.append(change)
    if group:
        yield group


def _hunk(before: Sequence[bytes], after: Sequence[bytes], group: Sequence[Change]) -> Iterator[str]:
    first, last = group[0], group[-1]
    lead = min(_CONTEXT, first.old_start)
    tail = min(_CONTEXT, len(before) - last.old_end)
    old_start, new_start = first.old_start - lead, first.new_start - lead
    old_count, new_count = last.old_end + tail - old_start, last.new_end + tail - new_start
    yield f"@@ -{_range(old_start, old_count)} +{_range(new_start, new_count)} @@\n"
    at = old_start
    for change in group:
        yield from (_line(" ", line) for line in before[at : change.old_start])
        yield from (_line("-", line) for line in before[change.old_start : change.old_end])
        yield from (_line("+", line) for line in after[change.new_start : change.new_end])
        at = change.old_end
    yield from (_line(" ", line) for line in before[at : at + tail])


def _range(start: int, count: int) -> str:
    """Return a hunk's place: lines count from 1, and an empty one stands after the line before it."""
    return f"{start + 1 if count else start},{count}"


def _line(sign: str, line: bytes) -> str:
    text = line.decode()
    return f"{sign}{text}" if text.endswith("\n") else f"{sign}{text}\n\\ No newline at end of file\n"


def _literal(content: bytes) -> str:
    """Return a content in git's binary form: deflated, in lines of base 85 that begin with a letter for their length."""
    packed = zlib.compress(content)
    lines = [f"literal {len(content)}\n"]
    for start in range(0, len(packed), _BINARY_LINE_BYTES):
        piece = packed[start : start + _BINARY_LINE_BYTES]
        letter = chr(ord("A") + len(piece) - 1) if len(piece) <= 26 else chr(ord("a") + len(piece) - 27)
        lines.append(f"{letter}{base64.b85encode(piece, pad=True).decode()}\n")
    return "".join(lines)
