"""Models: the client of their servers, the embedded engine, the catalogue of what can be brought."""

from .client import HttpModel, Price, Timeouts
from .embedded import EmbeddedModel
from .engine import EngineSettings
from .recorded import RecordedModel
from .registry import connect
from .retry import Retrying, RetryPolicy

__all__ = [
    "EmbeddedModel",
    "EngineSettings",
    "HttpModel",
    "Price",
    "RecordedModel",
    "RetryPolicy",
    "Retrying",
    "Timeouts",
    "connect",
]
