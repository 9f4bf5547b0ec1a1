"""Paths that tell each other what they found, again and again, and go on knowing it."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..core.events import Expand
from ..core.tree import TreeView
from ..core.types import ROOT, NodeId, WorkId
from .common import one_of, within
from .likeness import levenshtein_ratio
from .pieces import Pieces

Routing = Literal["dispersed", "clustered", "random", "hybrid"]
"""Whose summaries a path sees: those least like its own, those most like it, any, or half and half of the first two."""

TRIGGERS = (
    "Alright, let me quickly recap what I have so far.",
    "Before I go on, let me summarize where I am.",
    "Let me take a step back and put together what I know.",
    "Okay, a short recap before I continue.",
)
"""By which a path is made to sum up what it has."""

SUMMARY = "summarize"
OPENING = f"<{SUMMARY}> In short,"
ALONE = "(no comments from peers)"
CHECK = (
    "Hmm, my peers have given me their comments. Let me check if anyone's conclusions differ from mine before I go on."
)
CLOSE = "\n\nThat is enough thinking. The final answer is"
"""What a path is made to say that has not come to an end by itself."""

_TAGS = re.compile(r"</?\s*(?:summarize|comment)\s*>", re.IGNORECASE)


@dataclass
class LearnFromPeers(Pieces):
    """Run `n` paths side by side; after every turn of `turn_tokens` each sums up what it has, and reads what others summed up.

    Luo et al. (2025), Learning from Peers in Reasoning Models (LeaP): a path with a bad beginning hardly finds out of it alone, and a
    summary of another one can help. All paths pause together; each is cut back to the end of its last paragraph, is made to
    say a summary of a few sentences, gets `peers` summaries of others as comments, and goes on with them as part of its own
    text. Paths that have answered leave. After the last turn the others are made to give their answers; most votes win.

    Peers hurt where they are wrong and convincing: with a chance of .3 that a right one repairs a path and .1 that wrong ones
    corrupt it, the share of good paths rises from .5 to .85 in five rounds, with .1 and .6 it falls to .35 (simulated). The
    paper fine-tunes small models to follow the form; others may ignore it. It is a strategy over pieces of turns and not a graph:
    where a turn is cut, and what it goes on with, is decided by tokens, and a checkpoint for each piece of each path would be waste.

    Args:
        n: paths, >= 1.
        same: when answers are the same.
        turns: turns of a path, >= 1.
        turn_tokens: length of a turn, >= 1. At most the agent's `Sampling(max_tokens=...)`.
        peers: whose summaries a path reads, >= 0; 0 lets each go its own way.
        routing: which ones.
        exchanges: how often they exchange, >= 0; None after every turn but the last. 1 is the paper's single exchange (LeaP-S).
        summary_tokens: longest summary, >= 1.
    """

    name: ClassVar[str] = "peers"
    n: int = 4
    turns: int = 5
    turn_tokens: int = 1024
    peers: int = 2
    routing: Routing = "dispersed"
    exchanges: int | None = None
    summary_tokens: int = 256
    _texts: dict[int, str] = field(default_factory=dict[int, str], init=False, repr=False)
    """What each path that goes on says so far."""
    _summaries: dict[int, str] = field(default_factory=dict[int, str], init=False, repr=False)
    """Of this round."""
    _jobs: list[tuple[int, Literal["think", "recap", "close"]]] = field(
        default_factory=list[tuple[int, Literal["think", "recap", "close"]]], init=False, repr=False
    )
    """Whose piece each one is, and what kind."""
    _turn: int = field(default=0, init=False, repr=False)
    _exchanged: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        within("turns", self.turns, 1)
        within("turn_tokens", self.turn_tokens, 1)
        within("peers", self.peers, 0)
        one_of("routing", self.routing, ("dispersed", "clustered", "random", "hybrid"))
        within("summary_tokens", self.summary_tokens, 1)
        if self.exchanges is not None:
            within("exchanges", self.exchanges, 0)

    # --- what is written ---

    def trajectories(self) -> int:
        """The beginnings of all paths."""
        self._turn = 1
        self._want("think", dict.fromkeys(range(self.n), ""))
        return 0

    def _want(self, kind: Literal["think", "recap", "close"], leads: Mapping[int, str]) -> None:
        """Have the next piece of some paths written."""
        tokens = {"think": self.turn_tokens, "recap": self.summary_tokens, "close": None}[kind]
        closing = SUMMARY if kind == "recap" else ""
        self._jobs.extend((path, kind) for path in leads)
        self.write(
            [Expand(WorkId(0), ROOT, segment_tokens=tokens, lead=lead, closing=closing) for lead in leads.values()]
        )

    # --- what came of it ---

    def over(self, number: int, node: NodeId | None, view: TreeView) -> None:
        """Take in a piece; a path that gave an answer, or nothing, leaves."""
        path, kind = self._jobs[number]
        lead = self.piece(number).lead
        step = None if node is None else view[node].step
        if kind == "recap":
            self._summaries[path] = "" if step is None else _clean(step.text.removeprefix(lead))
        elif (
            step is not None and kind == "think" and step.kind in ("partial", "invalid")
        ):  # a turn of the longest length is cut
            self._texts[path] = _to_paragraph(step.text, len(lead))
        else:
            self._texts.pop(path, None)

    def all_over(self, view: TreeView) -> None:  # noqa: ARG002 - the base's signature
        """Begin the next phase, now that every path has come to the end of this one."""
        if not self._texts or self._jobs[-1][1] == "close":
            return
        if self._jobs[-1][1] == "recap":
            self._go_on()
        elif self._turn >= self.turns:
            self._want("close", {path: text + CLOSE for path, text in sorted(self._texts.items())})
        elif self.peers > 0 and self._exchanged < (self.turns if self.exchanges is None else self.exchanges):
            self._exchanged += 1
            self._summaries.clear()
            self._want("recap", {path: self._recap(path) for path in sorted(self._texts)})
        else:
            self._turn += 1
            self._want("think", dict(sorted(self._texts.items())))

    def _go_on(self) -> None:
        """Let every path go on with what its peers summed up."""
        self._turn += 1
        rng = random.Random(f"{self.seed} routing {self._turn}")  # noqa: S311 - chance, not secrecy
        told = {path: text for path, text in sorted(self._summaries.items()) if text}
        seen = route(told, self.peers, self.routing, rng)
        leads: dict[int, str] = {}
        for path in sorted(self._texts):
            comments = [f"Peer {place}: {told[peer]}" for place, peer in enumerate(seen.get(path, ()), start=1)]
            own = f"{self._recap(path)} {told[path]} </{SUMMARY}>" if path in told else self._texts[path].rstrip()
            block = "\n".join(comments) or ALONE
            leads[path] = f"{own}\n\n<comment>\n{block}\n</comment>\n\n{CHECK}\n\n"
        self._want("think", leads)

    def _recap(self, path: int) -> str:
        """Return a path's text with the beginning of a summary."""
        trigger = random.Random(f"{self.seed} {self._exchanged} {path}").choice(TRIGGERS)  # noqa: S311 - as above
        return f"{self._texts[path].rstrip()}\n\n{trigger}\n\n{OPENING}"

    def why_over(self, view: TreeView) -> str:  # noqa: ARG002 - the protocol's signature
        """Say how often the paths exchanged what they had."""
        return f"{self.n} paths exchanged what they had {self._exchanged} times"


