"""Scoring all candidates in one call, several times, and trusting the better half of the critiques."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from ..core.errors import UsageError, VerifierError
from ..core.keys import derive_seed
from ..core.protocols import Candidate, Model, Verifier
from ..core.schemas import form_of_object
from ..core.types import JSON, Message, NodeId, Semantics, Verdict
from .asking import Asker, chances
from .combining import spent, votes
from .fence import TAINTED, fenced
from .listwise import LETTERS, called, check_rivals, lined_up, seats
from .part import Part
from .showing import Show

SCALE = 10
"""Highest score of a candidate; the lowest is 1."""

_WORDS_LIMIT_CHARS = 1_200

_SYSTEM = """You judge solutions to one task, each by itself and beside the others. Their order says nothing about them.
{tainted}
First write in "principles" what matters for this task, the most important first. Then write in "critique" how each solution
meets these principles. Then give each a score from 1 (worthless) to {scale} (right in everything)."""

_CHECK = """You check a critique of solutions to a task.
{tainted}
Is what the critique says of the solutions true, and does it say what matters? Answer "yes" or "no"."""

Scores = Mapping[NodeId, float]
"""What one call says of the candidates, in [0, 1]."""


@dataclass(frozen=True)
class GroupScores:
    """Have a model write principles, a critique and a score for every candidate, `k` times, and add up the scores of the best.

    Generative reward modelling with voting and a meta filter (Liu et al. 2025, DeepSeek-GRM), without their trained models: scores
    are whole numbers from 1 to 10, so their mean over k calls is k times finer; candidates are shown in another order each time.
    Critiques are judged in turn, and only the better `keep` of them count. Where two candidates share the first place there
    is one call more. Like `Listwise` it is asked at the search's end, and decides there.

    Args:
        k: calls, >= 1. Each is charged, and so is each check.
        keep: critiques that count; by default half of them.
        meta: how critiques are judged: by `agreement` with the mean of the others, which costs nothing; by a `check`, a further
            call that says how far a critique is true; or not (`none`).
        show: what it sees of the candidates.
        model: `provider:model` or a `Model` for itself; None asks the agent's.
        temperature: of its sampling.
        max_tokens: longest reply.
        name: shown beside its verdicts.

    Raises:
        UsageError: an option is out of range.
    """

    k: int = 8
    keep: int | None = None
    meta: Literal["agreement", "check", "none"] = "agreement"
    show: Show = "steps"
    model: str | Model | None = None
    temperature: float = 0.7
    max_tokens: int = 1024
    name: str = "group-scores"
    semantics: Semantics = "preference"
    scope: Literal["set"] = "set"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"GroupScores(k={self.k!r}) must be at least 1")
        if self.keep is not None and not 1 <= self.keep <= self.k:
            raise UsageError(f"GroupScores(keep={self.keep!r}) must be from 1 to k={self.k}; None keeps half")
        if self.meta not in ("agreement", "check", "none"):
            raise UsageError(f"GroupScores(meta={self.meta!r}) must be 'agreement', 'check' or 'none'")

    @property
    def parts(self) -> Sequence[Verifier]:
        """One call."""
        return (_Scoring(self, 0, 0),)

    async def judge(self, candidate: Candidate) -> Verdict:
        """Score all candidates `k` times.

        Raises:
            VerifierError: no call gave scores, or there is nothing to compare.
        """
        check_rivals(self.name, candidate)
        order = derive_seed(candidate.seed, 0)
        verdicts = await votes(candidate, [_Scoring(self, turn, order) for turn in range(self.k)])
        dropped = self.k - len(verdicts)
        checks = await self._checks(candidate, verdicts)
        ranking = self._ranking(verdicts, checks)
        if len(verdicts) > 1 and tied(ranking):
            more = await votes(candidate.again(self.k), [_Scoring(self, self.k, order)], needed=False)
            verdicts, checks = [*verdicts, *more], [*checks, *(await self._checks(candidate.again(self.k), more))]
            ranking = self._ranking(verdicts, checks)
        best = max(ranking, key=lambda node: ranking[node])
        return Verdict(
            ranking[best],
            self.semantics,
            self.name,
            feedback=f"Of {len(ranking)} candidates node {best} has the highest scores.\n{verdicts[0].feedback}",
            per_constraint={"dropped": float(dropped)},
            calls=len(verdicts) + len(checks),
            usage=spent([*verdicts, *checks]),
            ranking=ranking,
        )

    async def _checks(self, candidate: Candidate, verdicts: Sequence[Verdict]) -> list[Verdict]:
        if self.meta != "check" or not verdicts:
            return []
        doubts = [_Check(self, verdict.feedback) for verdict in verdicts]
        # One that could not be checked counts as one that may be true or not.
        return [await _checked(candidate.again(self.k + n), doubt) for n, doubt in enumerate(doubts)]

    def _ranking(self, verdicts: Sequence[Verdict], checks: Sequence[Verdict]) -> dict[NodeId, float]:
        samples = [verdict.ranking or {} for verdict in verdicts]
        keep = max(1, len(samples) // 2) if self.keep is None else self.keep
        if self.meta == "none":
            return mean_scores(samples)
        quality = [check.value for check in checks] if self.meta == "check" else agreement(samples)
        return mean_scores(best_samples(samples, quality, keep))


def mean_scores(samples: Sequence[Scores]) -> dict[NodeId, float]:
    """Return each candidate's mean score."""
    return {node: min(1.0, fmean(sample[node] for sample in samples)) for node in samples[0]}


