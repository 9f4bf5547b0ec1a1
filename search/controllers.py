"""Searching with verifiers that err: spend calls on new candidates or on second looks, and know what the choice is worth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import ClassVar, Self

from ..core.events import Cancelled, Denied, Event, Expand, Expanded, Failed, Judged, Score, Work, WorkStarted
from ..core.protocols import Appraisal
from ..core.tree import TreeView
from ..core.types import ROOT, Node, NodeId, WorkId
from .belief import Belief
from .best_first import BestFirst
from .calibration import Calibration
from .common import MAX_FAILURES, BaseStrategy, within
from .contenders import Contenders, probability_right
from .corrected import Corrected
from .selectors import eligible

PROBES = 2
"""Repeated verdicts by which a search learns at its beginning whether its verifiers are noisy at all."""

MOST_REPETITIONS = 8
"""Second looks at one node in flight at once."""

CLAIM = 0.1
"""What a verifier accepted is looked at again at once where it is right with at least this probability."""

DOUBT = 0.2
"""A node that is right with at least this probability is looked at again at once, until that is clear."""

WORTH_CHOOSING = 0.05
"""Where no node is right with at least this probability, the one that is believed to be worth most is chosen."""

WORTHWHILE = 0.99
"""A further verdict must shrink a node's spread to this share, or it is not asked for."""


