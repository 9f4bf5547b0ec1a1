"""A checklist as a verifier: one verdict for each constraint, by code where there is code, else by a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ..core.errors import UsageError, VerifierError
from ..core.protocols import Candidate, Model, Verifier
from ..core.schemas import form_of_object
from ..core.types import JSON, Message, Semantics, Verdict
from .asking import Asker, Reply
from .checklist import Checklist, Constraint
from .combining import says_yes, spent, weakest
from .fence import TAINTED, fenced
from .part import Part
from .showing import Show, shown

REASON_LIMIT_CHARS = 300

_NOTHING = "-"
"""Stands for a reason where none was given."""

_SYSTEM = """You check a solution against constraints, one by one. Look at what the solution is, not at what it says of itself: four lines are
four lines without a word about it. Be strict where something is missing or wrong.
{tainted}
{reply}"""

_UNFINISHED = "The solution may be unfinished: judge by what is there whether it will meet them."

_YES_NO = 'Say for each constraint first in "whyN" what you found, then in "cN" whether it is "met" or "violated".'
_REWARD = (
    'Say for each constraint first in "whyN" what you found and what would mend it, then give in "cN" a reward from -100 '
    "(the opposite of what it asks) to 100 (met in everything)."
)


@dataclass(frozen=True)
class Constraints:
    """Check a candidate against constraints in the order of their needs: what hangs on a violated one is not checked.

    Its value is the weight of the constraints that are met as a share of all; `Verdict.per_constraint` has what was found of
    each that was checked, its words say what is violated and why. Constraints with a `check` are decided by that verifier, which runs
    code. A model is asked about the others, all that can be checked next in one call, and is shown the candidate and nothing of
    how it came about; have another model than the solver's do it (`model=`), for one that shares the solver's mistakes overlooks them.

    Args:
        constraints: what must hold.
        grades: `yes-no`, or a `reward` from -100 to 100 for each constraint that a model judges, which tells a search more (the
            verification agent of PlanGEN, 2025); its value is then the weighted mean of the rewards, moved to [0, 1].
        threshold: reward from which a constraint is met, in [-100, 100].
        show: what a model sees of the candidate: the `answer`, all `steps`, or the `changes` to the files.
        model: `provider:model` or a `Model` for itself; None asks the agent's.
        temperature: of its sampling.
        max_tokens: longest reply.
        scope: `answer` checks what has an answer; `state` every step, of which it accepts those with an answer, and others only where
            code that checks states decides all constraints.
        name: shown beside its verdicts.

    Raises:
        UsageError: the constraints do not fit together, or an option is out of range.
    """

    constraints: tuple[Constraint, ...]
    grades: Literal["yes-no", "reward"] = "yes-no"
    threshold: float = 95.0
    show: Show = "steps"
    model: str | Model | None = None
    temperature: float = 0.3
    max_tokens: int = 1024
    scope: Literal["answer", "state"] = "answer"
    name: str = "constraints"
    semantics: Semantics = "violation"
    checklist: Checklist = field(init=False, repr=False, compare=False)
    """The constraints, in order."""

    def __post_init__(self) -> None:
        if self.grades not in ("yes-no", "reward"):
            raise UsageError(f"Constraints(grades={self.grades!r}) must be 'yes-no' or 'reward'")
        if not -100 <= self.threshold <= 100:
            raise UsageError(f"Constraints(threshold={self.threshold!r}) must be from -100 to 100")
        object.__setattr__(self, "checklist", Checklist(tuple(self.constraints)))
        object.__setattr__(self, "constraints", self.checklist.constraints)

    @property
    def parts(self) -> Sequence[Verifier]:
        """The checks by code, and the calls that ask a model, should there be any; only these are charged."""
        coded = [constraint.check for constraint in self.constraints if constraint.check is not None]
        asks = [_Asked(self, ())] if len(coded) < len(self.constraints) else []
        return (*coded, *asks)

    async def judge(self, candidate: Candidate) -> Verdict:
        """Check layer by layer.

        Raises:
            VerifierError: one of the constraints could not be checked.
        """
        met: dict[str, bool] = {}
        values: dict[str, float] = {}
        said: list[str] = []
        verdicts: list[Verdict] = []
        for layer in self.checklist.layers:
            due = [c for c in self.checklist.applicable(layer, met) if _can_be_checked(c, candidate)]
            said += [f"not checked: {c.text}" for c in layer if c not in due]
            given, found = await self._layer(candidate.again(len(verdicts)), due)
            verdicts += given
            met |= {one.constraint.name: one.holds for one in found}
            values |= {one.constraint.name: one.value for one in found}
            said += [f"violated: {one.constraint.text}{one.reason}" for one in found if not one.holds]
        total = sum(constraint.weight for constraint in self.constraints)
        return Verdict(
            min(1.0, sum(c.weight * values.get(c.name, 0.0) for c in self.constraints) / total),
            self.semantics,
            self.name,
            passed=self._passes(candidate, met),
            feedback="\n".join(said),
            per_constraint=values,
            calls=len(verdicts),
            usage=spent(verdicts),
            integrity=weakest([replace(verdict, semantics="outcome") for verdict in verdicts]),
        )

    async def _layer(self, candidate: Candidate, due: Sequence[Constraint]) -> tuple[list[Verdict], list[_Found]]:
        """Return the verdicts on constraints that need nothing more, and what they say of each."""
        verdicts: list[Verdict] = []
        found: list[_Found] = []
        for constraint in due:
            if constraint.check is not None:
                verdict = await candidate.again(len(verdicts)).ask(constraint.check)
                verdicts.append(verdict)
                holds = says_yes(verdict)
                found.append(_Found(constraint, float(holds), holds, _line(verdict.feedback)))
        if asked := tuple(constraint for constraint in due if constraint.check is None):
            verdict = await candidate.again(len(verdicts)).ask(_Asked(self, asked))
            verdicts.append(verdict)
            values = verdict.per_constraint or {}
            for constraint, why in zip(asked, verdict.feedback.splitlines(), strict=True):
                value = values[constraint.name]
                found.append(_Found(constraint, value, self.holds(value), why))
        return verdicts, found

    def _passes(self, candidate: Candidate, met: Mapping[str, bool]) -> bool | None:
        """Whether all is met; nothing is said of steps that are on their way."""
        if candidate.answer is None and any(c.check is None or c.check.scope != "state" for c in self.constraints):
            return None
        return all(met.get(constraint.name, False) for constraint in self.constraints)

    def holds(self, value: float) -> bool:
        """Whether a constraint with this grade, in [0, 1], is met."""
        return value >= (0.5 if self.grades == "yes-no" else (self.threshold + 100) / 200)


@dataclass(frozen=True, slots=True)
class _Found:
    """What was found of one constraint."""

    constraint: Constraint
    value: float
    holds: bool
    why: str

    @property
    def reason(self) -> str:
        """What was said of it, where anything was."""
        return "" if self.why == _NOTHING else f" ({self.why})"


@dataclass(frozen=True)
class _Asked(Part[Constraints]):
    """One call that asks a model about constraints; its words are one line for each."""

    constraints: tuple[Constraint, ...]

    async def judge(self, candidate: Candidate) -> Verdict:
        """Ask.

        Raises:
            VerifierError: the reply has no grade for one of them.
        """
        of = self.of
        listed = "\n".join(f"{place}. {c.text}" for place, c in enumerate(self.constraints, start=1))
        user = [fenced("task", candidate.task.prompt), fenced("solution", shown(candidate, of.show))]
        reply_form = _YES_NO if of.grades == "yes-no" else _REWARD
        if candidate.answer is None:
            reply_form = f"{_UNFINISHED}\n{reply_form}"
        messages = [
            Message("system", _SYSTEM.format(tainted=TAINTED, reply=reply_form)),
            Message("user", "\n\n".join([*user, fenced("constraints", listed)])),
        ]
        asker = Asker(of.name, of.model, of.temperature, of.max_tokens)
        reply = await asker.ask(candidate, messages, self._schema())
        places = range(1, len(self.constraints) + 1)
        values = {c.name: self._grade(reply, place) for place, c in zip(places, self.constraints, strict=True)}
        whys = [_line(str(reply.data[f"why{place}"])) for place in places]
        mean = sum(values.values()) / len(values)
        return Verdict(mean, of.semantics, of.name, feedback="\n".join(whys), per_constraint=values, usage=reply.usage)

    def _schema(self) -> dict[str, JSON]:
        why: JSON = {"type": "string", "maxLength": REASON_LIMIT_CHARS}
        grade: JSON = {"enum": ["met", "violated"]}
        if self.of.grades == "reward":
            grade = {"type": "integer", "minimum": -100, "maximum": 100}
        places = range(1, len(self.constraints) + 1)
        return form_of_object(**{name: kind for n in places for name, kind in ((f"why{n}", why), (f"c{n}", grade))})

    def _grade(self, reply: Reply, place: int) -> float:
        said = reply.data[f"c{place}"]
        if self.of.grades == "yes-no":
            return float(said == "met")
        if isinstance(said, bool) or not isinstance(said, int | float) or not -100 <= said <= 100:
            raise VerifierError(
                f"verifier {self.name!r} gave {said!r} for constraint {place}; a reward is from -100 to 100"
            )
        return (said + 100) / 200


def _can_be_checked(constraint: Constraint, candidate: Candidate) -> bool:
    """Whether there is an answer yet where a check by code wants one."""
    return constraint.check is None or constraint.check.scope == "state" or candidate.answer is not None


def _line(text: str) -> str:
    """Return a text as one short line."""
    return " ".join(text.split())[:REASON_LIMIT_CHARS] or _NOTHING
