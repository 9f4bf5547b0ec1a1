"""How a page got where it is: the record that a state is kept as, and is brought back from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from ..core.errors import SandboxError
from .actions import Acting, parse_action
from .sealing import Seal

_VERSION = 2


@dataclass(frozen=True, slots=True)
class PastStep:
    """An action that was done."""

    action: Mapping[str, Any]
    targets: Mapping[str, Mapping[str, Any]]
    """What its references meant, in words that find it in another context."""
    fingerprint: str
    """Of what the context showed afterwards."""
    navigated: bool = False
    """Whether it led to another document, so that scripts of the one before are forgotten."""
    final: bool = False
    """Whether it was done for good: never done again."""
    failed: bool = False
    """Whether it failed half done."""
    files: Mapping[str, str] = field(default_factory=dict[str, str])
    """Digests of the files that were uploaded: those of the work space may be others by now."""

    def parsed(self) -> Acting:
        """Return the action."""
        action = parse_action(dict(self.action))
        assert isinstance(action, Acting)
        return action


@dataclass(frozen=True, slots=True)
class Past:
    """All that was done since the start page, and what the context shows now."""

    start: str
    steps: tuple[PastStep, ...]
    seal: Seal

    @property
    def final_step(self) -> int | None:
        """The number, from 1, of the first step that was done for good."""
        return next((number for number, step in enumerate(self.steps, 1) if step.final), None)

    def after(self, step: PastStep, seal: Seal) -> Past:
        """Return it with one more step."""
        return replace(self, steps=(*self.steps, step), seal=seal)

    def text(self) -> bytes:
        """Return what a state keeps."""
        steps = [
            [dict(s.action), dict(s.targets), s.fingerprint, s.navigated, s.final, s.failed, dict(s.files)]
            for s in self.steps
        ]
        data = {
            "version": _VERSION,
            "start": self.start,
            "steps": steps,
            "seal": self.seal.to_json(),
        }
        return json.dumps(data, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Return the past that `text` has written down.

        Raises:
            SandboxError: it is none, or that of another version.
        """
        try:
            data = json.loads(text)
            if data["version"] != _VERSION:
                raise SandboxError(f"the state of a page was kept by version {data['version']}; this reads {_VERSION}")
            steps = tuple(PastStep(*row) for row in data["steps"])
            return cls(str(data["start"]), steps, Seal.parse(data["seal"]))
        except (ValueError, TypeError, KeyError) as error:
            raise SandboxError(f"the state of a page cannot be read: {error!r}") from error
