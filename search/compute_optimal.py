"""Choosing the search by how hard the task turns out to be: a table learned beforehand, and the strategy that goes by it."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Self

from ..core.errors import UsageError
from ..core.events import Event, Expand, Judged, Score, Work, WorkStarted
from ..core.protocols import Appraisal, Appraiser, Explains, Strategy
from ..core.tree import Tree, TreeView
from ..core.types import JSON, ROOT, NodeId, WorkId
from .best_of_n import BestOfN
from .common import within
from .trajectories import Trajectories

BINS = 5
"""Classes of difficulty, each with equally many tasks (Snell et al. 2024)."""

LEAST_SHARE = 4
"""A bin needs so many tasks of the development set on average, or the table is refused."""


@dataclass(frozen=True, slots=True)
class Trial:
    """How the strategies did on one task of the development set."""

    ease: float
    """Mean score of a few plain trajectories (`ease`): what the task will be known by later."""
    worth: Mapping[str, float]
    """What each strategy achieved, by its name with options (`beam:beams=4`): 1 for solved, 0 for not, or less a price of its cost."""


@dataclass(frozen=True)
class PolicyTable:
    """The best strategy for each class of difficulty, at one budget.

    Args:
        edges: eases that part the bins, rising; a bin more than edges.
        arms: name with options of each bin's strategy, the hardest bin first.
        held_out: mean worth by two-fold cross-validation: the table of one half, on the other half.
        uniform: the same of the best single strategy.
        tasks: size of the development set.
    """

    edges: tuple[float, ...]
    arms: tuple[str, ...]
    held_out: float
    uniform: float
    tasks: int

    @classmethod
    def fit(cls, trials: Sequence[Trial], *, bins: int = BINS, pooling: float = 8.0) -> Self:
        """Learn the table from a development set.

        For every bin the arm with the best mean worth is taken. With few tasks in a bin that mean is drawn towards those of its
        neighbours and of all tasks, as if by `pooling` more tasks, so that a lucky arm does not win a small bin.

        Args:
            trials: the development set; the same arms on every task.
            bins: classes of difficulty.
            pooling: strength of the pull, in tasks, >= 0.

        Raises:
            UsageError: too few tasks, or not the same arms everywhere.
        """
        arms = sorted(trials[0].worth) if trials else []
        if len(trials) < LEAST_SHARE * bins or not arms:
            raise UsageError(f"{len(trials)} trials are too few for {bins} bins; give at least {LEAST_SHARE * bins}")
        if any(sorted(trial.worth) != arms for trial in trials):
            raise UsageError(f"every trial must have the same arms, here {', '.join(arms)}")
        within("bins", bins, 1)
        within("pooling", pooling, 0.0)
        halves = trials[::2], trials[1::2]
        tested = uniform = 0.0
        for known, new in (halves, halves[::-1]):
            edges, chosen = _learned(known, arms, bins, pooling)
            tested += sum(trial.worth[chosen[bisect_right(edges, trial.ease)]] for trial in new)
            single = max(arms, key=lambda arm: sum(trial.worth[arm] for trial in known))
            uniform += sum(trial.worth[single] for trial in new)
        edges, chosen = _learned(trials, arms, bins, pooling)
        return cls(tuple(edges), tuple(chosen), tested / len(trials), uniform / len(trials), len(trials))

    def arm(self, ease: float) -> str:
        """Return the strategy for a task of this ease."""
        return self.arms[bisect_right(self.edges, ease)]

    def to_json(self) -> dict[str, JSON]:
        """All of it."""
        return {
            "edges": list(self.edges),
            "arms": list(self.arms),
            "held_out": self.held_out,
            "uniform": self.uniform,
            "tasks": self.tasks,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, JSON]) -> Self:
        """Return the table that `to_json` wrote.

        Raises:
            UsageError: it is none.
        """
        try:
            edges, arms = tuple(map(float, data["edges"])), tuple(map(str, data["arms"]))
            table = cls(edges, arms, float(data["held_out"]), float(data["uniform"]), int(data["tasks"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"this is no table of strategies by difficulty ({error!r}); write one by `save`"
            ) from error
        if len(arms) != len(edges) + 1 or list(edges) != sorted(edges):
            raise UsageError(f"a table with {len(edges)} edges has one arm more, not {len(arms)}, and rising edges")
        return table

    def save(self, path: Path | str) -> None:
        """Write the table as JSON."""
        Path(path).write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a table.

        Raises:
            UsageError: there is none.
        """
        try:
            return cls.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise UsageError(f"no table of strategies in {str(path)!r}: {error}") from error


