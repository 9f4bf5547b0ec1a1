"""Search strategies: pure ask/tell objects that decide what to try next."""

from .a_star import AStar
from .ab_mcts import ABMCTS
from .beam import DVTS, Beam, StepBestOfN, TotBFS
from .best_first import BestFirst
from .best_of_n import BestOfN
from .calibration import Calibration, expected_calibration_error, threshold_for
from .common import BaseStrategy
from .controllers import NoiseAware
from .depth_first import TotDFS
from .lookahead import Lookahead
from .mcts import PUCT, UCT
from .named import parse_selector, parse_strategy
from .particle_gibbs import ParticleGibbs
from .particles import Particles
from .rebase import Rebase
from .rollover import Rollover
from .selectors import Best, best_by_verdict
from .soft_tree import SoftTree

__all__ = [  # noqa: RUF022 - in plain order, which a test checks
    "ABMCTS",
    "AStar",
    "BaseStrategy",
    "Beam",
    "Best",
    "BestFirst",
    "BestOfN",
    "Calibration",
    "DVTS",
    "Lookahead",
    "NoiseAware",
    "PUCT",
    "ParticleGibbs",
    "Particles",
    "Rebase",
    "Rollover",
    "SoftTree",
    "StepBestOfN",
    "TotBFS",
    "TotDFS",
    "UCT",
    "best_by_verdict",
    "expected_calibration_error",
    "parse_selector",
    "parse_strategy",
    "threshold_for",
]
