"""The LangGraph machines, and the runner that takes an agent through them."""

from .journal import Run, RunRecord, RunStore
from .runner import LocalRunner, Running
from .search import Search

__all__ = ["LocalRunner", "Run", "RunRecord", "RunStore", "Running", "Search"]
