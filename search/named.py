"""Strategies and selectors by name, for the command line: `best-first:width=4,depth=8`."""

from __future__ import annotations

import ast
from dataclasses import fields
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..core.errors import UsageError
from ..core.protocols import Selector, Strategy
from .a_star import AStar
from .ab_mcts import ABMCTS
from .adaptive import AdaptiveSampling, EarlyPruning
from .bayes_risk import MinimumBayesRisk
from .beam import DVTS, Beam, StepBestOfN, TotBFS
from .best_first import BestFirst
from .best_of_n import BestOfN
from .commit import CommitSearch
from .common import BaseStrategy, one_of
from .comparing import Comparing
from .compute_optimal import ComputeOptimal
from .controllers import NoiseAware
from .deep_prune import DeepPrune
from .depth_first import TotDFS
from .first_finish import FirstFinish, ShortMajority
from .fork_join import ForkJoin
from .hedged import Hedged
from .iterative import IterativeDecoding
from .lookahead import Lookahead
from .majority import BestOfMajority, MajoritySampling
from .mcts import PUCT, UCT
from .multi_temperature import MultiTemperature
from .parallel_thinking import ParallelThinking
from .particle_gibbs import ParticleGibbs
from .particles import Particles
from .peers import LearnFromPeers
from .perplexity import PerplexityConsistency
from .rebase import Rebase
from .resampling import Resampling
from .retrieval import RetrievalUCT
from .rollover import Rollover
from .safe_beam import SafeBeam
from .sampled import SelfConsistency
from .saturation import Saturation
from .selectors import Best
from .self_refine import SelfRefine
from .shared_transcript import SharedTranscript
from .soft_tree import SoftTree
from .solve_detect_verify import SolveDetectVerify
from .turns import Turns
from .voting import Vote

STRATEGIES: dict[str, type[BaseStrategy]] = {
    strategy.name: strategy
    for strategy in (
        BestFirst,
        BestOfN,
        SelfRefine,
        SelfConsistency,
        MultiTemperature,
        MajoritySampling,
        Hedged,
        ShortMajority,
        FirstFinish,
        Beam,
        StepBestOfN,
        DVTS,
        TotBFS,
        Rebase,
        UCT,
        PUCT,
        ABMCTS,
        AStar,
        TotDFS,
        Particles,
        ParticleGibbs,
        SoftTree,
        Rollover,
        Lookahead,
        SolveDetectVerify,
        IterativeDecoding,
        Turns,
        CommitSearch,
        RetrievalUCT,
        SafeBeam,
        AdaptiveSampling,
        EarlyPruning,
        DeepPrune,
        ParallelThinking,
        LearnFromPeers,
        SharedTranscript,
        ForkJoin,
    )
}


CONTROLLERS: dict[str, type[Any]] = {
    controller.name: controller for controller in (NoiseAware, Saturation, Resampling, Comparing)
}
"""Strategies around another one, their `inner`."""

SELECTORS: dict[str, type[Selector]] = {
    selector.name: selector for selector in (Best, BestOfMajority, MinimumBayesRisk, PerplexityConsistency, Vote)
}
"""Dataclasses all."""


def parse_strategy(text: str) -> Strategy:
    """Return the strategy that `name` or `name:option=value,...` describes; `none` is one trajectory.

    A controller stands before the strategy that it is around, its options before that: `saturation:best-of-n:n=64`,
    `saturation:epsilon=0.02:noise-aware:best-first:width=4`. `compute-optimal:FILE` goes by a saved table.

    Raises:
        UsageError: unknown name or option, or a value that does not fit.
    """
    name, _, rest = text.partition(":")
    if name == "none":
        return BestOfN(n=1)
    if name == ComputeOptimal.name:
        path, _, options = rest.partition(",")
        return ComputeOptimal.load(path, **named_options(f"strategy {name!r}", ComputeOptimal, options))
    if name in CONTROLLERS:
        return _around(CONTROLLERS[name], rest)
    if name not in STRATEGIES:
        raise UsageError(
            f"no strategy is called {name!r}; there are: none, {', '.join([*STRATEGIES, *CONTROLLERS, f'{ComputeOptimal.name}:FILE'])}"
        )
    return STRATEGIES[name](**named_options(f"strategy {name!r}", STRATEGIES[name], rest))


