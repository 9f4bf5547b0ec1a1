"""Comparing candidates in one call: a judge that sees all of them and names the best."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from ..core.errors import UsageError, VerifierError
from ..core.keys import derive_seed
from ..core.protocols import Candidate, Model, Verifier
from ..core.schemas import form_of_object
from ..core.types import JSON, Message, Node, NodeId, Semantics, Verdict
from .asking import Asker, chances
from .combining import spent, votes
from .fence import TAINTED, fenced
from .showing import Show, shown

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""What candidates are called before a judge: one token each."""

CRITIQUE_LIMIT_CHARS = 1_200

_SYSTEM = """You compare solutions to one task. Their order says nothing about them.
{tainted}
{checklist}
First write in "critique" how they compare. Then name in "best" the letter of the best one."""


def checklist_text(checklist: Sequence[str]) -> str:
    """Return what to look for, as a prompt says it."""
    points = checklist or ("it does what the task asks", "every step of it holds", "its final answer is right")
    return "\n".join(["Check of each of them:", *(f"- {point}" for point in points)])


def seats(count: int, seed: int, turn: int, turns: int) -> list[int]:
    """Return the order in which candidates are shown: shuffled once, then moved on so that each sits in another place every turn."""
    order = list(range(count))
    random.Random(seed).shuffle(order)  # noqa: S311 - chance, not secrecy
    shift = turn * count // max(1, turns) % count
    return order[shift:] + order[:shift]


def lined_up(candidate: Candidate, show: Show, order: Sequence[int]) -> tuple[list[Node], str]:
    """Return the compared nodes, and the task with all of them in an order, each by its letter."""
    rivals = candidate.rivals()
    texts = [shown(candidate.at(node.id), show) for node in rivals]
    blocks = [fenced(f"solution {LETTERS[seat]}", texts[number]) for seat, number in enumerate(order)]
    return rivals, "\n\n".join([fenced("task", candidate.task.prompt), *blocks])


def called(rivals: Sequence[Node], order: Sequence[int]) -> str:
    """Return which letter is which node."""
    return ", ".join(f"{LETTERS[seat]} is node {rivals[number].id}" for seat, number in enumerate(order))


def check_rivals(name: str, candidate: Candidate) -> int:
    """Return how many candidates there are to compare.

    Raises:
        VerifierError: too few, or too many.
    """
    count = len(candidate.rivals()) if candidate.view is not None else 0
    if not 2 <= count <= len(LETTERS):
        raise VerifierError(f"verifier {name!r} compares 2 to {len(LETTERS)} candidates and was given {count}")
    return count


class Compares(Protocol):
    """A verifier that compares candidates by model calls."""

    @property
    def name(self) -> str:
        """Shown beside its verdicts."""
        ...

    @property
    def model(self) -> str | Model | None:
        """Its own model."""
        ...


C = TypeVar("C", bound=Compares)


@dataclass(frozen=True)
class OneCall(Generic[C]):
    """One call of a verifier that makes several, as a verifier of its own."""

    of: C

    @property
    def name(self) -> str:
        """The verifier's."""
        return self.of.name

    @property
    def own_models(self) -> Sequence[str | Model]:
        """The verifier's."""
        return () if self.of.model is None else (self.of.model,)


@dataclass(frozen=True)
class Listwise:
    """Show a model all candidates at once and have it name the best: one call for all of them.

    CHOPS, checklisted one-pass selection (Khairi et al. 2025, When Life Gives You Samples). Judges prefer places in a list, so
    candidates are shuffled, and moved on in each of `k` calls; their votes are shared out by the probabilities of the letters
    where the server tells them. It is asked when the search has nothing more to do or its budget runs short
    (`search.Comparing`), and its verdict decides among the candidates.

    Args:
        checklist: what to look for, point by point, for this kind of task.
        k: calls, each with another order, >= 1. Each is charged.
        show: what it sees of the candidates: the `answer`, all `steps`, or the `changes` to the files.
        model: `provider:model` or a `Model` for itself; None asks the agent's.
        temperature: of its sampling.
        max_tokens: longest reply.
        name: shown beside its verdicts.

    Raises:
        UsageError: an option is out of range.
    """

    checklist: tuple[str, ...] = ()
    k: int = 2
    show: Show = "steps"
    model: str | Model | None = None
    temperature: float = 0.3
    max_tokens: int = 512
    name: str = "listwise"
    semantics: Semantics = "preference"
    scope: Literal["set"] = "set"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"Listwise(k={self.k!r}) must be at least 1")

    @property
    def parts(self) -> Sequence[Verifier]:
        """One call."""
        return (_Look(self, 0, self.k, 0),)

    async def judge(self, candidate: Candidate) -> Verdict:
        """Compare `k` times.

        Raises:
            VerifierError: no call named a candidate, or there is nothing to compare.
        """
        check_rivals(self.name, candidate)
        order = derive_seed(candidate.seed, 0)
        verdicts = await votes(candidate, [_Look(self, turn, self.k, order) for turn in range(self.k)])
        rankings = [verdict.ranking or {} for verdict in verdicts]
        nodes = [node.id for node in candidate.rivals()]
        ranking = {node: min(1.0, sum(r.get(node, 0.0) for r in rankings) / len(rankings)) for node in nodes}
        best = max(nodes, key=lambda node: ranking[node])
        speaker = max(verdicts, key=lambda verdict: (verdict.ranking or {}).get(best, 0.0))
        feedback = f"Of {len(nodes)} candidates node {best} is the best.\n{speaker.feedback}"
        return Verdict(
            ranking[best],
            self.semantics,
            self.name,
            feedback=feedback,
            per_constraint={"dropped": float(self.k - len(verdicts))},
            calls=len(verdicts),
            usage=spent(verdicts),
            ranking=ranking,
        )


@dataclass(frozen=True)
class _Look(OneCall[Listwise]):
    """One call of a listwise judge."""

    turn: int
    turns: int
    order: int
    semantics: Semantics = "preference"
    scope: Literal["set"] = "set"

    async def judge(self, candidate: Candidate) -> Verdict:
        """Ask once."""
        count = check_rivals(self.name, candidate)
        order = seats(count, self.order, self.turn, self.turns)
        rivals, text = lined_up(candidate, self.of.show, order)
        letters = LETTERS[:count]
        system = _SYSTEM.format(tainted=TAINTED, checklist=checklist_text(self.of.checklist))
        asker = Asker(self.name, self.of.model, self.of.temperature, self.of.max_tokens, logprobs=20)
        reply = await asker.ask(candidate, [Message("system", system), Message("user", text)], self._schema(letters))
        shares = chances(reply.response, "best", [letter.lower() for letter in letters])
        shares = shares or {str(reply.data["best"]).lower(): 1.0}
        ranking: dict[NodeId, float] = {
            rivals[number].id: min(1.0, shares.get(letters[seat].lower(), 0.0)) for seat, number in enumerate(order)
        }
        feedback = f"({called(rivals, order)}) {reply.data.get('critique', '')}"
        return Verdict(
            max(ranking.values()), self.semantics, self.name, feedback=feedback, usage=reply.usage, ranking=ranking
        )

    def _schema(self, letters: str) -> dict[str, JSON]:
        return form_of_object(
            critique={"type": "string", "maxLength": CRITIQUE_LIMIT_CHARS}, best={"enum": list(letters)}
        )
