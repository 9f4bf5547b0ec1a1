# LangGraph's signatures are partly untyped.
# pyright: reportUnknownMemberType=false
"""The graph of an Archon: one node for each layer, and a way out where no further layer is needed.

LangGraph takes its time to load, so only what runs or draws an Archon imports this module.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from ..stage import Stage
from .archon_layers import do_layer
from .archon_work import ArchonState
from .components import Fuser, Generator, Layer

ArchonGraph = StateGraph[ArchonState, Stage, ArchonState, ArchonState]


def archon_graph(layers: Sequence[Layer]) -> ArchonGraph:
    """Return the uncompiled graph of some layers."""
    graph = StateGraph(ArchonState, context_schema=Stage)
    names = [f"{layer[0].kind}{number}" for number, layer in enumerate(layers, start=1)]
    for number, name in enumerate(names, start=1):
        graph.add_node(name, _node(layers, number))
    graph.add_edge(START, names[0])
    for layer, name, following in zip(layers, names, [*names[1:], END], strict=True):
        if isinstance(layer[0], Generator | Fuser) and following != END:
            graph.add_conditional_edges(name, _where_next(following), [following, END])
        else:
            graph.add_edge(name, following)
    return graph


class _Node(Protocol):
    """What LangGraph takes for a node."""

    def __call__(self, state: ArchonState, *, runtime: Runtime[Stage]) -> Awaitable[ArchonState]: ...


def _node(layers: Sequence[Layer], number: int) -> _Node:
    async def node(state: ArchonState, runtime: Runtime[Stage]) -> ArchonState:
        return await do_layer(number, layers, runtime.context, state)

    return node


def _where_next(following: str) -> Callable[[ArchonState], str]:
    def where(state: ArchonState) -> str:
        return END if state.get("over") else following

    return where
