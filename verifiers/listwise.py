"""Comparing candidates in one call: a judge that sees all of them and names the best, or puts them in order."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..core.errors import UsageError, VerifierError
from ..core.keys import derive_seed
from ..core.protocols import Candidate, Model, Verifier
from ..core.schemas import form_of_object
from ..core.types import JSON, Message, Node, NodeId, Semantics, Usage, Verdict
from .asking import Asker, chances
from .combining import spent, votes
from .fence import TAINTED, fenced
from .ordering import MOST_ORDERED, read_order
from .part import Part
from .showing import Show, shown

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""What candidates are called before a judge: one token each."""

CRITIQUE_LIMIT_CHARS = 1_200

_CRITIQUE: JSON = {"type": "string", "maxLength": CRITIQUE_LIMIT_CHARS}

_SYSTEM = """You compare solutions to one task. Their order says nothing about them.
{tainted}
{checklist}
First write in "critique" how they compare. {reply}"""

_REPLY = {
    "best": 'Then name in "best" the letter of the best one.',
    "order": 'Then write in "order" the numbers of all of them, the best one first, like this: [2] > [3] > [1].',
}

NUMBERS = tuple(str(number) for number in range(1, MOST_ORDERED + 1))
"""What candidates are called that are put in order."""


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


def lined_up(
    candidate: Candidate, show: Show, order: Sequence[int], labels: Sequence[str] = LETTERS, *, said: bool = False
) -> tuple[list[Node], str]:
    """Return the compared nodes, and the task with all of them in an order.

    Args:
        candidate: names those that are compared.
        show: what is shown of each.
        order: places of the candidates in the order in which they are shown.
        labels: what each place is called.
        said: whether what verifiers said of a candidate stands after it.
    """
    rivals = candidate.rivals()
    blocks: list[str] = []
    for label, number in zip(labels, order, strict=False):
        node = rivals[number].id
        blocks.append(fenced(f"solution {label}", shown(candidate.at(node), show)))
        words = [v.feedback for v in candidate.view.verdicts(node) if v.feedback] if said and candidate.view else []
        blocks += [fenced(f"said of solution {label}", "\n".join(words))] if words else []
    return rivals, "\n\n".join([fenced("task", candidate.task.prompt), *blocks])


def called(rivals: Sequence[Node], order: Sequence[int], labels: Sequence[str] = LETTERS) -> str:
    """Return which letter is which node."""
    return ", ".join(f"{label} is node {rivals[number].id}" for label, number in zip(labels, order, strict=False))


def check_rivals(name: str, candidate: Candidate, most: int = len(LETTERS)) -> int:
    """Return how many candidates there are to compare.

    Raises:
        VerifierError: too few, or too many.
    """
    count = len(candidate.rivals()) if candidate.view is not None else 0
    if not 2 <= count <= most:
        raise VerifierError(f"verifier {name!r} compares 2 to {most} candidates and was given {count}")
    return count


