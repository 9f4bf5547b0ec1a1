# The peers' signatures are partly untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingTypeStubs=false
# pyright: reportMissingParameterType=false, reportUnknownParameterType=false
"""The peers of `benchmarks/refinement.py`: treequest's and its-hub's algorithms on the refinement problem.

Each runs as its documentation does, with half of the calls for generations and one verdict for each: none of them asks twice.
What a peer generates is the number of a draft, written down as text where it wants text.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from its_hub import BestOfN
from its_hub.api import AbstractLanguageModel, AbstractOutcomeRewardModel, AbstractProcessRewardModel
from its_hub.core.algorithms.beam_search import BeamSearch
from its_hub.core.algorithms.particle_gibbs import ParticleGibbs
from its_hub.core.lms.step_generation import StepGeneration
from treequest import ABMCTSA, StandardMCTS, TreeOfThoughtsBFSAlgo, top_k
from treequest.algos.best_first_search import BestFirstSearchAlgo

from branchwise.core.simulated.refinement import Draft, Refinement

Solver = Callable[[Refinement, int], tuple[Draft | None, float | None]]
"""Takes a problem and a number of calls; returns what it chose, and how sure it is where it says so."""

WIDTH = 8
"""Beams and particles of its-hub: few, so that there are steps enough to mend all bits."""


# --- baselines --------------------------------------------------------------------------------------------------------


def best_scored(world: Refinement, calls: int, parent: Callable[[list[Draft]], Draft | None]) -> tuple[Draft, None]:
    """Generate from the parent that `parent` names, None: afresh; choose by score."""
    rng = random.Random(f"{world.seed} baseline")
    drafts: list[Draft] = []
    scores: list[float] = []
    for _ in range(calls // 2):
        above = parent(drafts)
        drafts.append(world.fresh(rng) if above is None else world.child(above, rng))
        scores.append(world.score(drafts[-1], rng))
    return drafts[scores.index(max(scores))], None


def sequential_refinement(world: Refinement, calls: int) -> tuple[Draft, None]:
    """Refine the last draft, again and again."""
    return best_scored(world, calls, lambda drafts: drafts[-1] if drafts else None)


# --- treequest --------------------------------------------------------------------------------------------------------


def treequest(make: Callable[[], Any]) -> Solver:
    """Run one of treequest's algorithms; its state is changed in place, which it is faster with."""

    def solve(world: Refinement, calls: int) -> tuple[Draft, None]:
        rng = random.Random(f"{world.seed} treequest")
        np.random.seed(world.seed)  # noqa: NPY002 - AB-MCTS draws from the global generator

        def generate(parent: Draft | None) -> tuple[Draft, float]:
            draft = world.fresh(rng) if parent is None else world.child(parent, rng)
            return draft, world.score(draft, rng)

        algorithm = make()
        state = algorithm.init_tree()
        for _ in range(calls // 2):
            state = algorithm.step(state, {"refine": generate}, inplace=True)
        return top_k(state, algorithm, k=1)[0][0], None

    return solve


# --- its-hub ----------------------------------------------------------------------------------------------------------


class Drafting(AbstractLanguageModel):  # type: ignore[misc]  # its-hub has no types
    """A language model whose every reply is a draft's number; what it is shown last is what it refines."""

    def __init__(self, world: Refinement) -> None:
        self.world = world
        self.rng = random.Random(f"{world.seed} its-hub")
        self.drafts: list[Draft] = []
        self.calls = 0

    def write(self, parent: Draft | None) -> dict[str, str]:
        """Make a draft."""
        self.calls += 1
        self.drafts.append(self.world.fresh(self.rng) if parent is None else self.world.child(parent, self.rng))
        return {"role": "assistant", "content": str(len(self.drafts) - 1)}

    def read(self, text: str) -> Draft:
        """Return the draft that a text ends with."""
        return self.drafts[int(text.rsplit(maxsplit=1)[-1])]

    def judge(self, text: str) -> float:
        """Return one verdict on it."""
        self.calls += 1
        return self.world.score(self.read(text), self.rng)

    async def agenerate(self, messages: Any, stop: str | None = None, **_options: Any) -> Any:  # noqa: ARG002
        """Reply to each of several conversations."""
        return [self.write(self.read(m[-1].content) if m[-1].role == "assistant" else None) for m in messages]

    async def agenerate_single(self, messages: Any, stop: str | None = None, **_options: Any) -> Any:  # noqa: ARG002
        """Reply to a conversation."""
        return self.write(None)


class OfAnswers(AbstractOutcomeRewardModel):  # type: ignore[misc]  # its-hub has no types
    """The problem's judge, of answers."""

    def __init__(self, drafting: Drafting) -> None:
        self.drafting = drafting

    def score(self, messages: Any, **_options: Any) -> list[float]:
        """Score conversations by their last message."""
        return [self.drafting.judge(conversation[-1].content) for conversation in messages]

    async def ascore(self, messages: Any, orchestrator: Any = None, **_options: Any) -> list[float]:  # noqa: ARG002
        """The same."""
        return self.score(messages)


class OfSteps(AbstractProcessRewardModel):  # type: ignore[misc]  # its-hub has no types
    """The problem's judge, of prefixes."""

    def __init__(self, drafting: Drafting) -> None:
        self.drafting = drafting

    async def ascore(self, prompt_or_messages: Any, steps: Sequence[str]) -> list[float]:  # noqa: ARG002
        """Score prefixes by what they end with."""
        return [self.drafting.judge(text) for text in steps]

    def score(self, prompt_or_messages: Any, steps: Sequence[str]) -> list[float]:
        """The same."""
        return asyncio.run(self.ascore(prompt_or_messages, steps))


def its_hub(make: Callable[[Drafting, int], tuple[Any, int]]) -> Solver:
    """Run one of its-hub's algorithms.

    Args:
        make: returns, for a model and so many calls, the algorithm and the budget as it counts it.
    """

    def solve(world: Refinement, calls: int) -> tuple[Draft, None]:
        random.seed(world.seed)  # its particles draw from the global generator
        drafting = Drafting(world)
        algorithm, budget = make(drafting, calls)
        answer = algorithm.infer(drafting, "Mend all bits.", budget)
        assert drafting.calls <= calls, (drafting.calls, calls)
        return drafting.read(answer["content"]), None

    return solve


def _steps(number: int) -> StepGeneration:
    """Return what makes so many steps: it makes one more than it is told."""
    return StepGeneration(max_steps=number - 1, step_token="\n")


def best_of_n(drafting: Drafting, calls: int) -> tuple[Any, int]:
    """Its best-of-n."""
    return BestOfN(OfAnswers(drafting)), calls // 2


def beam_search(drafting: Drafting, calls: int) -> tuple[Any, int]:
    """Its beam search: two beams; the first level has a half as many candidates as the others."""
    levels = 1 + (calls // 2 - WIDTH // 2) // WIDTH
    return BeamSearch(_steps(levels), OfSteps(drafting), beam_width=2), WIDTH


def particles(drafting: Drafting, calls: int) -> tuple[Any, int]:
    """Its particle filter."""
    return ParticleGibbs(_steps(calls // 2 // WIDTH), OfSteps(drafting)), WIDTH


PEERS: dict[str, Solver] = {
    "best-first, treequest": treequest(BestFirstSearchAlgo),
    "ToT-BFS, treequest": treequest(TreeOfThoughtsBFSAlgo),
    "StandardMCTS, treequest": treequest(StandardMCTS),
    "AB-MCTS-A, treequest": treequest(ABMCTSA),
    "best-of-n, its-hub": its_hub(best_of_n),
    "beam search, its-hub": its_hub(beam_search),
    "particles, its-hub": its_hub(particles),
    "sequential refinement": sequential_refinement,
}
