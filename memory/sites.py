"""What was learnt about web sites: where pages are, what a control led to, what failed. Kept by user and by site."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from ..core.errors import UsageError
from ..core.protocols import Entry, EntryKind, Found
from ..core.tree import Tree
from ..core.types import Node, Result
from .store import Store

LINE_CHARS = 240
NOTES_LOOKED_AT = 4
"""Candidates for each note that is shown: some say the same of the same page."""

_TYPED = re.compile(r" with (?!the secret ).*?( and press Enter)?$", re.DOTALL)


class SiteMemory:
    """What is known of one site. Implements `core.protocols.Memory`.

    A query returns one entry with the notes that fit, a line each. Notes are made of what pages say of themselves, so they are a
    stranger's words, and prompts show them as such.

    Args:
        path: the file; None keeps everything in the process.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.store = Store(path)

    async def query(self, context: str, k: int, kind: EntryKind | None = None) -> Sequence[Found]:
        """Return one entry of at most `k` notes whose cues are like `context`, the most alike first; none where none is."""
        del kind  # a note serves at the beginning as well as later
        found = await self.store.query(context, k * NOTES_LOOKED_AT)
        lines = list(dict.fromkeys(one.entry.text for one in found if one.likeness > 0))[:k]
        if not lines:
            return []
        return [Found(Entry(context, "\n".join(lines), "step", found[0].entry.evidence), found[0].likeness)]

    async def write(self, entry: Entry) -> None:
        """Remember something. What is known already is not kept twice."""
        await self.store.write(entry)

    def learn(self, result: Result) -> int:
        """Remember what a run has seen of the site, on all of its branches; return how many notes were new.

        What was typed is left out: notes say which field took a text, not which text.
        """
        return self.store.add(*site_notes(result.tree, f"seen in run {result.run_id}"))

    def close(self) -> None:
        """Close the file."""
        self.store.close()


class SiteMemories:
    """The memories of all sites of one user, a file for each site: `bw.agents.web(url, memory=SiteMemories("sites"))`.

    Args:
        folder: where they are kept; made when it is needed.
        user: whose they are. What one user's runs have seen is shown to no other, unless both give the same name.

    Raises:
        UsageError: the user's name has no letter or digit.
    """

    def __init__(self, folder: str | Path, *, user: str = "default") -> None:
        self.folder = Path(folder) / _file_name(user)
        self._open: dict[str, SiteMemory] = {}

    def of(self, address: str) -> SiteMemory:
        """Return the memory of a site.

        Args:
            address: an address of it, or another name for it where it has no fixed one.

        Raises:
            UsageError: the address names no site.
        """
        name = _file_name(urlsplit(address).netloc or address)
        if name not in self._open:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._open[name] = SiteMemory(self.folder / f"{name}.sqlite")
        return self._open[name]

    def close(self) -> None:
        """Close all files."""
        while self._open:
            self._open.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        self.close()


def site_notes(tree: Tree, evidence: str) -> list[Entry]:
    """Return what a tree's steps tell of a site: for every action where it was done, what it was done to, and where it led.

    Args:
        tree: of a run whose sandbox was a browser.
        evidence: why the notes may be believed.
    """
    found = [note for node in tree if node.parent is not None for note in _notes(tree[node.parent], node, evidence)]
    typed = [re.escape(text) for node in tree for text in _texts(node)]
    if not typed:
        return found
    private = re.compile("|".join(sorted(typed, key=len, reverse=True)), re.IGNORECASE)
    return [replace(note, cue=private.sub("…", note.cue), text=private.sub("…", note.text)) for note in found]


def _texts(node: Node) -> Iterable[str]:
    """Return what a step typed: pages repeat it, in titles and messages."""
    for call in node.step.calls if node.step is not None else ():
        text = call.arguments.get("text")
        if isinstance(text, str) and len(text) > 1:
            yield text


def _notes(before: Node, node: Node, evidence: str) -> Iterable[Entry]:
    here = "the start page" if before.place is None else _page(before.place.address)
    title = "" if before.place is None else before.place.title
    failed = [one.text for one in (node.step.observations if node.step is not None else ()) if not one.ok]
    place = node.place
    if failed and node.step is not None and node.step.calls:
        call = node.step.calls[0]
        what = f"{here}: {call.name} failed: {_line(failed[0])}"
        yield Entry(f"{title} {here} {_line(failed[0])}", what[:LINE_CHARS], "step", evidence)
    elif place is not None and place.action:
        did, there = _TYPED.sub(r" with a text\1", place.action), _page(place.address)
        led = "" if there == here else f" leads to {there} {_line(place.title)!r}"
        yield Entry(f"{title} {here} {did} {place.title}", f"{here}: {_line(did)}{led}"[:LINE_CHARS], "step", evidence)


def _page(address: str) -> str:
    """Return an address without its site, of its query the names only: values are what somebody typed."""
    parts = urlsplit(address)
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    return (parts.path or "/") + (f"?{'&'.join(names)}" if names else "")


def _line(text: str) -> str:
    return " ".join(text.split())


def _file_name(name: str) -> str:
    """Return a name that leads nowhere else.

    Raises:
        UsageError: nothing of it is left.
    """
    kept = re.sub(r"[^\w.-]", "_", name.lower()).strip("._-")
    if not kept:
        raise UsageError(f"{name!r} is no name to keep a site's memory by; give letters or digits")
    return kept[:120]
