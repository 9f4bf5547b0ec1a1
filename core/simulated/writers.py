"""Simulated texts that are written together: by peers that comment on each other, in one transcript, in threads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..events import Expand
from ..tree import TreeView
from .answers import RIGHT, Rng
from .texts import TextWorld

_COMMENT = re.compile(r"<comment>(.*?)</comment>", re.DOTALL)
_SUMMARY = re.compile(r"<summarize>.*?(?:</summarize>|$)", re.DOTALL)
_PEER = re.compile(r"Peer \d+: .*?(good|bad)")
_STATE = re.compile(r"\b(good|bad)\b")
_DONE = re.compile(r"done(\d+)\.")
_AT = re.compile(r"(\*\*\w+) \[\d+\]:\*\* item(\d+)(?!.*yes:left)(.*)")
_BEGUN = re.compile(r"item(\d+)")
_LEFT = " yes:left."  # one word, so that it is never cut


@dataclass(frozen=True)
class PeerPaths(TextWorld):
    """Paths that are on a good way or on a bad one, and read what others sum up (`search.LearnFromPeers`).

    Every second path begins well. A right peer among those that it reads repairs a bad path with the chance `repairs`; where all are
    wrong a good path is corrupted with the chance `corrupts`. Only a path on a good way comes to the right answer.

    Args:
        repairs: in [0, 1].
        corrupts: in [0, 1].
        length: of a path in words, >= 1.
        telling: whether summaries tell anything: those that do not neither repair nor corrupt.
    """

    repairs: float = 0.3
    corrupts: float = 0.1
    length: int = 4
    telling: bool = True

    def rest(self, said: str, work: Expand, view: TreeView, rng: Rng) -> str:  # noqa: ARG002 - the text says it all
        """Go on with the path, sum it up, or give its answer."""
        if not said:
            well = work.id % 2 == 0
            return (" good" if well else " bad") * self.length + self._answer(well, rng)
        well = self._well(said, rng)
        if work.closing:
            state = ("good" if well else "bad") if self.telling else "long"
            return f" this is a {state} way</{work.closing}>"
        if said.endswith(" is"):
            return self._answer(well, rng).removeprefix(" answer is")
        gone = len(_STATE.findall(_SUMMARY.sub("", _COMMENT.sub("", said))))
        return (" good" if well else " bad") * (self.length - gone) + self._answer(well, rng)

    def _well(self, said: str, rng: Rng) -> bool:
        """Return whether a path is on a good way, after what its peers said if it has just read that."""
        own = _STATE.findall(_SUMMARY.sub("", _COMMENT.sub("", said)))
        well = str(own[-1]) == "good"
        comments = _COMMENT.findall(said)
        if not comments or _STATE.search(said, said.rfind("</comment>")):
            return well
        peers = [str(state) == "good" for state in _PEER.findall(comments[-1])]
        if well:
            return not (peers and not any(peers) and rng.random() < self.corrupts)
        return any(peers) and rng.random() < self.repairs

    def _answer(self, well: bool, rng: Rng) -> str:
        return f" answer is {RIGHT if well else f'wrong {rng.randrange(1000)}'}."


@dataclass(frozen=True)
class SharedItems(TextWorld):
    """Items that are each to be done once, by workers that see in one transcript what is done and what others are at.

    A worker takes any item that is not done yet. Only when it is asked whether it does redundant work (`search.SharedTranscript`) does it
    look at what the others are at, and leaves an item that another one has begun or done. Whoever sees all done says the answer.

    Args:
        items: how many there are, >= 1.
        work: words that an item takes, >= 1.
        looks: whether a worker that is asked looks; else it says no.
    """

    items: int = 8
    work: int = 12
    looks: bool = True

    def rest(self, said: str, work: Expand, view: TreeView, rng: Rng) -> str:  # noqa: ARG002 - the text says it all
        """Go on with the item at hand, and with any others that are left."""
        seen, own = said.rsplit("### Work in progress (own)", 1)
        me, own = own.split(":**", 1)
        asked, done = own.endswith("(yes/no):"), self.done(seen)
        if own.endswith("I have to conclude that the final answer is"):
            return f" {RIGHT if len(done) == self.items else 'unknown'}."
        others = {int(i): (-text.count(" step"), who) for who, i, text in _AT.findall(seen.split("(others)")[1])}
        text, avoided = list[str](), set[int]()
        if at := _BEGUN.findall(own):
            item, gone = int(at[-1]), own.count(" step")
            # Of two at the same item the one goes on that is further, or is named first.
            ahead = others.get(item, (0, "~")) < (-gone, me.strip())
            if own.endswith(_LEFT) or (asked and self.looks and (item in done or ahead)):
                text, avoided = ["" if own.endswith(_LEFT) else _LEFT], set(others)
            else:
                text = [(" no." if asked else "") + ("" if f"done{item}." in own else self._steps(item, gone))]
                done.add(item)
        left = [item for item in range(self.items) if item not in done]
        rng.shuffle(left)
        left.sort(key=avoided.__contains__)
        # The answer is one word, so that it is never cut.
        return "\n\n".join([*text, *(f" item{item}{self._steps(item, 0)}" for item in left), f" Answer:{RIGHT}."])

    def _steps(self, item: int, gone: int) -> str:
        return " step" * (self.work - gone) + f" done{item}."

    def answer(self, text: str) -> str | None:
        """Return the answer that a transcript ends in."""
        found = re.findall(r"(?:Answer:|answer is )(\w+)\.", text)
        return str(found[-1]) if found else None

    def done(self, text: str) -> set[int]:
        """Return the items that a transcript says are done."""
        return {int(item) for item in _DONE.findall(text)}

    def repeated(self, text: str) -> int:
        """Return how often an item was done that had been done before."""
        return len(_DONE.findall(text)) - len(self.done(text))


@dataclass(frozen=True)
class Outlined(TextWorld):
    """A text with blocks of threads, the same whether it is written in one go or forked and joined (`search.ForkJoin`).

    Args:
        blocks: lengths in words of the threads of each block.
        before: words before each block, and after the last.
        malformed: blocks, from 0, whose outlines are numbered wrongly.
    """

    blocks: Sequence[Sequence[int]] = ((5, 9, 2),)
    before: int = 4
    malformed: frozenset[int] = frozenset()

    def rest(self, said: str, work: Expand, view: TreeView, rng: Rng) -> str:  # noqa: ARG002 - the text says it all
        """Go on with the text, or with the thread that is begun."""
        whole = self.whole()
        if whole.startswith(said):
            return whole[len(said) :]
        if said.endswith("</Parallel>"):  # with threads that were cut
            return "</Parallel>".join(whole.split("</Parallel>")[said.count("</Parallel>") :])
        block, thread = said.count("<Outlines>") - 1, int(said[said.rfind("<Thread>") + 9 :].split(":", 1)[0])
        return f"{self._thread(block, thread)}</Thread>"

    def whole(self) -> str:
        """Return the text as it is written in one go."""
        parts: list[str] = []
        for block, lengths in enumerate(self.blocks):
            shift = block in self.malformed
            lines = [f"<Outline> {n + shift}: part {n} </Outline>" for n in range(1, len(lengths) + 1)]
            head = f"{' think' * self.before}\n<Parallel>\n<Outlines>\n" + "\n".join(lines) + "\n</Outlines>"
            threads = [f"\n<Thread> {n}:{self._thread(block, n)}</Thread>" for n in range(1, len(lengths) + 1)]
            parts.append(head + "".join(threads) + "\n</Parallel>")
        return "".join(parts) + " think" * self.before + f" answer is {RIGHT}"

    def _thread(self, block: int, thread: int) -> str:
        return f" w{block}.{thread}" * self.blocks[block][thread - 1]
