"""Teams: several searches and calls that make one answer together."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from ..core.types import Result


@runtime_checkable
class Team(Protocol):
    """How an agent's searches work together: `Agent(team=...)`. `branchwise.graphs.teams` has those that come along.

    Its `repr` is what a run is recorded with, so it should show everything that it was made with; a frozen dataclass does.
    """

    @property
    def name(self) -> str:
        """Name of its thread in the journal, beside the agent's searches."""
        ...

    def graph(self) -> Any:
        """Return the uncompiled `StateGraph`, whose nodes work with a `Stage` as their context.

        Its state begins empty and is checkpointed: plain data only. A node that a kill cut off runs again from its start.
        """
        ...

    async def result(self, state: Any, stage: Any) -> Result:
        """Return what the team came to.

        Args:
            state: the graph's last state.
            stage: the `Stage`, to have the `Result` of a search again by its name.
        """
        ...