def route(summaries: Mapping[int, str], peers: int, routing: Routing, rng: random.Random) -> dict[int, list[int]]:
    """Return whose summaries each path sees.

    Args:
        summaries: of every path that has one.
        peers: how many at most.
        routing: which ones.
        rng: for `random`.
    """
    seen: dict[int, list[int]] = {}
    for path, own in summaries.items():
        others = [other for other in summaries if other != path]
        if routing == "random":
            seen[path] = rng.sample(others, min(peers, len(others)))
            continue
        likeness = {other: levenshtein_ratio(own, summaries[other]) for other in others}
        unlike_first = sorted(others, key=lambda other: (likeness[other], other))
        unlike = {"dispersed": peers, "clustered": 0, "hybrid": -(-peers // 2)}[routing]
        chosen = unlike_first[:unlike]
        like_first = [other for other in reversed(unlike_first) if other not in chosen]
        seen[path] = chosen + like_first[: peers - len(chosen)]
    return seen


def _to_paragraph(text: str, least: int) -> str:
    """Return a text to the end of its last whole paragraph, if one ends behind its first `least` characters."""
    end = text.rfind("\n\n", least)
    return text if end <= least else text[:end]


def _clean(text: str) -> str:
    """Return a summary without tags of its own, on one line: a peer must not be able to end a comment, or begin one."""
    return " ".join(_TAGS.sub(" ", text).split())
