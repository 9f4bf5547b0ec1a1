"""The attack programs as data: what each tries, how it may end, what else is to be looked at."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FOLDER = Path(__file__).with_name("abuses")

_BETWEEN = re.compile(r"^=== next (warm )?(call|use) ===\n", re.MULTILINE)
_ENDINGS = {"itself", "killed", "time"}


@dataclass(frozen=True, slots=True)
class Part:
    """One program of an abuse."""

    text: str
    when: Literal["first", "call", "use"]
    """First, in the next call of the same environment, or by the next user of the same sandbox."""
    warm: bool = False
    """Whether it runs in a process forked from the worker's interpreter."""


@dataclass(frozen=True, slots=True)
class Abuse:
    """One thing that a hostile program may try."""

    name: str
    summary: str
    parts: tuple[Part, ...]
    seconds: float
    """Time limit of the first program."""
    ends: frozenset[str]
    """How the first program may end: by `itself` with status 0, `killed` by a signal, or out of `time`."""
    local: str
    """Why sandboxes without an engine are weaker here; empty where they are not."""
    may_lose: bool
    """Whether the sandbox may be lost by it."""
    leaves_files: bool
    """Whether the host has to handle the files that it leaves."""
    env: dict[str, str]
    stdin: bytes


def load(folder: Path = FOLDER) -> list[Abuse]:
    """Return every abuse of the corpus, sorted by name."""
    return [parse(path.stem, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.txt"))]


def parse(name: str, text: str) -> Abuse:
    """Return the abuse that a file describes: lines of `# key: value`, then programs with separators between them.

    Raises:
        ValueError: a key or an ending is unknown, or there is no summary.
    """
    header: dict[str, str] = {}
    lines = text.splitlines(keepends=True)
    while lines and (match := re.match(r"# (\w+): (.+)\n", lines[0])):
        header[match[1]] = match[2]
        lines.pop(0)
    pieces = _BETWEEN.split("".join(lines))
    parts = [Part(pieces[0], "first", warm=header.pop("warm", "") == "yes")]
    for warm, when, piece in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        parts.append(Part(piece, "call" if when == "call" else "use", warm=warm is not None))
    ends = frozenset(re.split(r",\s*", header.pop("ends", "itself")))
    pairs = (pair.partition("=") for pair in header.pop("env", "").split())
    abuse = Abuse(
        name=name,
        summary=header.pop("summary"),
        parts=tuple(parts),
        seconds=float(header.pop("seconds", "8")),
        ends=ends,
        local=header.pop("local", ""),
        may_lose=header.pop("lost", "") == "allowed",
        leaves_files=header.pop("then", "") == "files",
        env={key: value for key, _, value in pairs},
        stdin=header.pop("stdin", "").encode() * int(header.pop("copies", "1")),
    )
    if header or not ends <= _ENDINGS:
        raise ValueError(f"{name}: unknown {sorted(header) or sorted(ends - _ENDINGS)}")
    return abuse
