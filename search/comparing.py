"""The moment at which candidates are there: verifiers that compare are asked once, at the end, and their verdicts decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from ..core.errors import UsageError
from ..core.events import Cancelled, Denied, Event, Expand, Failed, Judged, Resumed, Score, Work, WorkStarted
from ..core.protocols import Appraisal
from ..core.tree import TreeView
from ..core.types import ROOT, Node, NodeId, WorkId
from .common import MAX_FAILURES, within
from .controller import Controller
from .equivalence import key

Finalists = tuple[NodeId, ...]


@dataclass
class Comparing(Controller):
    """Run a strategy, and have the best candidates compared when it has nothing more to do, or when the budget runs short.

    An agent with a verifier of scope "set" runs every strategy like this by itself; write it out to choose the options. The
    verdicts of such verifiers decide among the nodes that they compared: the one with the highest mean of their rankings is
    chosen, the better judged one where these are equal. Candidates with equal answers are compared once.

    Args:
        inner: the strategy.
        verifiers: names of the verifiers that compare; a run fills them in.
        most: at most so many candidates are compared: the best judged; without verdicts the most frequent answers. >= 2.
        reserve: share of the budget that is left for the comparison, in [0, 1).
    """

    name: ClassVar[str] = "comparing"
    verifiers: tuple[str, ...] = ()
    most: int = 8
    reserve: float = 0.1
    _asked: dict[WorkId, tuple[str, Finalists]] = field(
        default_factory=dict[WorkId, tuple[str, Finalists]], init=False, repr=False
    )
    """Comparisons in flight."""
    _compared: dict[str, Finalists] = field(default_factory=dict[str, Finalists], init=False, repr=False)
    """What each verifier compared last."""
    _rankings: dict[str, Mapping[NodeId, float]] = field(
        default_factory=dict[str, Mapping[NodeId, float]], init=False, repr=False
    )
    _failures: Counter[str] = field(default_factory=Counter[str], init=False, repr=False)
    _refused: bool = field(default=False, init=False, repr=False)
    """Whether the budget refused to expand."""
    _begun: int = field(default=0, init=False, repr=False)
    """Expansions so far, those in flight among them."""

    def __post_init__(self) -> None:
        within("most", self.most, 2)
        within("reserve", self.reserve, 0.0, 0.99)
        if getattr(self.inner, "compares", False):
            raise UsageError(f"{self.inner.name} has verifiers compare by itself; run it without Comparing around it")

    def asking(self, verifiers: Sequence[str]) -> Self:
        """Return a controller that asks these verifiers unless it was told which to ask."""
        return self if self.verifiers else replace(self, verifiers=tuple(verifiers))

    # --- asking ---

    def ask(self, view: TreeView, slots: int) -> Sequence[Work]:
        """Return what the inner strategy wants; comparisons when that is nothing, or the end is near."""
        wanted = self.inner.ask(view, self._room(view, slots))
        if wanted or view.in_flight or slots < 1:
            return wanted
        finalists = self.finalists(view)
        if len(finalists) < 2:
            return []
        due = [v for v in self.verifiers if self._compared.get(v) != finalists and self._failures[v] < MAX_FAILURES]
        return [Score(WorkId(view.next_work + n), ROOT, (name,), finalists) for n, name in enumerate(due)]

    def _room(self, view: TreeView, slots: int) -> int:
        """Return how many expansions may be begun: so many as leave the reserve, going by what those before have cost."""
        if self._refused:
            return 0
        flying = sum(isinstance(work, Expand) for work in view.in_flight.values())
        if view.share_left is None or self._begun == flying:
            return slots
        each = (1 - view.share_left) / (self._begun - flying)
        left = view.share_left - self.reserve
        return max(0, min(slots, int(left / each) - flying if each > 0 else slots))

    def finalists(self, view: TreeView) -> Finalists:
        """Return the candidates to compare, the likeliest first: nodes with an answer, where there are none judged ones."""
        nodes = [node for node in view if node.id != ROOT and view.status(node.id) != "pruned"]
        answered = [node for node in nodes if node.answer is not None]
        same: dict[Hashable, list[Node]] = {}
        for node in answered or [node for node in nodes if view.verdicts(node.id)]:
            same.setdefault(_same(node), []).append(node)
        ranked = sorted((_rank(view, group) for group in same.values()), reverse=True)
        return tuple(NodeId(-number) for *_, number in ranked[: self.most])

    # --- being told ---

    def tell(self, events: Sequence[Event], view: TreeView) -> None:
        """Take in what happened; the inner strategy is told all but the comparisons."""
        for event in events:
            match event:
                case WorkStarted(Score(work, _, (name,), among)) if among:
                    self._asked[work] = (name, among)
                    continue
                case WorkStarted(Expand()):
                    self._begun += 1
                case Resumed():
                    self._refused = False
                    self._failures.clear()
                case Denied(work) if work not in self._asked:
                    self._refused = True
                case _:
                    pass
            if isinstance(event, Judged | Failed | Cancelled | Denied) and event.work in self._asked:
                self._settle(event)
            else:
                self.inner.tell((event,), view)

    def _settle(self, event: Judged | Failed | Cancelled | Denied) -> None:
        name, among = self._asked.pop(event.work)
        rankings = (
            [verdict.ranking for verdict in event.verdicts if verdict.ranking] if isinstance(event, Judged) else []
        )
        if rankings:
            self._compared[name], self._rankings[name] = among, rankings[0]
        elif not isinstance(event, Cancelled):
            self._failures[name] += 1

    # --- choosing ---

    def appraise(self, view: TreeView, accepted: NodeId | None = None) -> Appraisal:
        """Return the node that won the comparison; the accepted one, or the inner strategy's choice, where there was none."""
        before = super().appraise(view, accepted)
        winner = None if accepted is not None or before.node is None else self._winner(view)
        return before if winner is None or winner == before.node else Appraisal(winner)

    def _winner(self, view: TreeView) -> NodeId | None:
        scores: dict[NodeId, list[float]] = {}
        for ranking in self._rankings.values():
            for node, value in ranking.items():
                if node in view and view.status(node) != "pruned":
                    scores.setdefault(node, []).append(value)
        if not scores:
            return None
        order = {node: -place for place, node in enumerate(self.finalists(view))}
        return max(scores, key=lambda n: (sum(scores[n]) / len(self._rankings), order.get(n, -len(view)), -n))


def _same(node: Node) -> Hashable:
    """What candidates have in common that need not be compared with each other."""
    if node.answer is not None:
        return "answer", key(node.answer, "exact")
    return "state", node.env_ref if node.env_ref is not None else node.id


def _rank(view: TreeView, group: Sequence[Node]) -> tuple[bool, float, int, int]:
    """How promising equal candidates are, and minus the number of the one that stands for them: the best judged, then the first."""
    judged = [(value, -node.id) for node in group if (value := view.value(node.id)) is not None]
    value, number = max(judged) if judged else (-1.0, -min(node.id for node in group))
    return any(view.passed(node.id) for node in group), value, len(group), number
