"""A simulated world of texts: trajectories whose current answer is mended and spoilt while they are thought on, in segments."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from ..events import Expand
from ..tree import TreeView
from ..turns import begun
from ..types import ROOT, Node, NodeId, Step, Usage, Verdict
from .steps import Path, Simulation, StepTree


@dataclass(frozen=True)
class ThoughtStream(StepTree):
    """A problem whose every trajectory is one text of `tokens` tokens, a chunk of which may change the answer it has in mind.

    Args:
        tokens: length of a whole text, >= 1.
        chunk_tokens: after so many tokens the answer may change.
        first: chance that the answer is right at the beginning.
        mend: chance that a chunk makes a wrong answer right.
        spoil: chance that a chunk makes a right answer wrong.
        insight: how well a probe in the middle of a text foresees its end: correlation of what it says with what comes, in [0, 1].
    """

    tokens: int = 400
    chunk_tokens: int = 20
    first: float = 0.3
    mend: float = 0.05
    spoil: float = 0.02
    insight: float = 1.0

    def states(self, number: int) -> list[bool]:
        """Return whether the answer of the trajectory begun by work `number` is right, after every chunk from none on."""
        rng = random.Random(f"{self.seed} stream {number}")  # noqa: S311 - a simulation
        states = [rng.random() < self.first]
        for _ in range(ceil(self.tokens / self.chunk_tokens)):
            chance = rng.random()
            states.append(chance >= self.spoil if states[-1] else chance < self.mend)
        return states

    def chance(self, chunks: int | None = None) -> float:
        """Return the probability that the answer is right after so many chunks, by default at the end."""
        rest = self.mend / (self.mend + self.spoil) if self.mend + self.spoil else self.first
        keeps = (1 - self.mend - self.spoil) ** (ceil(self.tokens / self.chunk_tokens) if chunks is None else chunks)
        return rest + (self.first - rest) * keeps

    def expand(self, work: Expand, view: TreeView, seed: int) -> Node:  # noqa: ARG002 - a world has its own seed
        """Return the node after the segment that is asked for; its text names the answer in mind after every chunk."""
        path = view.path(work.node)
        so_far = sum(node.usage.completion_tokens for node in begun(path))
        number = path[1].id if len(path) > 1 else work.id
        sampled = min(work.segment_tokens or self.tokens, self.tokens - so_far)
        states = self.states(number)
        chunks = range(so_far // self.chunk_tokens, ceil((so_far + sampled) / self.chunk_tokens))
        text = "".join(" right" if states[chunk + 1] else " wrong" for chunk in chunks)
        over = so_far + sampled == self.tokens
        answer = ("right" if states[-1] else "wrong") if over else None
        usage = Usage(completion_tokens=sampled, nodes=1)
        step = Step("answer" if over else "partial", text)
        return Node(NodeId(work.id), work.node, step, None, path[-1].depth + 1, usage, answer)

    def foreseen(self, path: Sequence[Node]) -> float:
        """Return what a probe says of a text: 1 that it will be right, 0 that it will not; at its end it knows.

        In the middle it is right with probability `insight`, else it speaks of another text: exactly as often yes as texts are
        right, and correlated with this one by `insight`.
        """
        if path[-1].id == ROOT:
            return 0.5
        number = path[1].id
        rng = random.Random(f"{self.seed} probe {number}")  # noqa: S311 - a simulation
        knows = path[-1].answer is not None or rng.random() < self.insight
        return float(self.states(number)[-1] if knows else rng.random() < self.chance())

    def solved(self, path: Path) -> bool:  # noqa: ARG002 - the base's signature
        """Never by a path of choices: these trajectories are texts."""
        return False


@dataclass
class StreamSearch(Simulation):
    """Takes a strategy through a `ThoughtStream`, judged by its probe alone."""

    def verdict(self, node: NodeId) -> Verdict:
        """Return what the probe says."""
        assert isinstance(self.world, ThoughtStream)
        return Verdict(self.world.foreseen(self.tree.path(node)), "value", "better")

    @property
    def solved(self) -> bool:
        """Whether the selected text is right."""
        node = self.strategy.select(self.tree)
        return node is not None and self.tree[NodeId(node)].answer == "right"

    @property
    def tokens(self) -> int:
        """Tokens that were sampled."""
        return sum(node.usage.completion_tokens for node in self.tree)
