"""Recorded samples and searches of GPT-4 on the Game of 24, as worlds that the product's own strategies are taken through.

The records are those of Yao et al. (2023), Tree of Thoughts, https://github.com/princeton-nlp/tree-of-thought-llm (MIT licence).
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from branchwise.core.events import Event, Expand, Failed
from branchwise.core.simulated.answers import Draw
from branchwise.core.simulated.countdown import Countdown
from branchwise.core.simulated.steps import Outcome, Simulation, StepTree
from branchwise.core.simulated.steps import Path as Choices
from branchwise.core.testing import count_tokens
from branchwise.core.tree import TreeView
from branchwise.core.types import Node, NodeId, Step, Usage, WorkId

SAMPLES = "game24_gpt4_cot_samples.json"
SEARCHES = "game24_gpt4_tot_log.json"

HIGHEST = 60.0
"""The highest value of a state in the records: three times "sure"."""

LEVELS = 4
"""Three operations and the answer."""


def records(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return a file of records.

    Raises:
        FileNotFoundError: with where to get it.
    """
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(
            f"no records at {path}; they are made from logs/game24 of https://github.com/princeton-nlp/tree-of-thought-llm (MIT "
            f"licence): {SAMPLES} of the chain-of-thought samples (puzzle_index, samples, correct), {SEARCHES} is the log of the "
            "search itself; name their folder by --data or BRANCHWISE_DATA, or put them there"
        )
    return json.loads(path.read_text())


# --- the exact checker -------------------------------------------------------------------------------------------------


def answer_of(text: str) -> str | None:
    """Return the expression that a reply ends with, without spaces; None where it gives none."""
    last = text.strip().splitlines()[-1] if text.strip() else ""
    if not last.lower().startswith("answer:"):
        return None
    expression = last[len("answer:") :].split("=")[0].replace(" ", "").strip(".")
    return expression if any(sign.isdigit() for sign in expression) else None


def solves(expression: str, numbers: Sequence[int]) -> bool:
    """Whether an expression makes 24 of exactly these numbers."""
    return Countdown.of(numbers, 24).solved_by(expression)


# --- recorded samples --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Puzzle:
    """A puzzle with its recorded samples."""

    index: int
    numbers: tuple[int, ...]
    samples: tuple[str, ...]


def puzzles(folder: Path) -> list[Puzzle]:
    """Return the puzzles; their numbers stand in the log of the searches."""
    numbers = {row["idx"]: row["steps"][0]["x"] for row in records(folder, SEARCHES)}
    return [
        Puzzle(row["puzzle_index"], tuple(map(int, numbers[row["puzzle_index"]].split())), tuple(row["samples"]))
        for row in records(folder, SAMPLES)
    ]


class RecordedAnswers:
    """A world whose samples are those of a puzzle, each given once, in an order that `seed` decides.

    Once all have been given they come round again in another order.

    Args:
        puzzle: the puzzle.
        seed: the order.
    """

    def __init__(self, puzzle: Puzzle, seed: int) -> None:
        self.puzzle = puzzle
        self._rng = random.Random(f"{puzzle.index} {seed}")
        self._left: list[str] = []

    def draw(self, work: Expand, view: TreeView, rng: random.Random) -> Draw:  # noqa: ARG002 - what comes is recorded
        """Return the next sample."""
        if not self._left:
            self._left = list(self.puzzle.samples)
            self._rng.shuffle(self._left)
        text = self._left.pop()
        return Draw(text, answer_of(text) or "", count_tokens(text))

    def right(self, answer: str) -> bool:
        """Whether an answer solves the puzzle."""
        return solves(answer, self.puzzle.numbers)


# --- recorded searches -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Proposal:
    """A recorded state: the steps so far, what the model's votes made of it, what was recorded to follow."""

    text: str
    value: float
    """In [0, 1]."""
    path: Choices
    children: list[Proposal] = field(default_factory=list["Proposal"], repr=False)


