"""People in the loop: what a run asks them, and how work waits for the answer without holding anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, cast

from .errors import UsageError

APPROVAL: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "approved": {"type": "boolean"},
        "reason": {"type": "string", "description": "told to the model where it is refused"},
        "arguments": {"type": "object", "description": "what to do instead: the action's arguments, edited"},
    },
    "required": ["approved"],
}
"""Form of the answer to a question for approval. True and False will do as well."""

YES_OR_NO: Final[Mapping[str, Any]] = {
    **APPROVAL,
    "properties": {name: form for name, form in APPROVAL["properties"].items() if name != "arguments"},
}
"""The same for what can only be done as it is."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a run asks a person."""

    id: str
    """Names it within its run; the answer is given by it."""
    kind: Literal["approve", "ask"]
    text: str
    schema: Mapping[str, Any]
    """JSON schema of the answer."""
    tool: str = ""
    """The action that is to be approved."""
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        about = {"tool": self.tool, "arguments": dict(self.arguments)} if self.tool else {}
        return {"id": self.id, "kind": self.kind, "text": self.text, "schema": dict(self.schema), **about}


class Waiting(Exception):
    """Work cannot go on before a person has answered. It is begun again then, and finds the answer.

    Args:
        questions: what is asked.
    """

    def __init__(self, *questions: Question) -> None:
        super().__init__(f"{len(questions)} questions wait for an answer")
        self.questions = questions


class Answers(Protocol):
    """What people have answered; see `models.accounts.CallLog`."""

    def answer(self, key: str) -> Any:
        """Return the answer to a question of this search, None where there is none yet."""
        ...

    def question_id(self, key: str) -> str:
        """Return the name of a question within the run."""
        ...


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's answer to a question for approval."""

    approved: bool
    reason: str = ""
    arguments: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, answer: Any) -> Approval:
        """Return what an answer means.

        Raises:
            UsageError: it is neither a bool nor of the form `APPROVAL`.
        """
        match answer:
            case bool():
                return cls(answer)
            case {"approved": bool(approved)}:
                edited = answer.get("arguments")
                if edited is None or isinstance(edited, Mapping):
                    return cls(approved, str(answer.get("reason", "")), cast("Mapping[str, Any] | None", edited))
            case _:
                pass
        raise UsageError(
            f"{answer!r} is no answer to a question for approval; give True, False, or "
            '{"approved": true, "arguments": {...}}'
        )
