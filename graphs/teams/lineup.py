"""Candidates of several searches side by side in one tree, for verifiers that judge or compare them, and as a prompt shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from ...core.budget import Bill
from ...core.errors import UsageError, VerifierError
from ...core.events import Expand, Expanded, Judged, Score, WorkStarted
from ...core.protocols import Candidate, Environment, Verifier
from ...core.tree import Tree
from ...core.types import ROOT, Node, NodeId, Result, Step, Verdict, WorkId
from ...verifiers.fence import fenced
from ...verifiers.showing import Show, shown
from ..stage import Stage


@dataclass(frozen=True, slots=True)
class Entrant:
    """One candidate."""

    result: Result
    """Of the search that made it; it chose a node."""
    count: int = 1
    """How many searches came to the same."""
    said: str = ""
    """What a critic said of it."""


class Lineup:
    """The candidates of a place in one tree: each trajectory hangs under one root, the task's own files.

    Args:
        stage: where they are judged, and what pays.
        entrants: the candidates.
        diff: tells what changed between two states of the sandbox; None without one.
    """

    def __init__(self, stage: Stage, entrants: Sequence[Entrant], diff: Callable[[str, str], Any] | None) -> None:
        self.stage = stage
        self.entrants = entrants
        self._diff = diff or _no_sandbox
        self.tree = Tree(Node(ROOT, None, None, stage.origin))
        self.nodes = [self._graft(entrant) for entrant in entrants]

    @classmethod
    async def of(cls, stage: Stage, entrants: Sequence[Entrant]) -> Lineup:
        """Return the candidates of a place side by side."""
        supply = await stage.scope.resources.sandboxes(stage.agent)
        return cls(stage, entrants, None if supply is None else supply[0].diff)

    def _graft(self, entrant: Entrant) -> NodeId:
        """Hang a candidate's trajectory into the tree; return its last node."""
        result = entrant.result
        assert result.node is not None
        path = result.tree.path(result.node)
        steps = path[1:] or [replace(path[0], step=Step("thought", ""))]
        parent = ROOT
        for place, node in enumerate(steps, start=1):
            work = self.tree.next_work
            self.tree.apply(WorkStarted(Expand(work, parent)))
            # What the step was shown beside its trajectory stands in another tree.
            step = None if node.step is None else replace(node.step, framing=None)
            # Where the files are the answer there need be no other; verifiers of answers are asked all the same.
            answer = node.answer or ("" if place == len(steps) else None)
            new = replace(node, id=NodeId(work), parent=parent, step=step, depth=place, answer=answer)
            self.tree.apply(Expanded(work, new))
            parent = new.id
        verdicts = [verdict for verdict in result.verdicts if verdict.ranking is None]
        if entrant.said:
            verdicts.append(Verdict(0.5, "outcome", "critic", feedback=entrant.said))
        work = self.tree.next_work
        self.tree.apply(WorkStarted(Score(work, parent)))
        self.tree.apply(Judged(work, parent, tuple(verdicts)))
        return parent

    # --- judging ---

    async def compare(self, name: str, verifier: Verifier, places: Sequence[int]) -> list[float]:
        """Return what the candidates at some places are worth beside each other, by a verifier that compares.

        Args:
            name: unique within the graph.
            verifier: of scope "set".
            places: of the candidates to compare.

        Raises:
            VerifierError, ModelError, SandboxError, BudgetExceeded: there is no verdict.
        """
        among = tuple(self.nodes[place] for place in places)
        for verdict in await self._score(name, verifier, Score(WorkId(1), ROOT, (verifier.name,), among)):
            if verdict.ranking is not None:
                return [verdict.ranking.get(node, 0.0) for node in among]
        raise VerifierError(f"verifier {verifier.name!r} ranked no candidate")

    async def judge(self, name: str, verifier: Verifier, place: int) -> Verdict:
        """Return what a verifier says of one candidate.

        Args:
            name: unique within the graph.
            verifier: of scope "answer" or "state".
            place: of the candidate.

        Raises:
            VerifierError, ModelError, SandboxError, BudgetExceeded: there is no verdict.
        """
        verdicts = await self._score(name, verifier, Score(WorkId(1 + place), self.nodes[place], (verifier.name,)))
        if not verdicts:
            raise VerifierError(f"verifier {verifier.name!r} has nothing to judge in candidate {place + 1}")
        return verdicts[0]

    async def _score(self, name: str, verifier: Verifier, work: Score) -> tuple[Verdict, ...]:
        agent = replace(self.stage.agent, verifiers=(verifier,), select=None)
        solver = await self.stage.scope.within(name).solver(agent, self.stage.task, self.stage.origin)
        return await solver.score(work, self.tree, Bill())

    # --- showing ---

    def candidate(self, place: int, *, model: Any = None, seed: int = 0) -> Candidate:
        """Return a candidate to look at: it opens no sandbox."""
        path, models = self.tree.path(self.nodes[place]), {} if model is None else {model.name: model}
        return Candidate(
            self.stage.task, path, self.stage.origin, _unopened, self._diff, model, self.tree, seed=seed, models=models
        )

    def text(self, place: int, show: Show | None) -> str:
        """Return a candidate as a prompt shows it.

        Args:
            place: which.
            show: what of it; None for its changes to the task's files, all its steps where it has made none.
        """
        here, origin = self.tree[self.nodes[place]], self.stage.origin
        changes = origin is not None and here.env_ref not in {None, origin}
        return shown(self.candidate(place), show or ("changes" if changes else "steps"))

    def said(self, place: int) -> str:
        """Return what verifiers and critics said of a candidate."""
        verdicts = self.tree.verdicts(self.nodes[place])
        return "\n\n".join(f"[{verdict.verifier}] {verdict.feedback}" for verdict in verdicts if verdict.feedback)

    def blocks(self, places: Sequence[int], show: Show | None, *, said: bool = True) -> str:
        """Return candidates for a prompt, numbered from 1, each with how often it was given and what was said of it."""
        blocks: list[str] = []
        for number, place in enumerate(places, start=1):
            entrant = self.entrants[place]
            times = f", given {entrant.count} times" if entrant.count > 1 else ""
            blocks.append(fenced(f"solution {number}{times}", self.text(place, show)))
            if said and (words := self.said(place)):
                blocks.append(fenced(f"said of solution {number}", words))
        return "\n\n".join(blocks)


def _unopened(_ref: str | None) -> AbstractAsyncContextManager[Environment]:
    _no_sandbox()


def _no_sandbox(*_: object) -> NoReturn:
    raise UsageError("this candidate is only looked at; verifiers that run code are asked by Lineup.judge")