@dataclass(frozen=True)
class RecordedTree(StepTree):
    """The tree of a recorded search: each state's proposals in the order in which the model made them, each with its value.

    Only the states that the recorded search selected have any.
    """

    depth: int = LEVELS
    numbers: tuple[int, ...] = ()
    states: dict[Choices, Proposal] = field(default_factory=dict[Choices, Proposal], repr=False, hash=False)
    selections: tuple[tuple[Choices, ...], ...] = ()
    """What the recorded search selected, level by level, best first."""
    checked: bool = True
    """Whether answers are checked exactly; without, a search goes by the recorded values to its end."""

    @classmethod
    def read(cls, row: dict[str, Any]) -> RecordedTree:
        """Return the tree of one record."""
        numbers = tuple(map(int, row["steps"][0]["x"].split()))
        root = Proposal("", 0.5, ())
        states: dict[Choices, Proposal] = {(): root}
        level, selections = [root], list[tuple[Choices, ...]]()
        for step in row["steps"]:
            made = list(_proposals(level, step["new_ys"], step["values"]))
            states.update({one.path: one for one in made})
            level = sorted(made, key=lambda one: -one.value)[: len(step["select_new_ys"])]
            assert [one.text for one in level] == step["select_new_ys"], (
                "the record's selection is not that of its values"
            )
            selections.append(tuple(one.path for one in level))
        return cls(numbers=numbers, states=states, selections=tuple(selections))

    @property
    def widest(self) -> int:
        """The largest number of proposals for one state."""
        return max(len(state.children) for state in self.states.values())

    def expand(self, work: Expand, view: TreeView, seed: int) -> Node:  # noqa: ARG002 - nothing is drawn
        """Return the node's next proposal.

        Raises:
            LookupError: all were given, or none was recorded.
        """
        parent = view[work.node]
        state = self.states[self.path(parent)]
        given = len(view.children(parent.id))
        if given >= len(state.children):
            raise LookupError(f"{len(state.children)} proposals are recorded for {state.text!r}")
        child = state.children[given]
        answer = answer_of(child.text) or "" if len(child.path) == self.depth else None
        step = Step("thought" if answer is None else "answer", child.text)
        where = ".".join(map(str, child.path))
        return Node(NodeId(work.id), parent.id, step, where, parent.depth + 1, Usage(nodes=1), answer)

    def solved(self, path: Choices) -> bool:
        """Whether `path` ends in an answer that solves the puzzle, as far as answers are checked."""
        return (
            self.checked and len(path) == self.depth and solves(answer_of(self.states[path].text) or "", self.numbers)
        )


def _proposals(level: Sequence[Proposal], texts: Sequence[str], values: Sequence[float]) -> Iterator[Proposal]:
    """Yield a step's proposals, hung below the states of `level`, which come in the same order."""
    place = 0
    for text, same in groupby(level, key=lambda state: state.text):
        twins = list(same)
        end = place
        while end < len(texts) and texts[end].startswith(text):
            end += 1
        # States that are equal to the letter have equal proposals, one batch after the other.
        size = (end - place) // len(twins)
        for twin in twins:
            for _ in range(size):
                child = Proposal(texts[place], values[place] / HIGHEST, (*twin.path, len(twin.children)))
                twin.children.append(child)
                yield child
                place += 1
    assert place == len(texts), "a proposal belongs to no state"


def recorded_value(world: StepTree, path: Choices) -> float:
    """Judge a state by its recorded value."""
    assert isinstance(world, RecordedTree)
    return world.states[path].value


class Replay(Simulation):
    """Takes a strategy through a recorded tree, one piece of work after the other. What was not recorded fails."""

    def finish(self, number: WorkId, outcome: Outcome = "well") -> Event:
        """End a work item."""
        try:
            return super().finish(number, outcome)
        except LookupError as error:
            event = Failed(number, self.tree.in_flight[number].node, "LookupError", str(error))
            self._take(event)
            return event

    @property
    def expanded(self) -> list[NodeId]:
        """States that have children, in the order of their first one."""
        return list(dict.fromkeys(node.parent for node in self.tree if node.parent is not None))