@dataclass
class NoiseAware:
    """Run another strategy with verifiers that err: every strategy, for every kind of verifier.

    The strategy sees what nodes are believed to be worth (`search.belief`) instead of mean verdicts. Calls go to second
    looks in three places. A node that may well be right is looked at until that is clear: it ends the search, or was not
    worth going on from. When the strategy wants to expand a node whose worth is not known well enough, the verifier is asked
    about that node first: a node must be known about as well as one step can change it. And the last part of the budget goes
    to the two nodes that are right most probably, the less known of them first (after the top-two rules of best-arm
    identification: Russo 2016, Simple Bayesian algorithms). The one that is chosen is right most probably by all that was
    heard, not scored best, which is how the winner's curse is avoided.

    Verifiers that execute (`Tests`, `InputOutput` ...), and those that were found to repeat themselves, are never asked
    twice; with these alone the search is the inner strategy's.

    Args:
        inner: the strategy that says where to go.
        right: least true value of a right answer, in (0, 1).
        accept: a noisy verifier's "passed" ends the search only where the answer is right with this probability, in (0, 1].
        abstain: give no answer where the best one is right with a smaller probability; 0 always answers, more than 1 never.
        calibration: what such probabilities turned out to be worth on known tasks (`Calibration.fit`).
        certainty: how well a node must be known before it is expanded, in steps' spreads; smaller asks more often.
        optimism: how many standard deviations above its mean the inner strategy sees a node's value.
        reserve: share of the budget for the last second looks, in [0, 1); less where noise is small beside a step.
    """

    name: ClassVar[str] = "noise-aware"
    inner: BaseStrategy = field(default_factory=BestFirst)
    right: float = 0.97
    accept: float = 0.95
    abstain: float = 0.0
    calibration: Calibration | None = None
    certainty: float = 1.0
    optimism: float = 0.5
    reserve: float = 0.1
    _belief: Belief = field(default_factory=Belief, init=False, repr=False)
    _again: dict[WorkId, NodeId] = field(default_factory=dict[WorkId, NodeId], init=False, repr=False)
    """Second looks in flight."""
    _contenders: Contenders = field(init=False, repr=False)
    _claimed: dict[NodeId, None] = field(default_factory=dict[NodeId, None], init=False, repr=False)
    """Nodes that a verifier accepted when it was asked last, which did not end the search."""
    _looks: int = field(default=0, init=False, repr=False)
    """Second looks so far."""

    def __post_init__(self) -> None:
        within("right", self.right, 0.0, 0.999)
        within("accept", self.accept, 0.0, 1.0)
        within("abstain", self.abstain, 0.0)
        within("certainty", self.certainty, 0.01)
        within("optimism", self.optimism, 0.0)
        within("reserve", self.reserve, 0.0, 0.99)
        self._contenders = Contenders(self.right)

    @property
    def speculative(self) -> bool:
        """As the inner strategy."""
        return self.inner.speculative

    def fresh(self, seed: int) -> Self:
        """Return an equally configured controller with a fresh inner strategy."""
        return replace(self, inner=self.inner.fresh(seed))

    # --- asking ---

    def ask(self, view: TreeView, slots: int) -> Sequence[Work]:
        """Return what the inner strategy wants, with second looks in place of expansions that are not due yet."""
        wanted = self.inner.ask(Corrected(view, self._belief, self.optimism), slots)
        works: list[Work] = [work for work in wanted if not isinstance(work, Expand)]
        expansions = [work for work in wanted if isinstance(work, Expand)]
        if slots > 0:
            claims = self._claims(view, slots)
            room = slots - len(claims)
            last = self._last_looks(view, room, idle=not wanted and not claims)
            works += claims
            works += last or self._gated(expansions, view, room)
        return [replace(work, id=WorkId(view.next_work + number)) for number, work in enumerate(works)]

    def _claims(self, view: TreeView, slots: int) -> Sequence[Work]:
        """Return looks at nodes that may be right, those that a verifier accepted before all: nothing is worth more to know."""
        flying = set(self._again.values())
        doubtful = dict.fromkeys([*self._accepted(), *self._doubtful(view)])
        return [
            self._look(node)
            for node in islice((n for n in doubtful if n not in flying and self._askable(n, view)), slots)
        ]

    def _accepted(self) -> Iterator[NodeId]:
        return (node for node in self._claimed if self._probability(node) >= CLAIM)

    def _doubtful(self, view: TreeView) -> Iterator[NodeId]:
        """Yield the nodes of which it is not clear whether they are right, unless it is of one that it is."""
        for node in self._contenders:
            probability = self._probability(node)
            if not DOUBT <= probability < self.accept:
                return
            if eligible(view, view[node]):
                yield node

    def _gated(self, expansions: Sequence[Expand], view: TreeView, slots: int) -> list[Work]:
        """Let those expansions through whose nodes are known well enough; look again at the others."""
        works: list[Work] = []
        known: dict[NodeId, bool] = {}
        for work in expansions:
            if work.node not in known:
                looks = self._looks_due(work.node, view)
                flying = sum(node == work.node for node in self._again.values())
                known[work.node] = looks + flying == 0
                works += [self._look(work.node) for _ in range(min(looks - flying, slots - len(works)))]
            if known[work.node] and len(works) < slots:
                works.append(work)
        return works

    def _looks_due(self, node: NodeId, view: TreeView) -> int:
        """How many further verdicts a node needs before it may be expanded."""
        if not self._askable(node, view):
            return 0
        if (probes := self._probes_due()) > 0:
            return probes
        _, spread = self._belief.posterior(node)
        enough = self.certainty * self._belief.landscape.step_spread
        if spread <= enough:
            return 0
        _, factor = self._belief.repetition(node) or ("", 1.0)
        return min(MOST_REPETITIONS, max(1, math.ceil(math.log(enough / spread) / math.log(factor))))

    def _probes_due(self) -> int:
        """How many repeated verdicts it takes until it is known at all how noisy verifiers are."""
        return max(0, PROBES - max(judge.repetitions for judge in self._belief.judges.values()))

    def _askable(self, node: NodeId, view: TreeView) -> bool:
        """Whether a further verdict on the node can be had and tells anything."""
        if not self._belief.judged(node) or view.failures(node) >= MAX_FAILURES:
            return False
        repetition = self._belief.repetition(node)
        return repetition is not None and repetition[1] < WORTHWHILE

    def _look(self, node: NodeId) -> Score:
        repetition = self._belief.repetition(node)
        assert repetition is not None
        return Score(WorkId(0), node, (repetition[0],))

    def _last_looks(self, view: TreeView, slots: int, *, idle: bool) -> Sequence[Work]:
        """Return looks at the nodes that may be the best, where the end is near: of the budget, or of what is to be done."""
        noise = self._belief.noise
        if not noise or not self._ending(view, noise, idle=idle):
            return []
        flying = set(self._again.values())
        return [self._look(node) for node in self._rivals(view) if node not in flying][:slots]

    def _ending(self, view: TreeView, noise: float, *, idle: bool) -> bool:
        if view.share_left is not None:
            part = self.reserve * min(1.0, noise / (2 * self._belief.landscape.step_spread))
            if view.share_left <= part:
                return True
        return idle and self._looks < 2 * len(view) and all(isinstance(w, Score) for w in view.in_flight.values())

    def _rivals(self, view: TreeView) -> list[NodeId]:
        """Return the nodes among which to choose, the one first about which to hear more."""
        likeliest = [n for n in self._contenders if eligible(view, view[n]) and self._askable(n, view)]
        if likeliest:
            two = sorted(likeliest[:2], key=lambda node: -self._belief.posterior(node)[1])
            return two + likeliest[2:]
        return self._promising(view)

    def _promising(self, view: TreeView) -> list[NodeId]:
        """Return the nodes that may well be better than the best believed one, and that one; none where that is clear."""
        best = self._best(view)
        if best is None:
            return []
        mean, spread = self._belief.posterior(best.id)
        rivals: list[tuple[float, NodeId]] = []
        for node in self._candidates(view):
            m, s = self._belief.posterior(node.id)
            if m + 2 * s > mean and self._askable(node.id, view):
                rivals.append((-(m + s), node.id))
        if len(rivals) == 1 and rivals[0][1] == best.id and spread < 0.01:
            return []
        return [node for _, node in sorted(rivals)]

    # --- being told ---

    def tell(self, events: Sequence[Event], view: TreeView) -> None:
        """Take in what happened; the inner strategy is told all but the second looks."""
        seen = Corrected(view, self._belief, self.optimism)
        for event in events:
            moved: list[NodeId] = []
            match event:
                case WorkStarted(Score(work, node, verifiers, among=())) if verifiers:
                    self._again[work] = node
                    self._looks += 1
                    continue
                case Expanded(_, node):
                    self._belief.grow(node.id, node.parent)
                case Judged(_, node, verdicts) if verdicts:
                    if node == ROOT and ROOT not in self._belief:
                        self._belief.grow(ROOT, None)
                    moved = self._belief.observe(node, [verdict for verdict in verdicts if verdict.ranking is None])
                    self._claim(node, view)
                case _:
                    pass
            if isinstance(event, Judged | Failed | Cancelled | Denied) and event.work in self._again:
                del self._again[event.work]
            else:
                self.inner.tell((event,), seen)
            self._contenders.update(moved, self._belief)
            for node in moved:
                self.inner.revalued(node, seen)

    def _claim(self, node: NodeId, view: TreeView) -> None:
        decisions = [verdict.passed for verdict in view.verdicts(node) if verdict.passed is not None]
        if decisions and decisions[-1]:
            self._claimed[node] = None
        else:
            self._claimed.pop(node, None)

    # --- choosing ---

    def _candidates(self, view: TreeView) -> Iterator[Node]:
        return (node for node in view if node.id != ROOT and eligible(view, node) and self._belief.judged(node.id))

    def _best(self, view: TreeView) -> Node | None:
        """Return the node that is right most probably; where that is unlikely of all, the one believed to be worth most.

        Of those that are as good as equal, a finished and shallow one.
        """
        nodes = {node.id: node for node in self._candidates(view)}
        if not nodes:
            return None
        likely = {node: self._probability(node) for node in nodes}
        if max(likely.values()) < WORTH_CHOOSING:
            likely = dict.fromkeys(likely, 0.0)
        best = max(nodes, key=lambda node: (likely[node], self._belief.posterior(node)[0]))
        mean, spread = self._belief.posterior(best)
        equal = [
            nodes[node]
            for node, probability in likely.items()
            if probability >= 0.98 * likely[best] and self._belief.posterior(node)[0] >= mean - 0.1 * spread
        ]
        return max(equal, key=lambda node: (node.answer is not None, -node.depth, -node.id))

    def _probability(self, node: NodeId) -> float:
        return probability_right(*self._belief.posterior(node), self.right)

    def probability(self, node: NodeId) -> float:
        """Return the probability that the node is right: that its true value is at least `right`; calibrated where possible."""
        believed = self._probability(node)
        return believed if self.calibration is None else self.calibration(believed)

    def worth(self, node: NodeId) -> tuple[float, float]:
        """Return what the node's true value is believed to be and the standard deviation of that.

        By all verdicts on it, its ancestors and its descendants: unlike the best of many scores, it is not too high for
        having been chosen.
        """
        return self._belief.posterior(node)

    def accepts(self, node: NodeId, view: TreeView) -> bool:
        """Whether verifiers accept the node, and, where they err, it is right with sufficient probability.

        What a single call of a verifier says that may err is not enough where another one can be had: how far it errs is
        not known by then.
        """
        deciding = [verdict for verdict in view.verdicts(node) if verdict.passed is not None]
        noisy = [v for v in deciding if (judge := self._belief.judges.get(v.verifier)) is not None and judge.repeatable]
        if not noisy:
            return view.passed(node)
        certain = [v for v in deciding if v not in noisy]
        again = len(noisy) > len({verdict.verifier for verdict in noisy}) and not self._probes_due()
        return (
            (again or not self._askable(node, view))
            and all(v.passed for v in certain)
            and self.probability(node) >= self.accept
        )

    def appraise(self, view: TreeView, accepted: NodeId | None = None) -> Appraisal:
        """Return the best believed node with the probability that it is right; none where that is below `abstain`."""
        best = self._best(view) if accepted is None else view[accepted]
        if best is None or best.id not in self._belief:
            return Appraisal(self.inner.select(view) if best is None else best.id)
        probability = self.probability(best.id)
        source = "the search's own model of its verifiers' noise, " + (
            f"calibrated on {self.calibration.tasks} tasks" if self.calibration is not None else "not calibrated"
        )
        if accepted is None and probability < self.abstain:
            why = f"the best answer is right with probability {probability:.2f}, less than {self.abstain:g} ({source})"
            return Appraisal(None, probability, why)
        return Appraisal(best.id, probability, source)

    def select(self, view: TreeView) -> NodeId | None:
        """Return the best believed node, None to abstain."""
        return self.appraise(view).node