def _learned(trials: Sequence[Trial], arms: Sequence[str], bins: int, pooling: float) -> tuple[list[float], list[str]]:
    """Return the edges between bins of equally many tasks, and the best arm of each."""
    ranked = sorted(trials, key=lambda trial: trial.ease)
    parts = [ranked[number * len(ranked) // bins : (number + 1) * len(ranked) // bins] for number in range(bins)]
    edges = [(left[-1].ease + right[0].ease) / 2 for left, right in pairwise(parts)]
    chosen: list[str] = []
    for number, part in enumerate(parts):
        near = [trial for neighbour in parts[max(0, number - 1) : number + 2] for trial in neighbour]
        chosen.append(max(arms, key=lambda arm: _shrunk(arm, part, near, ranked, pooling)))
    return edges, chosen


def _shrunk(arm: str, part: Sequence[Trial], near: Sequence[Trial], ranked: Sequence[Trial], pooling: float) -> float:
    prior = (_mean(arm, near) + _mean(arm, ranked)) / 2
    return (sum(trial.worth[arm] for trial in part) + pooling * prior) / (len(part) + pooling)


def _mean(arm: str, trials: Sequence[Trial]) -> float:
    return sum(trial.worth[arm] for trial in trials) / len(trials)


def ease(view: TreeView, probes: int) -> float:
    """Return the ease of a task by its first trajectories: the mean score of the first `probes` answers, 0 for each that is missing.

    For a development set, of the tree of a run by `BestOfN`. Where an answer was accepted, which ends a search, it is 1.
    """
    if any(view.passed(node.id) for node in view):
        return 1.0
    answers = [node.id for node in view if node.answer is not None][:probes]
    return sum(view.value(node) or 0.0 for node in answers) / probes


@dataclass
class ComputeOptimal:
    """Try a few plain trajectories, see how hard the task is, and search on by the strategy that suits such tasks.

    Snell et al. (2024), Scaling LLM Test-Time Compute Optimally. The difficulty is the model's own, by the mean score of the
    first trajectories, which are paid for and stay candidates: a strategy of whole trajectories counts them as its own, any
    other one begins anew. Easy tasks usually want more samples, harder ones a search, the hardest nothing.

    Args:
        edges: eases that part the classes of difficulty, rising; of a `PolicyTable`, which `ComputeOptimal.load` reads.
        arms: name with options of each class's strategy, the hardest first.
        probes: plain trajectories at first, >= 1; as many as the table was learned with.
        depth: longest trajectory of these in steps, >= 1.
    """

    name: ClassVar[str] = "compute-optimal"
    edges: tuple[float, ...]
    arms: tuple[str, ...]
    probes: int = 4
    depth: int = 16
    seed: int = field(default=0, kw_only=True)
    _first: BestOfN = field(init=False, repr=False)
    _chosen: Strategy | None = field(default=None, init=False, repr=False)
    _log: list[Event] = field(default_factory=list[Event], init=False, repr=False)
    """Everything until the choice."""

    def __post_init__(self) -> None:
        within("probes", self.probes, 1)
        if len(self.arms) != len(self.edges) + 1:
            raise UsageError(
                f"{len(self.edges)} edges part {len(self.edges) + 1} classes, but {len(self.arms)} arms were given"
            )
        for arm in self.arms:
            self._made(arm)
        self._first = BestOfN(n=self.probes, depth=self.depth).fresh(self.seed)

    @classmethod
    def load(cls, path: Path | str, *, probes: int = 4, depth: int = 16) -> Self:
        """Return the strategy that goes by a saved table.

        Raises:
            UsageError: there is none.
        """
        table = PolicyTable.load(path)
        return cls(table.edges, table.arms, probes, depth)

    def _made(self, arm: str) -> Strategy:
        from .named import parse_strategy  # names this class, too

        return parse_strategy(arm).fresh(self.seed)

    @property
    def speculative(self) -> bool:
        """Whether the first trajectories, or what follows, may be thrown away."""
        return self.probes > 1 or any(self._made(arm).speculative for arm in self.arms)

    def fresh(self, seed: int) -> Self:
        """Return an equally configured strategy that knows nothing yet."""
        return replace(self, seed=seed)

    @property
    def now(self) -> Strategy:
        """What decides at present: the first trajectories, then the strategy that was chosen."""
        return self._first if self._chosen is None else self._chosen

    def ask(self, view: TreeView, slots: int) -> Sequence[Work]:
        """Return what is wanted at present."""
        return self.now.ask(view, slots)

    def tell(self, events: Sequence[Event], view: TreeView) -> None:
        """Take in what happened; choose when the first trajectories are over."""
        for event in events:
            if self._chosen is not None:
                self._chosen.tell((event,), view)
                continue
            self._log.append(event)
            self._first.tell((event,), view)
            if self._first.finished:
                self._choose(view)

    def _choose(self, view: TreeView) -> None:
        arm = self._made(self.arms[bisect_right(self.edges, ease(view, self.probes))])
        counts = isinstance(arm, Trajectories) and self._would_begin_so(arm)
        # The strategy hears of the beginning with the tree as it was at each event: later failures have not happened yet.
        tree = Tree(view[ROOT])
        for event in self._log:
            tree.apply(event)
            if counts or _of_root(event):
                arm.tell((event,), tree)
        self._log.clear()
        self._chosen = arm

    def _would_begin_so(self, arm: Trajectories) -> bool:
        """Whether a strategy of whole trajectories would have begun with the very ones that there are."""
        plain = Expand(WorkId(0), ROOT)
        enough = arm.trajectories() >= self.probes
        return enough and all(arm.beginning(WorkId(0), number) == plain for number in range(self.probes))

    def accepts(self, node: NodeId, view: TreeView) -> bool:
        """As the strategy at present; where that has no opinion, the verdicts decide."""
        return self.now.accepts(node, view) if isinstance(self.now, Appraiser) else view.passed(node)

    def appraise(self, view: TreeView, accepted: NodeId | None = None) -> Appraisal:
        """Return the choice of the strategy at present."""
        if isinstance(self.now, Appraiser):
            return self.now.appraise(view, accepted)
        node = accepted if accepted is not None else self.now.select(view)
        return Appraisal(None if node is None else NodeId(node))

    def select(self, view: TreeView) -> NodeId | None:
        """Return the best node so far."""
        return self.appraise(view).node

    def why_over(self, view: TreeView) -> str:
        """Return which strategy was chosen, and its own reason."""
        if self._chosen is None:
            return ""
        why = self._chosen.why_over(view) if isinstance(self._chosen, Explains) else ""
        return f"went on by {self._chosen.name}{': ' + why if why else ', which has nothing left to expand'}"


def _of_root(event: Event) -> bool:
    """Whether an event is about judging the root: all that a strategy which begins anew must know."""
    match event:
        case WorkStarted(Score(_, node)):
            return node == ROOT
        case Judged(_, node):
            return node == ROOT
        case _:
            return False
