"""Search strategies: pure ask/tell objects that decide what to try next."""

from .a_star import AStar
from .ab_mcts import ABMCTS
from .adaptive import AdaptiveSampling, EarlyPruning, by_rank, restart_outcomes
from .bandit import UCB
from .bayes_risk import MinimumBayesRisk
from .beam import DVTS, Beam, StepBestOfN, TotBFS
from .best_first import BestFirst
from .best_of_n import BestOfN
from .block_table import BlockTable, BlockVisit, block_episode
from .calibration import Calibration, expected_calibration_error, threshold_for
from .commit import CommitSearch
from .common import BaseStrategy
from .comparing import Comparing
from .compute_optimal import ComputeOptimal, PolicyTable, Trial, ease
from .controller import Controller
from .controllers import NoiseAware
from .cost_of_pass import cost_of_pass, cost_of_pass_interval, frontier, frontier_cost
from .coverage import BetaCoverage, PowerCoverage, coverage, extrapolated, pass_at_k
from .deep_prune import DeepPrune, alike_outcomes
from .depth_first import TotDFS
from .estimation import Interval
from .first_finish import FirstFinish, ShortMajority
from .fork_join import ForkJoin, critical_path_tokens
from .hedged import Hedged
from .iterative import IterativeDecoding
from .lengths import Shortness
from .lookahead import Lookahead
from .majority import BestOfMajority, MajoritySampling
from .mcts import PUCT, UCT
from .multi_temperature import MultiTemperature
from .named import parse_selector, parse_strategy
from .navigation import BlockRules, BlockScores, BlockSituation, WanderingBlocks
from .parallel_thinking import ParallelThinking
from .particle_gibbs import ParticleGibbs
from .particles import Particles
from .peers import LearnFromPeers
from .perplexity import PerplexityConsistency
from .rare import samples_needed, success_rate
from .rebase import Rebase
from .resampling import Resampling, ResamplingLimit, resampling_ceiling, verifier_rates
from .retrieval import RetrievalUCT
from .rollover import Rollover
from .safe_beam import SafeBeam
from .sampled import SelfConsistency
from .saturation import Saturation, SaturationLaw, systematic_misfit
from .selectors import Best, best_by_verdict
from .self_refine import SelfRefine
from .shared_transcript import SharedTranscript
from .soft_tree import SoftTree
from .solve_detect_verify import SolveDetectVerify
from .solve_verify import PooledProblem, SolveOrVerify
from .three_axes import Allocation, Saturating, Scaling, allocate
from .token_plan import efficiency, largest_remainder, schedule_weights, share_tokens
from .turns import Turns
from .voting import Vote

__all__ = [  # noqa: RUF022 - in plain order, which a test checks
    "ABMCTS",
    "AStar",
    "AdaptiveSampling",
    "Allocation",
    "BaseStrategy",
    "Beam",
    "Best",
    "BestFirst",
    "BestOfMajority",
    "BestOfN",
    "BetaCoverage",
    "BlockRules",
    "BlockScores",
    "BlockSituation",
    "BlockTable",
    "BlockVisit",
    "Calibration",
    "CommitSearch",
    "Comparing",
    "ComputeOptimal",
    "Controller",
    "DVTS",
    "DeepPrune",
    "EarlyPruning",
    "FirstFinish",
    "ForkJoin",
    "Hedged",
    "Interval",
    "IterativeDecoding",
    "LearnFromPeers",
    "Lookahead",
    "MajoritySampling",
    "MinimumBayesRisk",
    "MultiTemperature",
    "NoiseAware",
    "PUCT",
    "ParallelThinking",
    "ParticleGibbs",
    "Particles",
    "PerplexityConsistency",
    "PolicyTable",
    "PooledProblem",
    "PowerCoverage",
    "Rebase",
    "Resampling",
    "ResamplingLimit",
    "RetrievalUCT",
    "Rollover",
    "SafeBeam",
    "Saturating",
    "Saturation",
    "SaturationLaw",
    "Scaling",
    "SelfConsistency",
    "SelfRefine",
    "SharedTranscript",
    "ShortMajority",
    "Shortness",
    "SoftTree",
    "SolveDetectVerify",
    "SolveOrVerify",
    "StepBestOfN",
    "TotBFS",
    "TotDFS",
    "Trial",
    "Turns",
    "UCB",
    "UCT",
    "Vote",
    "WanderingBlocks",
    "alike_outcomes",
    "allocate",
    "best_by_verdict",
    "block_episode",
    "by_rank",
    "cost_of_pass",
    "cost_of_pass_interval",
    "coverage",
    "critical_path_tokens",
    "ease",
    "efficiency",
    "expected_calibration_error",
    "extrapolated",
    "frontier",
    "frontier_cost",
    "largest_remainder",
    "parse_selector",
    "parse_strategy",
    "pass_at_k",
    "resampling_ceiling",
    "restart_outcomes",
    "samples_needed",
    "schedule_weights",
    "share_tokens",
    "success_rate",
    "systematic_misfit",
    "threshold_for",
    "verifier_rates",
]
