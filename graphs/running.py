"""A run under way, as those see it who look on or want it to end."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.budget import Ledger
from .resources import Resources
from .search import Search


@dataclass(frozen=True)
class Running:
    """A run under way: what a live view looks at, and the handle to stop it."""

    resources: Resources
    ledger: Ledger
    """Budget, spent and reserved."""

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.resources.record.run_id

    @property
    def search(self) -> Search | None:
        """The run's own search; within a run of several the one that began last of those that go on, or the last of all."""
        searches = self.resources.searches
        if "" in searches:
            return searches[""]
        going = [search for search in searches.values() if search.tree.stopped is None]
        known = going or list(searches.values())
        return known[-1] if known else None

    @property
    def searches_in_flight(self) -> int:
        """How many searches of the run go on."""
        return sum(search.tree.stopped is None for search in self.resources.searches.values())

    @property
    def in_flight(self) -> int:
        """Work items in flight, over all searches."""
        return sum(search.in_flight for search in self.resources.searches.values())

    @property
    def calls_in_flight(self) -> int:
        """Model calls at the server now."""
        return len(self.resources.meters)

    @property
    def tokens_in_flight(self) -> int:
        """Tokens that the calls in flight have sampled so far."""
        return sum(meter.completion_tokens for meter in self.resources.meters.values())

    def interrupt(self) -> None:
        """Stop soon with the best so far; the run can be resumed."""
        self.resources.interrupt()