@dataclass(frozen=True)
class Listwise:
    """Show a model all candidates at once and have it name the best, or put them in order: one call for all of them.

    CHOPS, checklisted one-pass selection (Khairi et al. 2025, When Life Gives You Samples). Judges prefer places in a list, so
    candidates are shuffled, and moved on in each of `k` calls; their votes are shared out by the probabilities of the letters
    where the server tells them. It is asked when the search has nothing more to do or its budget runs short
    (`search.Comparing`), and its verdict decides among the candidates.

    Args:
        checklist: what to look for, point by point, for this kind of task.
        k: calls, each with another order, >= 1. Each is charged.
        form: name the `best`; or write an `order`, of which the places count (Saad-Falcon et al. 2024, Archon's ranker; Borda's count
            over `k` calls). Whom an order leaves out follows in the order shown.
        said: whether it sees what verifiers said of the candidates before.
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
    form: Literal["best", "order"] = "best"
    said: bool = False
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
        if self.form not in ("best", "order"):
            raise UsageError(f"Listwise(form={self.form!r}) must be 'best' or 'order'")

    @property
    def labels(self) -> Sequence[str]:
        """What candidates are called; as many as it can compare."""
        return LETTERS if self.form == "best" else NUMBERS

    @property
    def parts(self) -> Sequence[Verifier]:
        """One call."""
        return (_Look(self, 0, self.k, 0),)

    async def judge(self, candidate: Candidate) -> Verdict:
        """Compare `k` times.

        Raises:
            VerifierError: no call named a candidate, or there is nothing to compare.
        """
        check_rivals(self.name, candidate, len(self.labels))
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
class _Look(Part[Listwise]):
    """One call of a listwise judge."""

    turn: int
    turns: int
    order: int

    async def judge(self, candidate: Candidate) -> Verdict:
        """Ask once."""
        of = self.of
        count = check_rivals(self.name, candidate, len(of.labels))
        order = seats(count, self.order, self.turn, self.turns)
        rivals, text = lined_up(candidate, of.show, order, of.labels, said=of.said)
        system = _SYSTEM.format(tainted=TAINTED, checklist=checklist_text(of.checklist), reply=_REPLY[of.form])
        messages = [Message("system", system), Message("user", text)]
        reply = await (self._best if of.form == "best" else self._order)(candidate, messages, count)
        worth, words, usage = reply
        ranking: dict[NodeId, float] = {rivals[number].id: worth[seat] for seat, number in enumerate(order)}
        feedback = f"({called(rivals, order, of.labels)}) {words}"
        return Verdict(
            max(ranking.values()), self.semantics, self.name, feedback=feedback, usage=usage, ranking=ranking
        )

    async def _best(
        self, candidate: Candidate, messages: Sequence[Message], count: int
    ) -> tuple[list[float], str, Usage]:
        """Return the probability that each place has the best candidate, what was said, and what it cost."""
        letters = LETTERS[:count]
        schema = form_of_object(critique=_CRITIQUE, best={"enum": list(letters)})
        reply = await self._asker(20).ask(candidate, messages, schema)
        shares = chances(reply.response, "best", [letter.lower() for letter in letters])
        shares = shares or {str(reply.data["best"]).lower(): 1.0}
        worth = [min(1.0, shares.get(letter.lower(), 0.0)) for letter in letters]
        return worth, str(reply.data.get("critique", "")), reply.usage

    async def _order(
        self, candidate: Candidate, messages: Sequence[Message], count: int
    ) -> tuple[list[float], str, Usage]:
        """Return what the place of each in the order is worth, from 1 for the first to 0 for the last, likewise.

        Raises:
            VerifierError: no candidate is named anywhere.
        """
        # A whole order takes room: a mark and its arrow are up to eight tokens.
        schema = form_of_object(critique=_CRITIQUE, order={"type": "string", "maxLength": 16 + 8 * count})
        text, usage = await self._asker(None, more_tokens=8 * count).write(candidate, messages, schema)
        said, critique = _fields(text)
        places, named = read_order(said, count)
        if not named:
            raise VerifierError(f"verifier {self.name!r} got an order that names no candidate: {said[:200]!r}")
        worth = [0.0] * count
        for rank, place in enumerate(places):
            worth[place] = 1 - rank / (count - 1)
        return worth, critique, usage

    def _asker(self, logprobs: int | None, *, more_tokens: int = 0) -> Asker:
        of = self.of
        return Asker(self.name, of.model, of.temperature, of.max_tokens + more_tokens, logprobs)


def _fields(text: str) -> tuple[str, str]:
    """Return the order and the critique of a reply, also of one that is not of the form that was asked for.

    One that breaks off has its order behind the field's name, if it came so far: numbers in a critique are no order.
    """
    try:
        data: JSON = json.loads(text)
        return str(data["order"]), str(data.get("critique", ""))
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        _, field, order = text.rpartition('"order"')
        return (order, "") if field or not text.lstrip().startswith("{") else ("", "")
