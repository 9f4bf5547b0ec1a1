"""Archon: layers of generators, critics, rankers, checkers, unit tests and fusers that make one answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...core.types import Result, StopReason
from .archon_rules import calls_of, check_layers, layers_of
from .archon_work import ArchonState, Row, made
from .components import Component, Layer, described

if TYPE_CHECKING:
    from ..stage import Stage
    from .archon_graph import ArchonGraph


@dataclass(frozen=True, init=False, repr=False)
class Archon:
    """A list of layers that make, criticise, choose and fuse candidates: `Agent(team=Archon([...]))`.

    Saad-Falcon et al. (2024), Archon: An Architecture Search Framework for Inference-Time Techniques. Every candidate is a search of
    the agent, so its tools, its sandbox and its strategy work in each; the rest are single calls. Differs: a
    candidate that the agent's verifiers accept ends it, as it ends every search; equal candidates are one, and how many they were
    is kept: wherever a layer has nothing to go by, the most frequent comes first. Where the paper's last layer would take one of
    several by chance, the last layer here must leave one.

    Each search gets its part of what is left of the budget: one in as many as there are searches and calls to come. A layer that
    the budget, a model or a reply fails leaves the candidates as they are, and `Result.report["layers"]` says so.

    Args:
        layers: each a component or several of a kind: `Generator` first; `Critic` directly before `Ranker` or `Fuser`; `Ranker` before a
            `Fuser`, or last; `UnitTestWriter` directly before `UnitTestEvaluator`; `Checker` anywhere; last what leaves one candidate.

    Raises:
        UsageError: the layers cannot follow each other like this.
    """

    layers: tuple[Layer, ...]

    def __init__(self, layers: Iterable[Component | Iterable[Component]]) -> None:
        object.__setattr__(self, "layers", layers_of(layers))
        check_layers(self.layers)

    def __repr__(self) -> str:
        return f"Archon({described([list(layer) for layer in self.layers])})"

    @property
    def name(self) -> str:
        """Name of its thread in the journal."""
        return "archon"

    @property
    def calls(self) -> int:
        """Searches and calls that it makes at most, turns of tools left out."""
        return sum(calls_of(self.layers))

    def graph(self) -> ArchonGraph:
        """Return the uncompiled graph: one node for each layer."""
        from .archon_graph import archon_graph  # LangGraph takes its time to load

        return archon_graph(self.layers)

    async def result(self, state: ArchonState, stage: Stage) -> Result:
        """Return the candidate that the last layer left, with what each layer did."""
        candidates, layers = state.get("candidates", []), state.get("layers", [])
        chosen: Row = candidates[0] if candidates else {"search": state.get("nothing", "")}
        result = await made(stage, self.layers, chosen)
        report = {**result.report, "layers": layers, "candidate": dict(chosen)}
        if short := [str(row["layer"]) for row in layers if row.get("short")]:
            detail = f"the budget ran short in layer {', '.join(short)} of the Archon"
            reason: StopReason = "accepted" if result.accepted else "budget"
            return replace(result, stop_reason=reason, stop_detail=detail, report=report)
        return replace(result, report=report)
