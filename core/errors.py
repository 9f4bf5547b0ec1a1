"""Every exception that Branchwise raises.

::

    BranchwiseError
    |- UsageError(ValueError)         wrong use; never retried
    |- BudgetExceeded                 .limit .spent; ends a search with the best so far
    |- ModelError
    |  |- ModelTimeout(TimeoutError)
    |  |- ModelUnavailable            connection lost, 429, 5xx, engine did not start
    |  |- ModelRefused                the server refused the request (other 4xx); never retried
    |  |- ModelOutputInvalid          the reply does not fit the form that was asked for
    |- CatalogError                   a model cannot be brought: source, checksum, disk space
    |- ToolError
    |  |- ToolNotFound
    |  |- ToolArgumentsInvalid        these become observations for the model
    |  |- ActionFailed                so do these: a page did not do what was asked of it
    |  |- ActionHeld                  what is asked for cannot be taken back
    |- SandboxError
    |  |- SandboxStartFailed
    |  |- SandboxLost                 the container or its worker is gone; never a wrong result
    |  |- SandboxTimeout(TimeoutError)
    |  |- OutputLimitExceeded
    |  |- StateDiverged               bringing a state back led to another one
    |- VerifierError
    |  |- RewardOutOfRange
    |- SearchError
    |  |- EmptyFrontier
    |- JournalError
       |- JournalVersionMismatch

A failing user program is data (`ExecResult`), not an exception. A message says what happened, the value that was
got, what is allowed and what to do.
"""

from __future__ import annotations


class BranchwiseError(Exception):
    """Base of every error raised on purpose by Branchwise."""


class UsageError(BranchwiseError, ValueError):
    """The caller asked for something that cannot work; fix the call, do not retry it."""


class BudgetExceeded(BranchwiseError):
    """A reservation did not fit into what is left of the budget."""

    def __init__(self, limit: str, *, allowed: float, spent: float, asked: float, whose: str = "") -> None:
        self.limit = limit
        self.whose = whose
        self.allowed = allowed
        self.spent = spent
        self.asked = asked
        super().__init__(
            f"budget {limit}={allowed:g}{whose and f' of {whose}'} cannot cover {asked:g} more: {spent:g} are spent; "
            f"raise {limit} to go on"
        )

    @property
    def place(self) -> str:
        """The limit, and whose it is where that is not the whole run's."""
        return f"{self.limit} (of {self.whose})" if self.whose else self.limit


class ModelError(BranchwiseError):
    """A model call failed."""


class ModelTimeout(ModelError, TimeoutError):
    """The model did not answer within the time allowed."""


class ModelUnavailable(ModelError):
    """The model server cannot be reached or is overloaded; retried with back-off.

    Attributes:
        retry_after_seconds: what the server asked for in its `Retry-After` header, if it did.
    """

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class ModelRefused(ModelError):
    """The server refused the request as such (4xx other than 408 and 429); never retried.

    Attributes:
        status: HTTP status code.
    """

    def __init__(self, message: str, *, status: int) -> None:
        self.status = status
        super().__init__(message)


class ModelOutputInvalid(ModelError):
    """The reply does not have the form that was asked for."""


class CatalogError(BranchwiseError):
    """A model of the catalogue cannot be brought or removed."""


class ToolError(BranchwiseError):
    """A tool call failed; becomes an observation."""


class ToolNotFound(ToolError):
    """The model asked for a tool that the agent does not have."""


class ToolArgumentsInvalid(ToolError):
    """The arguments do not fit the tool's parameters."""


class ActionFailed(ToolError):
    """An action on a page could not be done; says why, and what is nearest to what was meant."""


class ActionHeld(ToolError):
    """An action on a page cannot be taken back, and is not done on a branch that may be thrown away."""


class SandboxError(BranchwiseError):
    """The sandbox itself failed, not the program in it."""


class SandboxStartFailed(SandboxError):
    """No sandbox could be started."""


class SandboxLost(SandboxError):
    """The container or its worker is gone. Whether the last command ran is unknown: it is never retried."""


class SandboxTimeout(SandboxError, TimeoutError):
    """An operation of the sandbox itself (not of the program in it) took too long."""


class OutputLimitExceeded(SandboxError):
    """More bytes would have to be moved than the limit allows."""


class StateDiverged(SandboxError):
    """A state was to be brought back by doing its actions again, and came out as another one. It is not searched on."""


class VerifierError(BranchwiseError):
    """A verifier could not judge."""


class RewardOutOfRange(VerifierError):
    """A verdict's value is not within [0, 1]."""


class SearchError(BranchwiseError):
    """A search cannot go on."""


class EmptyFrontier(SearchError):
    """Every node is terminal or exhausted."""


class JournalError(BranchwiseError):
    """The record of a run cannot be read or written."""


class JournalVersionMismatch(JournalError):
    """The journal was written by an incompatible version or for another agent."""