def _around(kind: type[Any], text: str) -> Strategy:
    """Return a controller around the strategy that `text` ends with, by default around its usual one."""
    head, _, tail = text.partition(":")
    options, inside = (head, tail) if "=" in head else ("", text)
    values = named_options(f"controller {kind.name!r}", kind, options)
    if inside:
        values["inner"] = parse_strategy(inside)
        if isinstance(values["inner"], kind):
            raise UsageError(f"{text!r} names {kind.name!r} twice; once does it")
        if kind is NoiseAware and not isinstance(values["inner"], BaseStrategy):
            raise UsageError(f"{kind.name!r} stands directly before a strategy; put {inside!r} the other way round")
    controller: Strategy = kind(**values)
    return controller


def parse_selector(text: str) -> Selector:
    """Return the selector that `name` or `name:option=value,...` describes.

    Raises:
        UsageError: unknown name or option, or a value that does not fit.
    """
    name, _, options = text.partition(":")
    if name not in SELECTORS:
        raise UsageError(f"no selector is called {name!r}; there are: {', '.join(SELECTORS)}")
    return SELECTORS[name](**named_options(f"selector {name!r}", SELECTORS[name], options))


def named_options(owner: str, kind: type[Any], text: str) -> dict[str, Any]:
    """Return the options in `text` as the arguments of `kind`, a dataclass."""
    hints = get_type_hints(kind)
    known = {f.name: hints[f.name] for f in fields(kind) if f.init and f.name not in {"seed", "inner", "verifier"}}
    values: dict[str, Any] = {}
    for option in filter(None, text.split(",")):
        key, equals, value = option.partition("=")
        if key not in known or not equals:
            takes = f"it takes {', '.join(f'{k}=...' for k in known)}" if known else "it takes none"
            raise UsageError(f"{owner} has no option {option!r}; {takes}")
        values[key] = _value(known[key], key, value)
    return values


def recorded_strategy(text: str) -> Strategy | None:
    """Return the strategy whose `repr` a run has recorded, None where it is none of the built-in ones."""
    try:
        rebuilt = _rebuilt(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, TypeError, KeyError):
        return None
    return rebuilt if type(rebuilt) in (*STRATEGIES.values(), *CONTROLLERS.values(), ComputeOptimal) else None


def recorded_selector(text: str) -> Selector | None:
    """Return the selector whose `repr` a run has recorded, None where it is none of the built-in ones."""
    try:
        rebuilt = _rebuilt(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, TypeError, KeyError):
        return None
    return rebuilt if isinstance(rebuilt, Selector) else None


def _rebuilt(node: ast.expr) -> Any:
    if not isinstance(node, ast.Call):
        return ast.literal_eval(node)
    if not isinstance(node.func, ast.Name) or node.args:
        raise ValueError(ast.unparse(node))
    named = (*STRATEGIES.values(), *CONTROLLERS.values(), ComputeOptimal, *SELECTORS.values())
    kinds: dict[str, type[Any]] = {kind.__name__: kind for kind in named}
    return kinds[node.func.id](**{str(keyword.arg): _rebuilt(keyword.value) for keyword in node.keywords})


def _value(kind: Any, key: str, text: str) -> Any:
    kinds = get_args(kind) if get_origin(kind) in (UnionType, Union) else (kind,)
    # An option may be left out (None), and may be something that text cannot say, such as a function.
    named = [one for one in kinds if one in (bool, int, float, str) or get_origin(one) is Literal]
    if not named:
        raise UsageError(f"{key} cannot be given by name; write the strategy in Python")
    kind = named[0]
    if get_origin(kind) is Literal:
        one_of(key, text, get_args(kind))
        return text
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text)
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{key}={text!r} is no {getattr(kind, '__name__', kind)}") from error
