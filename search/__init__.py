"""Search strategies: pure ask/tell objects that decide what to try next."""

from .beam import DVTS, Beam, StepBestOfN, TotBFS
from .best_first import BestFirst
from .best_of_n import BestOfN
from .common import BaseStrategy
from .mcts import PUCT, UCT
from .named import parse_strategy
from .rebase import Rebase
from .selectors import best_by_verdict

__all__ = [  # noqa: RUF022 - in plain order, which a test checks
    "BaseStrategy",
    "Beam",
    "BestFirst",
    "BestOfN",
    "DVTS",
    "PUCT",
    "Rebase",
    "StepBestOfN",
    "TotBFS",
    "UCT",
    "best_by_verdict",
    "parse_strategy",
]
