"""What is shown while a search runs."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..core.budget import LIMITS
from ..graphs import Running
from .tree_view import draw

REFRESH_PER_SECOND = 4


class LiveView:
    """The tree, tokens in flight, budget left and best verdict, redrawn a few times a second.

    Where the output is no terminal, a line now and then takes its place.
    """

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._running: Running | None = None
        self._note = ""
        self._live: Live | None = None

    def started(self, running: Running) -> None:
        """Show this run from now on."""
        self._running = running

    def note(self, text: str) -> None:
        """Show a line below the tree."""
        self._note = text

    @contextmanager
    def showing(self) -> Generator[None]:
        """Show the view while the block runs."""
        if not self._console.is_terminal:
            yield
            return
        self._begin()
        try:
            yield
        finally:
            self._end()

    @contextmanager
    def paused(self) -> Generator[None]:
        """Leave the terminal to somebody else while the block runs."""
        shown = self._live is not None
        self._end()
        try:
            yield
        finally:
            if shown:
                self._begin()

    def _begin(self) -> None:
        """Show the view below what stands on the terminal.

        Each time another one: one that is started again would first wipe as many lines as it had when it ended.
        """
        self._live = Live(
            get_renderable=self._render, console=self._console, refresh_per_second=REFRESH_PER_SECOND, transient=True
        )
        self._live.start(refresh=True)

    def _end(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _render(self) -> RenderableType:
        if self._running is None:
            return Text(f"{self._title}: starting model and sandbox …", style="dim")
        rows: list[RenderableType] = [self._status(self._running)]
        height = max(6, self._console.height - 8)
        if (search := self._running.search) is not None:
            rows.append(draw(search.tree, title=self._title, most=height))
        if self._note:
            rows.append(Text(self._note, style="yellow"))
        return Group(*rows)

    def _status(self, running: Running) -> RenderableType:
        ledger, trees = running.ledger, [search.tree for search in running.resources.searches.values()]
        grid = Table.grid(padding=(0, 3))
        best = max((v for tree in trees for node in tree if (v := tree.value(node.id)) is not None), default=None)
        grid.add_row(
            f"[bold]{running.run_id}[/]",
            f"{sum(len(tree) - 1 for tree in trees)} nodes, {running.in_flight} in flight",
            f"{running.calls_in_flight} calls, {running.tokens_in_flight} tokens in flight",
            f"best {best:.2f}" if best is not None else "nothing judged yet",
        )
        grid.add_row(f"[dim]{time.strftime('%M:%S', time.gmtime(ledger.elapsed_seconds))}[/]", *budget_left(running))
        return grid


def budget_left(running: Running) -> list[str]:
    """Return what is left of each limit that was set, in words."""
    ledger = running.ledger
    parts: list[str] = []
    if (seconds := ledger.seconds_left) is not None:
        parts.append(f"{seconds:.0f} s left")
    for name in LIMITS:
        cap = getattr(ledger.budget, name)
        if cap is not None and (left := ledger.left(name)) is not None:
            parts.append(f"{left:g} of {cap:g} {name} left")
    return parts or [f"{ledger.spent.tokens} tokens spent, no limit set"]
