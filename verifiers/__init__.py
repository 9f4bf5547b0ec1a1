"""Verifiers: judges of trajectories."""

from .adapters import Adapted, Calibrated, false_accept_threshold
from .alike import WISHES, Alike
from .better import Better
from .cached import Cached
from .cases import Case
from .checklist import Constraint
from .combinators import All, Any, Vote, Weighted
from .constraints import Constraints
from .execution import Tests
from .fast_slow import FastSlow
from .function import FunctionVerifier, verifier
from .grounding import Grounding
from .group_scores import GroupScores
from .input_output import InputOutput
from .judge import Judge
from .legality import Legality
from .listwise import Listwise
from .probe import Complete
from .program import ProgramAgreement
from .rounds import Slope, extra_rounds, known_candidate, known_outcomes, rounds_slope
from .split import Split
from .web import WebCheck, web_judge
from .written_tests import WrittenTests

__all__ = [  # noqa: RUF022 - in plain order, which a test checks
    "Adapted",
    "Alike",
    "All",
    "Any",
    "Better",
    "Cached",
    "Calibrated",
    "Case",
    "Complete",
    "Constraint",
    "Constraints",
    "FastSlow",
    "FunctionVerifier",
    "Grounding",
    "GroupScores",
    "InputOutput",
    "Judge",
    "Legality",
    "Listwise",
    "ProgramAgreement",
    "Slope",
    "Split",
    "Tests",
    "Vote",
    "WISHES",
    "WebCheck",
    "Weighted",
    "WrittenTests",
    "extra_rounds",
    "false_accept_threshold",
    "known_candidate",
    "known_outcomes",
    "rounds_slope",
    "verifier",
    "web_judge",
]
