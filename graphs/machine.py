# LangGraph's signatures are partly untyped.
# pyright: reportUnknownMemberType=false
"""The search machine as LangGraph sees it: a graph with one looping node, `drive`, another where it waits for people, and the journal that it checkpoints.

    START -> drive -+-> END
               ^----+-> person -> drive

LangGraph takes most of a second to load, so only what runs a search imports this module; `stored` reads journals without.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, TypedDict, cast

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, interrupt

from ..core.events import Event, decode, encode
from ..core.tree import Tree
from .delta import JournalChannel
from .search import Search


class SearchState(TypedDict, total=False):
    """What LangGraph checkpoints of a search."""

    journal: Annotated[list[str], JournalChannel()]
    """Batches of events, each one JSON text (`core.events.encode`)."""
    phase: str
    """`search` while it goes on, then `done`."""


def events_of(state: SearchState) -> list[Event]:
    """Return the events of a checkpointed search.

    Raises:
        JournalVersionMismatch: another version wrote it.
    """
    return [event for batch in state.get("journal", []) for event in decode(batch)]


async def _drive(state: SearchState, runtime: Runtime[Search]) -> dict[str, Any]:
    search = runtime.context
    events = await search.step(lambda: events_of(state))
    stopped = search.tree.stopped
    phase = "search" if stopped is None else "waiting" if stopped.reason == "waiting" else "done"
    update: dict[str, Any] = {"phase": phase}
    if events and search.journaled:
        update["journal"] = [encode(events)]
    return update


def _person(state: SearchState, runtime: Runtime[Search]) -> dict[str, Any]:  # noqa: ARG001 - LangGraph passes it
    """Wait for people; `Command(resume={id: answer, ...})` goes on, with answers or to ask once more."""
    questions = [q.to_json() for asked in runtime.context.tree.questions.values() for q in asked]
    answers: Any = interrupt({"questions": questions})
    if isinstance(answers, dict):
        runtime.context.answered(cast("dict[str, Any]", answers))
    return {"phase": "search"}


async def _where_next(state: SearchState) -> str:  # LangGraph would have a thread run it if it were not asynchronous
    return {"search": "drive", "waiting": "person"}.get(state.get("phase", ""), END)


Machine = CompiledStateGraph[SearchState, Search, SearchState, SearchState]


def search_graph() -> StateGraph[SearchState, Search, SearchState, SearchState]:
    """Return the uncompiled machine, to be compiled with a saver."""
    graph = StateGraph(SearchState, context_schema=Search)
    graph.add_node("drive", _drive)
    graph.add_edge(START, "drive")
    graph.add_node("person", _person)
    graph.add_conditional_edges("drive", _where_next, ["drive", "person", END])
    graph.add_edge("person", "drive")
    return graph


async def run_search(search: Search, graph: Machine, thread: str, *, once: bool = False) -> Tree:
    """Run the machine to its end, from the beginning or from where its journal ends.

    Args:
        search: what is run.
        graph: the machine.
        thread: name of the journal.
        once: leave a search alone that has ended: only its journal is read. One that was interrupted has not.

    Returns:
        The tree with its selected node.
    """
    config: Any = {"configurable": {"thread_id": thread}, "recursion_limit": 2**31 - 1}
    # In step: LangGraph's "async" lets super-steps run ahead of their checkpoints, and a kill would lose finished work.
    # Waiting costs the search nothing but a moment: what is in flight goes on.
    durable: dict[str, Any] = {"durability": "sync"} if graph.checkpointer else {}
    go_on = partial(graph.ainvoke, config=config, context=search, **durable)
    search.journaled = graph.checkpointer is not None
    try:
        if graph.checkpointer is not None:
            state = await graph.aget_state(config)
            if state.next == ("person",):
                # Whatever was answered is in the log; what was not is asked again.
                await go_on(Command(resume=True))
            elif state.next:
                # None lets LangGraph finish the super-step in which an earlier process was killed.
                await go_on(None)
            elif once:
                search.replay(events_of(cast("SearchState", state.values)))
        if search.tree.stopped is None:
            # A run that begins, or an ended one that goes on: its journal is read, and a new round of it begins.
            await go_on({"phase": "search"})
    finally:
        await search.close()
    return search.tree
