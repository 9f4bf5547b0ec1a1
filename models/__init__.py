"""Models: the client of their servers, the embedded engine, the catalogue of what can be brought."""

from typing import TYPE_CHECKING

from ..core.lazy import lazily

if TYPE_CHECKING:
    from .client import HttpModel, Price, Timeouts
    from .embedded import EmbeddedModel
    from .engine import EngineSettings
    from .recorded import RecordedModel
    from .registry import connect
    from .retry import Retrying, RetryPolicy
else:
    # The client library takes most of a second, and few programs need all of this.
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "client": "HttpModel Price Timeouts",
            "embedded": "EmbeddedModel",
            "engine": "EngineSettings",
            "recorded": "RecordedModel",
            "registry": "connect",
            "retry": "RetryPolicy Retrying",
        },
    )

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
