"""The LangGraph machines, and the runner that takes an agent through them."""

from typing import TYPE_CHECKING

from ..core.lazy import lazily

if TYPE_CHECKING:
    from .journal import Run, RunRecord, RunStore
    from .runner import LocalRunner
    from .running import Running
    from .search import Search
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {"journal": "Run RunRecord RunStore", "runner": "LocalRunner", "running": "Running", "search": "Search"},
    )

__all__ = ["LocalRunner", "Run", "RunRecord", "RunStore", "Running", "Search"]
