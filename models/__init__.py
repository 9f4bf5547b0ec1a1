"""Models: the client of their servers, the embedded engine, the catalogue of what can be brought."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .client import HttpModel, Price, Timeouts
    from .embedded import EmbeddedModel
    from .engine import EngineSettings
    from .recorded import RecordedModel
    from .registry import connect
    from .retry import Retrying, RetryPolicy
else:
    # Loaded when they are first asked for: the client library takes most of a second, and few programs need all of this.
    _HOMES = {
        "EmbeddedModel": "embedded",
        "EngineSettings": "engine",
        "HttpModel": "client",
        "Price": "client",
        "RecordedModel": "recorded",
        "RetryPolicy": "retry",
        "Retrying": "retry",
        "Timeouts": "client",
        "connect": "registry",
    }

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOMES})


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
