"""A simulated model for scattered and stacked work: every part is right with a chance that is known."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..testing import ScriptedModel
from ..types import ModelRequest
from .answers import RIGHT
from .steps import uniform

_SOLUTION = re.compile(r"^<<< solution[^\n]*\n(.*?)\n>>> solution", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Stacking:
    """A model that solves, corrects one solution, or writes a new one having seen several, as its prompt asks.

    Args:
        solves: chance that a solution is right.
        fixes: chance that a critic makes a wrong solution right.
        breaks: chance that a critic makes a right solution wrong.
        copies: chance that a rewriter who sees a right solution has it; else, and where there is none, its own is wrong.
        seed: which problem it is.
    """

    solves: float = 0.3
    fixes: float = 0.2
    breaks: float = 0.05
    copies: float = 0.8
    seed: int = 0

    def reply(self, request: ModelRequest) -> str:
        """Return a whole solution; wrong ones are all different."""
        prompt = request.messages[-1].content
        seen = [RIGHT in text for text in _SOLUTION.findall(prompt)]
        chance, other = (uniform(self.seed, what, prompt, request.sampling.seed) for what in ("chance", "other"))
        if not seen:
            right = chance < self.solves
        elif "Somebody has tried" in prompt:
            right = chance >= self.breaks if seen[0] else chance < self.fixes
        else:
            right = any(seen) and chance < self.copies
        return RIGHT if right else f"wrong {int(1e9 * other)}"

    def model(self) -> ScriptedModel:
        """Return the model."""
        return ScriptedModel(self.reply, name="simulated:stacking", native_tools=True)

    # --- what is known ---

    @property
    def corrected(self) -> float:
        """Probability that a corrected solution is right."""
        return self.solves * (1 - self.breaks) + (1 - self.solves) * self.fixes

    def rewritten(self, sees: int) -> float:
        """Return the probability that a rewriter is right who sees so many corrected solutions: the mean of all rewriters."""
        return (1 - (1 - self.corrected) ** sees) * self.copies

    def one_is_right(self, sees: int, rewriters: int) -> float:
        """Return the probability that at least one rewriter is right: what a selector that knows reaches."""
        return (1 - (1 - self.corrected) ** sees) * (1 - (1 - self.copies) ** rewriters)
