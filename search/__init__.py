"""Search strategies: pure ask/tell objects that decide what to try next."""

from .best_first import BestFirst
from .best_of_n import BestOfN
from .common import BaseStrategy
from .named import parse_strategy
from .selectors import best_by_verdict

__all__ = ["BaseStrategy", "BestFirst", "BestOfN", "best_by_verdict", "parse_strategy"]
