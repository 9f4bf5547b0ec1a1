"""The helpers that a trajectory has started, as its steps tell: so a resumed run, and a sibling that goes on from the same step, know them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..core.types import Node, Step, ToolCall

UNDER_WAY = "already under way: "
"""In the first line of what `spawn` returns: which of its texts are the work of helpers that were there before."""

STOPPED = "stopped: "
"""Begins the first line of what `join` returns where it stopped helpers."""

_SAME = re.compile(r"(\d+) is h(\d+)")
_NAME = re.compile(r"h\d+")


@dataclass(frozen=True, slots=True)
class Asked:
    """A search that a trajectory asked for."""

    name: str
    """Of the search, unique in the tree: it begins with the number of the call's node."""
    text: str
    origin: str | None
    """State that it began with."""


@dataclass(slots=True)
class Helpers:
    """All that a trajectory has started."""

    started: list[Asked] = field(default_factory=list[Asked])
    """In order: the first is `h1` to the model."""
    known: dict[str, int] = field(default_factory=dict[str, int])
    """The helper, from 1, that does what a text asks for: the same text twice is one, and so are texts that a judge found alike."""
    stopped: set[int] = field(default_factory=set[int])

    @classmethod
    def of(cls, path: Sequence[Node]) -> Helpers:
        """Return those of a trajectory."""
        found = cls()
        for node in path:
            for place, call, said in _calls(node.step, "spawn"):
                texts = dict.fromkeys(str(text).strip() for text in call.arguments["tasks"])
                found.take(list(texts), same_in(said), f"{node.id}.{place}", node.env_ref)
            for _, _, said in _calls(node.step, "join"):
                if said.startswith(STOPPED):
                    found.stopped |= {int(name[1:]) for name in _NAME.findall(said.splitlines()[0])}
        return found

    def take(self, texts: Sequence[str], same: dict[int, int], call: str, origin: str | None) -> list[Asked]:
        """Take what a call asks for in, and return what is new.

        Args:
            texts: what is to be done, no two the same.
            same: texts by their place from 1 that a judge found to be the work of a helper, and which.
            call: its name.
            origin: state that the helpers begin with.
        """
        new: list[Asked] = []
        for place, text in enumerate(texts, start=1):
            if text in self.known:
                continue
            if place in same:
                self.known[text] = same[place]
                continue
            new.append(Asked(f"{call}.{len(new) + 1}", text, origin))
            self.started.append(new[-1])
            self.known[text] = len(self.started)
        return new


def same_in(said: str) -> dict[int, int]:
    """Return which texts of a call were found to be under way, as its first line says: `2 is h1`."""
    first = said.split("\n", 1)[0]
    return {int(place): int(helper) for place, helper in _SAME.findall(first.partition(UNDER_WAY)[2])}


def _calls(step: Step | None, tool: str) -> list[tuple[int, ToolCall, str]]:
    """Return the calls of a tool that succeeded, with their places among the step's calls and what they returned."""
    if step is None:
        return []
    seen = {o.call_id: o.text for o in step.observations if o.ok}
    return [(i, c, seen[c.id]) for i, c in enumerate(step.calls) if c.name == tool and c.id in seen]
