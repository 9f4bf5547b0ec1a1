"""What a strategy wants to know of a trajectory that is under way: one token, read by its probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..core.protocols import Candidate, Model
from ..core.schemas import form_of_object
from ..core.types import Message, Semantics, Verdict
from .asking import Asker, chances
from .fence import TAINTED, fenced
from .showing import shown

_SYSTEM = """You read solutions while they are being written.
{tainted}
Say in "verdict" whether what is there already holds a complete solution with its final answer, so that nothing more needs to
be written: "yes" or "no"."""


@dataclass(frozen=True)
class Complete:
    """Say how probable it is that an unfinished turn already holds the whole solution: the detector of `search.SolveDetectVerify`.

    Zhong et al. (2025), Solve-Detect-Verify. Only asked where a strategy names it; it takes no part in what a node is worth to
    others.

    Args:
        model: `provider:model` or a `Model` for itself; None asks the agent's.
        name: by which it is asked.
    """

    model: str | Model | None = None
    name: str = "complete"
    semantics: Semantics = "likelihood"
    scope: Literal["probe"] = "probe"

    @property
    def own_models(self) -> Sequence[str | Model]:
        """The model that it has for itself."""
        return () if self.model is None else (self.model,)

    async def judge(self, candidate: Candidate) -> Verdict:
        """Ask for one token.

        Raises:
            VerifierError: the reply has none.
        """
        asker = Asker(self.name, self.model, temperature=0.0, max_tokens=24, logprobs=20)
        text = "\n\n".join([fenced("task", candidate.task.prompt), fenced("solution", shown(candidate, "steps"))])
        messages = [Message("system", _SYSTEM.format(tainted=TAINTED)), Message("user", text)]
        reply = await asker.ask(candidate, messages, form_of_object(verdict={"enum": ["yes", "no"]}))
        share = chances(reply.response, "verdict", ("yes", "no"))
        value = share.get("yes", float(reply.data["verdict"] == "yes"))
        return Verdict(value, self.semantics, self.name, usage=reply.usage)
