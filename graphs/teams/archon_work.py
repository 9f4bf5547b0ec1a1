"""One layer of an Archon at work: what all kinds of layers have in common, and the state that is handed on.

Nothing that a model says can break a layer: one that fails leaves the candidates as they are, the most frequent answer first,
and says so in the report.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypedDict

from ...agents.agent import Agent
from ...core.errors import BranchwiseError, BudgetExceeded, ModelError, SandboxError, VerifierError
from ...core.protocols import Verifier
from ...core.types import JSON, Result, Verdict
from ..stage import Stage
from .components import Component, Fuser, Generator, Layer
from .lineup import Entrant, Lineup

BEARABLE = (VerifierError, ModelError, SandboxError, BudgetExceeded)
"""What a layer can fail with and the Archon goes on."""

_PLACE = re.compile(r"[a-z]+(\d+)\.(\d+)\.")
"""Layer and component in the name of a search; groups of candidates are fused by component 0, the first."""

Row = dict[str, JSON]
"""A candidate between two layers: `search` made it, `count` searches came to the same, a critic `said` something of it."""


class ArchonState(TypedDict, total=False):
    """What LangGraph checkpoints; plain data."""

    candidates: list[Row]
    """The best first, as far as is known; before that the most frequent."""
    tests: list[str]
    """Unit tests, between their writer and their evaluator."""
    layers: list[Row]
    """One row for each layer that is done: what it made of how many candidates."""
    nothing: str
    """A search that came to nothing, where all of them did."""
    over: bool
    """Whether the verifiers accepted a candidate, or there is none: no further layer is needed."""


@dataclass
class Work(ABC):
    """One layer at work.

    Args:
        number: of the layer, from 1.
        layers: all layers of the Archon.
        stage: where it works.
        state: as the layers before left it.
    """

    number: int
    layers: Sequence[Layer]
    stage: Stage
    state: ArchonState
    notes: list[str] = field(default_factory=list[str], init=False)
    """What went wrong, for the report."""
    short: bool = field(default=False, init=False)
    """Whether a limit of the budget was reached."""

    @abstractmethod
    async def changed(self, before: Sequence[Row]) -> ArchonState:
        """Do the layer's work on the candidates that there are; return what it changes of the state."""

    @property
    def layer(self) -> Layer:
        """Its components."""
        return self.layers[self.number - 1]

    @property
    def component(self) -> Component:
        """The first of them; the only one of most kinds."""
        return self.layer[0]

    async def done(self) -> ArchonState:
        """Do the layer's work; return what has changed, with its row of the report."""
        if self.number == 1:
            self.state = {}  # a run that goes on after its end goes through its layers once more
        before = self.state.get("candidates", [])
        changed = await self.changed(before)
        after = changed.get("candidates", before)
        row: Row = {"layer": self.number, "kind": self.component.kind, "before": len(before), "after": len(after)}
        row |= {"notes": self.notes} if self.notes else {}
        row |= {"short": True} if self.short else {}
        return {**changed, "layers": [*self.state.get("layers", []), row]}

    def note(self, error: BaseException | str) -> None:
        """Keep what went wrong for the report."""
        self.short |= isinstance(error, BudgetExceeded)
        self.notes.append(error if isinstance(error, str) else f"{type(error).__name__}: {error}")

    async def lineup(self, rows: Sequence[Row]) -> Lineup:
        """Return the candidates side by side, with what their searches came to."""
        results = [await made(self.stage, self.layers, row) for row in rows]
        entrants = [
            Entrant(result, int(row["count"]), str(row.get("said", "")))
            for row, result in zip(rows, results, strict=True)
        ]
        return await Lineup.of(self.stage, entrants)

    async def verdicts(
        self, verifier: Verifier, lineup: Lineup, places: Sequence[int], why: str
    ) -> list[Verdict | None]:
        """Return what a verifier says of some candidates, None where it has no verdict."""
        found = await self.stage.together(
            *(lineup.judge(f"{why}{self.number}.{place + 1}", verifier, place) for place in places)
        )
        for error in found:
            if isinstance(error, BranchwiseError):
                self.note(error)
        return [None if isinstance(verdict, BranchwiseError) else verdict for verdict in found]


def member(stage: Stage, part: Generator | Fuser) -> Agent:
    """Return the agent for one search of an Archon: the stage's own, with a component's model and temperature."""
    agent = replace(stage.agent, team=None, plan=None, final=(), rounds=0, search=stage.strategy)
    if part.temperature is not None:
        agent = replace(agent, sampling=replace(agent.sampling, temperature=part.temperature))
    return agent if part.model is None else replace(agent, model=part.model)


async def made(stage: Stage, layers: Sequence[Layer], row: Row) -> Result:
    """Return what the search of a candidate came to, also where an earlier process ran it."""
    name = str(row["search"])
    place = _PLACE.match(name)
    assert place is not None
    part = layers[int(place[1]) - 1][max(0, int(place[2]) - 1)]
    assert isinstance(part, Generator | Fuser)
    return await stage.search(name, agent=member(stage, part))


def grouped(places: Sequence[int], most: int) -> list[list[int]]:
    """Return places in as few groups of at most `most` as there can be, of about the same size."""
    count = -(-len(places) // most)
    return [list(places[number::count]) for number in range(count)]


def says_yes(verdict: Verdict | None) -> bool:
    """Whether a verifier found a candidate right; what it had no verdict on it did not."""
    if verdict is None:
        return False
    return verdict.value >= 0.5 if verdict.passed is None else verdict.passed
