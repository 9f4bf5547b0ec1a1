"""Which actions cannot be taken back, and so are never part of a branch that may be thrown away."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from .actions import Acting, Check, Click, Dialog, Fill, Press, Select

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_WORDS = (
    r"\b(pay|buy now|purchase|order now|place (the |your |my )?order|check ?out|send|transfer|delete|remove|publish|post"
    r"|unsubscribe|cancel (my |the |your )?(order|subscription|booking|account)|book now|confirm (and|order|booking|payment)"
    r"|sign (the )?contract|donate|withdraw)\b"
)


class Policy(BaseModel):
    """What counts as irreversible: what is said on the thing that is clicked, and by which methods pages may send.

    Words are a first look that asks before anything happens. What is enforced are the methods: a request by any other
    is stopped in the browser, whatever the button said.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    words: str = Field(default=_WORDS, description="regular expression over names, searched without regard to case")
    methods: frozenset[str] | None = Field(
        default=SAFE_METHODS, description="methods that may be sent speculatively; None: all of them"
    )

    harmless: str = Field(
        default="",
        description="regular expression over addresses that may be sent to by any method, such as '/search$'",
    )

    @field_validator("words", "harmless")
    @classmethod
    def _is_expression(cls, expression: str) -> str:
        re.compile(expression)
        return expression

    @field_validator("methods")
    @classmethod
    def _upper(cls, methods: frozenset[str] | None) -> frozenset[str] | None:
        return None if methods is None else frozenset(method.upper() for method in methods)

    def lets(self, method: str, url: str) -> bool:
        """Whether a request may be part of a branch that is thrown away."""
        if self.methods is None or method.upper() in self.methods:
            return True
        return bool(self.harmless) and re.search(self.harmless, url) is not None

    def why(self, action: Acting, target: Target | None) -> str | None:
        """Return why an action cannot be taken back; None where it can as far as is known before it is done."""
        if target is None or not isinstance(action, Click | Check | Select | Press | Fill | Dialog):
            return None
        sends = isinstance(action, Click) or (isinstance(action, Press) and action.keys in {"Enter", "Space", " "})
        sends = sends or (isinstance(action, Fill) and action.enter)
        if not sends:
            return None
        # Where some addresses may be sent to, the request itself says whether it goes to one: it is stopped then if it does not.
        if target.method and self.methods is not None and target.method not in self.methods and not self.harmless:
            return f"it sends a form by {target.method}"
        if self.words and target.role != "textbox" and (found := re.search(self.words, target.name, re.IGNORECASE)):
            return f"it says {found[0]!r}"
        return None


REVERSIBLE = Policy(words="", methods=None)
"""For sites that can be brought back: nothing done there is for good."""


@dataclass(frozen=True, slots=True)
class Target:
    """What an action is about, as it was found on the page."""

    frame: int
    """The frame's number within its context."""
    path: tuple[str, ...]
    role: str
    name: str
    method: str = ""
    """By which method clicking it sends a form, where it does."""

    def record(self) -> dict[str, Any]:
        """Return what a state keeps of it."""
        return {"frame": self.frame, "path": list(self.path), "role": self.role, "name": self.name}

    def __str__(self) -> str:
        return f"{self.role} {self.name!r}"