def best_samples(samples: Sequence[Scores], quality: Sequence[float], keep: int) -> list[Scores]:
    """Return the `keep` samples of the highest quality, the earlier ones where it is equal."""
    ranked = sorted(range(len(samples)), key=lambda number: (-quality[number], number))
    return [samples[number] for number in ranked[:keep]]


def agreement(samples: Sequence[Scores]) -> list[float]:
    """Return how close each sample is to the mean of the others: minus the mean absolute difference, levels set aside.

    What all samples get wrong alike nobody can see in them; what one of them gets wrong, the others show.
    """
    if len(samples) < 3:
        return [0.0] * len(samples)
    centred = [{node: score - fmean(sample.values()) for node, score in sample.items()} for sample in samples]
    total = {node: sum(sample[node] for sample in centred) for node in centred[0]}
    others = len(centred) - 1
    return [-fmean(abs(sample[node] - (total[node] - sample[node]) / others) for node in sample) for sample in centred]


def tied(ranking: Mapping[NodeId, float]) -> bool:
    """Whether two candidates share the first place."""
    ranked = sorted(ranking.values(), reverse=True)
    return len(ranked) > 1 and ranked[0] - ranked[1] < 1e-9


async def _checked(candidate: Candidate, check: _Check) -> Verdict:
    try:
        return await candidate.ask(check)
    except VerifierError:
        return Verdict(0.5, "outcome", check.name)


@dataclass(frozen=True)
class _Scoring(Part[GroupScores]):
    """One call that scores all candidates."""

    turn: int
    order: int

    async def judge(self, candidate: Candidate) -> Verdict:
        """Ask once."""
        count = check_rivals(self.name, candidate)
        order = seats(count, self.order, self.turn, self.of.k)
        rivals, text = lined_up(candidate, self.of.show, order)
        system = _SYSTEM.format(tainted=TAINTED, scale=SCALE)
        asker = Asker(self.name, self.of.model, self.of.temperature, self.of.max_tokens)
        reply = await asker.ask(candidate, [Message("system", system), Message("user", text)], _schema(count))
        scores = _fractions(self.name, reply.data["scores"], count)
        ranking = {rivals[number].id: scores[seat] for seat, number in enumerate(order)}
        words = f"({called(rivals, order)}) {reply.data.get('principles', '')}\n{reply.data.get('critique', '')}"
        return Verdict(max(scores), self.semantics, self.name, feedback=words, usage=reply.usage, ranking=ranking)


@dataclass(frozen=True)
class _Check(Part[GroupScores]):
    """One call that says how far a critique is true."""

    critique: str

    @property
    def semantics(self) -> Semantics:
        """Whether it is true."""
        return "outcome"

    async def judge(self, candidate: Candidate) -> Verdict:
        """Ask once."""
        rivals, text = lined_up(candidate, self.of.show, range(len(candidate.rivals())))
        text = f"{text}\n\n({called(rivals, range(len(rivals)))})\n\n{fenced('critique', self.critique)}"
        asker = Asker(self.name, self.of.model, self.of.temperature, max_tokens=32, logprobs=20)
        messages = [Message("system", _CHECK.format(tainted=TAINTED)), Message("user", text)]
        reply = await asker.ask(candidate, messages, form_of_object(verdict={"enum": ["yes", "no"]}))
        share = chances(reply.response, "verdict", ("yes", "no"))
        value = share.get("yes", float(reply.data["verdict"] == "yes"))
        return Verdict(value, self.semantics, self.name, usage=reply.usage)


def _schema(count: int) -> dict[str, JSON]:
    words: dict[str, JSON] = {"type": "string", "maxLength": _WORDS_LIMIT_CHARS}
    scores = form_of_object(**{letter: {"enum": list(range(1, SCALE + 1))} for letter in LETTERS[:count]})
    return form_of_object(principles=words, critique=words, scores=scores)


def _fractions(name: str, given: JSON, count: int) -> list[float]:
    """Return the scores of a reply, by letter, in [0, 1].

    Raises:
        VerifierError: one is missing or out of range.
    """
    try:
        scores = [(float(given[letter]) - 1) / (SCALE - 1) for letter in LETTERS[:count]]
    except (KeyError, TypeError, ValueError) as error:
        raise VerifierError(f"verifier {name!r} got no score for every candidate: {given!r:.200}") from error
    if not all(0 <= score <= 1 for score in scores):
        raise VerifierError(f"verifier {name!r} got scores beyond 1 to {SCALE}: {given!r:.200}")
    return scores
