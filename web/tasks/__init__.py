"""Web tasks: goals with what tells that they were reached, families of them, and files of them."""

from .checks import (
    AllOf,
    AnswerIncludes,
    AnswerIs,
    AnswerLike,
    AnyOf,
    Behind,
    Requested,
    Script,
    Stored,
    UrlIs,
    integrity_of,
)
from .miniwob import MiniWoB
from .oracle import Hand, Oracle
from .task import DONE, Check, Ending, Mark, TaskFamily, WebTask
from .webarena import read_webarena

__all__ = [
    "DONE",
    "AllOf",
    "AnswerIncludes",
    "AnswerIs",
    "AnswerLike",
    "AnyOf",
    "Behind",
    "Check",
    "Ending",
    "Hand",
    "Mark",
    "MiniWoB",
    "Oracle",
    "Requested",
    "Script",
    "Stored",
    "TaskFamily",
    "UrlIs",
    "WebTask",
    "integrity_of",
    "read_webarena",
]
