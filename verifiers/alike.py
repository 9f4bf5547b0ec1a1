"""Whether two beginnings will come to the same answer, or two tasks are the same work: one token, read by its probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..core.errors import VerifierError
from ..core.protocols import Candidate, Model
from ..core.schemas import form_of_object
from ..core.types import Message, Semantics, Verdict
from ..search.calibration import Calibration
from .asking import Asker, chances
from .fence import TAINTED, fenced
from .showing import Show, shown

ANSWERS = "Two attempts at one task are under way. Say whether both will end with the same final answer."

WISHES = (
    "Two tasks are to be done by helpers. Say whether they are the same work, so that one result would do for both."
)

_SYSTEM = """{question}
{tainted}
Write in "verdict" "yes" or "no"."""


@dataclass(frozen=True)
class Alike:
    """Say how probable it is that two trajectories come to the same answer: the judge of `search.DeepPrune` and of `Spawn(alike=...)`.

    Tu et al. (2025), DeepPrune, train a small model for it. One that was not trained ranks pairs little better than chance (an AUROC
    of .66 in the paper), so calibrate it: `Alike(calibration=search.Calibration.fit(outcomes))` with `search.alike_outcomes` of some
    runs without. Only asked where a strategy names it, about the two nodes that it names.

    Args:
        question: what is asked; `WISHES` asks about tasks rather than attempts.
        show: what it sees of each.
        model: `provider:model` or a `Model` for itself; None asks the agent's.
        calibration: what its values turned out to be worth; None leaves them as they are.
        name: by which it is asked.
    """

    question: str = ANSWERS
    show: Show = "steps"
    model: str | Model | None = None
    calibration: Calibration | None = None
    name: str = "alike"
    semantics: Semantics = "likelihood"
    scope: Literal["probe"] = "probe"

    @property
    def own_models(self) -> Sequence[str | Model]:
        """The model that it has for itself."""
        return () if self.model is None else (self.model,)

    async def judge(self, candidate: Candidate) -> Verdict:
        """Ask for one token.

        Raises:
            VerifierError: the reply has none, or there are not two to compare.
        """
        pair = candidate.rivals()
        if len(pair) != 2:
            raise VerifierError(f"verifier {self.name!r} compares two candidates and was given {len(pair)}")
        texts = [
            fenced(title, shown(candidate.at(node.id), self.show))
            for title, node in zip(("first", "second"), pair, strict=True)
        ]
        text = "\n\n".join([fenced("task", candidate.task.prompt), *texts])
        system = _SYSTEM.format(question=self.question, tainted=TAINTED)
        asker = Asker(self.name, self.model, temperature=0.0, max_tokens=24, logprobs=20)
        messages = [Message("system", system), Message("user", text)]
        reply = await asker.ask(candidate, messages, form_of_object(verdict={"enum": ["yes", "no"]}))
        share = chances(reply.response, "verdict", ("yes", "no"))
        value = min(1.0, share.get("yes", float(reply.data["verdict"] == "yes")))
        value = value if self.calibration is None else self.calibration(value)
        ranking = {node.id: value for node in pair}
        return Verdict(value, self.semantics, self.name, usage=reply.usage, ranking=ranking)
