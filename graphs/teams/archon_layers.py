"""What the layers of an Archon do: from the candidates that there are to those that the next layer gets.

Nothing that a model says can break a layer: one that fails leaves the candidates as they are, the most frequent answer first,
and says so in the report.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

from ...agents.agent import Agent
from ...agents.prompts import fill
from ...core.errors import BranchwiseError, BudgetExceeded, ModelError, SandboxError, VerifierError
from ...core.schemas import form_of_object
from ...core.types import JSON, Message, Result, Task, Verdict
from ...search.equivalence import key
from ...verifiers.fence import TAINTED, fenced
from ...verifiers.ordering import MOST_ORDERED
from ..stage import Stage
from .archon_rules import calls_of
from .components import Checker, Critic, Fuser, Generator, Layer, Ranker, UnitTestEvaluator, UnitTestWriter
from .lineup import Entrant, Lineup

BEARABLE = (VerifierError, ModelError, SandboxError, BudgetExceeded)
"""What a layer can fail with and the Archon goes on."""

_CRITIQUE_LIMIT_CHARS = 400

_PLACE = re.compile(r"[a-z]+(\d+)\.(\d+)\.")
"""Layer and component in the name of a search; groups of candidates are fused by component 0, the first."""

Row = dict[str, JSON]
"""A candidate between two layers: `search` made it, `count` searches came to the same, a critic `said` something of it."""


class ArchonState(TypedDict, total=False):
    """What LangGraph checkpoints; plain data."""

    candidates: list[Row]
    """The best first, as far as is known; before that the most frequent."""
    tests: list[str]
    """Unit tests, between their writer and their evaluator."""
    layers: list[Row]
    """One row for each layer that is done: what it made of how many candidates."""
    nothing: str
    """A search that came to nothing, where all of them did."""
    over: bool
    """Whether the verifiers accepted a candidate, or there is none: no further layer is needed."""


@dataclass
class Work:
    """One layer at work.

    Args:
        number: of the layer, from 1.
        layers: all layers of the Archon.
        stage: where it works.
        state: as the layers before left it.
    """

    number: int
    layers: Sequence[Layer]
    stage: Stage
    state: ArchonState
    notes: list[str] = field(default_factory=list[str], init=False)
    """What went wrong, for the report."""
    short: bool = field(default=False, init=False)
    """Whether a limit of the budget was reached."""

    @property
    def layer(self) -> Layer:
        """Its components."""
        return self.layers[self.number - 1]

    async def done(self) -> ArchonState:
        """Do the layer's work; return what has changed."""
        if self.number == 1:
            self.state = {}  # a run that goes on after its end goes through its layers once more
        before, component = self.state.get("candidates", []), self.layer[0]
        changed: ArchonState
        match component:
            case Generator() | Fuser():
                changed = await self._make(before)
            case Ranker():
                changed = {"candidates": await self._rank(component, before)}
            case Checker():
                changed = {"candidates": await self._check(component, before)}
            case Critic():
                changed = {"candidates": await self._criticise(component, before)}
            case UnitTestWriter():
                changed = {"tests": await self._write_tests(component, before)}
            case UnitTestEvaluator():
                changed = {"candidates": await self._run_tests(component, before)}
        after = changed.get("candidates", before)
        row: Row = {"layer": self.number, "kind": component.kind, "before": len(before), "after": len(after)}
        row |= {"notes": self.notes} if self.notes else {}
        row |= {"short": True} if self.short else {}
        return {**changed, "layers": [*self.state.get("layers", []), row]}

    def _note(self, error: BaseException | str) -> None:
        self.short |= isinstance(error, BudgetExceeded)
        self.notes.append(error if isinstance(error, str) else f"{type(error).__name__}: {error}")

    async def _lineup(self, rows: Sequence[Row]) -> Lineup:
        """Return the candidates side by side, with what their searches came to."""
        results = [await made(self.stage, self.layers, row) for row in rows]
        entrants = [
            Entrant(result, int(row["count"]), str(row.get("said", "")))
            for row, result in zip(rows, results, strict=True)
        ]
        return await Lineup.of(self.stage, entrants)

    # --- generators and fusers: searches of the agent ---

    async def _make(self, before: Sequence[Row]) -> ArchonState:
        """Have the layer's generators or fusers make candidates. Where they make none, those before stay."""
        lineup = await self._lineup(before)
        places = list(range(len(before)))
        if len(places) > MOST_ORDERED:
            lineup, places = await self._fused_in_groups(lineup)
        wanted = [
            (f"{part.kind}{self.number}.{index}.{sample}", part, places)
            for index, part in enumerate(self.layer, start=1)
            if isinstance(part, Generator | Fuser)
            for sample in range(1, part.samples + 1)
        ]
        ended = await self._searched(wanted, lineup)
        rows = merged(ended)
        if rows:
            return {"candidates": rows, "over": any(result.accepted for _, result in ended)}
        if before:
            self._note("no candidate was made; those before stay")
            return {"candidates": [*before]}
        return {"nothing": ended[0][0], "over": True}

    async def _fused_in_groups(self, lineup: Lineup) -> tuple[Lineup, list[int]]:
        """Fuse many candidates group by group first; return what came of the groups."""
        part = self.layer[0]
        assert isinstance(part, Fuser)
        groups = grouped(range(len(lineup.entrants)), MOST_ORDERED)
        wanted = [(f"fuse{self.number}.0.{number}", part, list(group)) for number, group in enumerate(groups, start=1)]
        self._note(f"{len(lineup.entrants)} candidates were fused in {len(groups)} groups first")
        ended = [(name, result) for name, result in await self._searched(wanted, lineup) if result.node is not None]
        if not ended:
            return lineup, groups[0]
        fused = await Lineup.of(self.stage, [Entrant(result) for _, result in ended])
        return fused, list(range(len(ended)))

    async def _searched(
        self, wanted: Sequence[tuple[str, Generator | Fuser, Sequence[int]]], lineup: Lineup
    ) -> list[tuple[str, Result]]:
        """Run searches side by side, each with its share of what is left; return those that came to an end.

        Raises:
            ModelError, SandboxError: none could begin, and there is no candidate from before.
        """
        stage, left = self.stage, sum(calls_of(self.layers)[self.number - 1 :])
        # To each its part of what is left, with those to come counted in: what it leaves over is shared out later on.
        budget = stage.share(1 / max(left, len(wanted)), [name for name, _, _ in wanted])
        searches = [
            stage.search(name, self._task(part, lineup, places), agent=member(stage, part), budget=budget)
            for name, part, places in wanted
        ]
        ended: list[tuple[str, Result]] = []
        failed: list[BranchwiseError] = []
        for (name, _, _), result in zip(wanted, await stage.together(*searches), strict=True):
            if isinstance(result, BranchwiseError):
                failed.append(result)
                self._note(result)
                continue
            self.short |= result.stop_reason == "budget"
            ended.append((name, result))
        if not ended and failed and not lineup.entrants:
            raise failed[0]
        return ended

    def _task(self, part: Generator | Fuser, lineup: Lineup, places: Sequence[int]) -> Task:
        """Return the task as a search is to see it."""
        task = self.stage.task
        if isinstance(part, Generator):
            return task
        said = ", with what was said of them" if any(map(lineup.said, places)) else ""
        prompt = fill("fuse", task=task.prompt, said=said, solutions=lineup.blocks(places, part.show))
        return task.model_copy(update={"prompt": prompt})

    # --- choosing ---

    async def _rank(self, ranker: Ranker, before: Sequence[Row]) -> list[Row]:
        if len(before) < 2:
            return [*before]
        lineup = await self._lineup(before)
        try:
            if ranker.by.scope == "set":
                order = await self._compared(ranker, lineup, list(range(len(before))), "")
            else:
                order = await self._valued(ranker, lineup)
        except BEARABLE as error:
            self._note(error)
            order = list(range(len(before)))
        return [before[place] for place in order[: ranker.top]]

    async def _compared(self, ranker: Ranker, lineup: Lineup, places: Sequence[int], turn: str) -> list[int]:
        """Return places in order, the best first. Too many for one call are ranked in groups, whose best meet in a further one."""
        most = len(getattr(ranker.by, "labels", range(26)))
        if len(places) <= most:
            if len(places) < 2:
                return [*places]
            worth = await lineup.compare(f"rank{self.number}{turn}", ranker.by, places)
            return [places[number] for number in sorted(range(len(places)), key=lambda n: (-worth[n], n))]
        groups = grouped(places, most)
        if not turn:
            self._note(f"{len(places)} candidates were ranked in {len(groups)} groups first")
        ordered: list[Sequence[int]] = []
        for number, group in enumerate(groups, start=1):
            ordered.append(await self._compared(ranker, lineup, group, f"{turn}.g{number}"))
        rounds = [[group[rank] for group in ordered if rank < len(group)] for rank in range(max(map(len, ordered)))]
        finalists: list[int] = []
        while rounds and len(finalists) + len(rounds[0]) <= most:
            finalists += rounds.pop(0)
        first = await self._compared(ranker, lineup, finalists, f"{turn}.f")
        return [*first, *(place for level in rounds for place in level)]

    async def _valued(self, ranker: Ranker, lineup: Lineup) -> list[int]:
        """Return places in order by a verifier that values each by itself; what it had no verdict on comes last."""
        verdicts = await self._verdicts(ranker.by, lineup, range(len(lineup.entrants)), "rank")
        values = [-1.0 if verdict is None else verdict.value for verdict in verdicts]
        return sorted(range(len(values)), key=lambda place: (-values[place], place))

    async def _check(self, checker: Checker, before: Sequence[Row]) -> list[Row]:
        """Return the candidates that are found right; all of them where none is."""
        lineup = await self._lineup(before)
        right: list[int] = []
        places, wanted = list(range(len(before))), checker.first or len(before)
        while places and len(right) < wanted:
            wave, places = places[: wanted - len(right)], places[wanted - len(right) :]
            verdicts = await self._verdicts(checker.by, lineup, wave, "check")
            right += [place for place, verdict in zip(wave, verdicts, strict=True) if _says_yes(verdict)]
        if not right and before:
            self._note("none was found right; all stay")
        return [before[place] for place in right] or [*before]

    async def _verdicts(self, verifier: Any, lineup: Lineup, places: Sequence[int], why: str) -> list[Verdict | None]:
        """Return what a verifier says of some candidates, None where it has no verdict."""
        found = await self.stage.together(
            *(lineup.judge(f"{why}{self.number}.{place + 1}", verifier, place) for place in places)
        )
        for error in found:
            if isinstance(error, BranchwiseError):
                self._note(error)
        return [None if isinstance(verdict, BranchwiseError) else verdict for verdict in found]

    # --- critiques ---

    async def _criticise(self, critic: Critic, before: Sequence[Row]) -> list[Row]:
        """Return the candidates with what is good and bad about each; as they were where the critic does not say it of all."""
        lineup, rows = await self._lineup(before), [*before]
        for turn, group in enumerate(grouped(range(len(before)), MOST_ORDERED)):
            said = await self._critiques(critic, lineup, group, turn)
            for place, words in zip(group, said, strict=False):
                rows[place] = {**rows[place], "said": words}
        return rows

    async def _critiques(self, critic: Critic, lineup: Lineup, group: Sequence[int], turn: int) -> list[str]:
        line: JSON = {"type": "string", "maxLength": _CRITIQUE_LIMIT_CHARS}
        each = form_of_object(strengths=line, weaknesses=line)
        schema = form_of_object(**{f"solution{number}": each for number in range(1, len(group) + 1)})
        shown = "\n\n".join([fenced("task", self.stage.task.prompt), lineup.blocks(group, critic.show)])
        messages = [Message("system", fill("criticise", tainted=TAINTED)), Message("user", shown)]
        sampling = replace(self.stage.agent.sampling, max_tokens=critic.max_tokens, logprobs=None, stop=())
        for attempt in range(critic.attempts):
            name = f"criticise{self.number}.{turn}.{attempt}"
            try:
                reply = await self.stage.ask(name, messages, model=critic.model, sampling=sampling, schema=schema)
            except BEARABLE as error:
                self._note(error)
                return []
            if said := read_critiques(reply.text, len(group)):
                return said
        self._note(f"the critic had not said something of each candidate after {critic.attempts} attempts")
        return []

    # --- unit tests ---

    async def _write_tests(self, writer: UnitTestWriter, before: Sequence[Row]) -> list[str]:
        lineup = await self._lineup(before[:1])
        try:
            model = await self.stage.model(writer.by.model)
            return [*await writer.by.write(lineup.candidate(0, model=model, seed=self.stage.scope.seed))]
        except BEARABLE as error:
            self._note(error)
            return []

    async def _run_tests(self, evaluator: UnitTestEvaluator, before: Sequence[Row]) -> list[Row]:
        tests = tuple(self.state.get("tests", []))
        if not tests:
            self._note("there are no unit tests; the candidates stay in their order")
            return [*before[: max(evaluator.top, evaluator.first or 0)]]
        [writer] = self.layers[self.number - 2]
        assert isinstance(writer, UnitTestWriter)
        verifier = replace(writer.by, tests=tests, scope="answer", accept=1.0)
        lineup = await self._lineup(before)
        verdicts: list[Verdict | None] = []
        all_passed: list[int] = []
        step = len(before) if evaluator.first is None else evaluator.first
        while len(verdicts) < len(before):
            wave = range(len(verdicts), min(len(verdicts) + step, len(before)))
            verdicts += await self._verdicts(verifier, lineup, wave, "test")
            all_passed = [place for place, verdict in enumerate(verdicts) if _says_yes(verdict)]
            if evaluator.first is not None and len(all_passed) >= evaluator.first:
                return [before[place] for place in all_passed[: evaluator.first]]
        values = [-1.0 if verdict is None else verdict.value for verdict in verdicts]
        order = sorted(range(len(before)), key=lambda place: (-values[place], place))
        return [before[place] for place in order[: evaluator.top]]


def member(stage: Stage, part: Generator | Fuser) -> Agent:
    """Return the agent for one search of an Archon: the stage's own, with a component's model and temperature."""
    agent = replace(stage.agent, team=None, plan=None, final=(), rounds=0, search=stage.strategy)
    if part.temperature is not None:
        agent = replace(agent, sampling=replace(agent.sampling, temperature=part.temperature))
    return agent if part.model is None else replace(agent, model=part.model)


async def made(stage: Stage, layers: Sequence[Layer], row: Row) -> Result:
    """Return what the search of a candidate came to, also where an earlier process ran it."""
    name = str(row["search"])
    place = _PLACE.match(name)
    assert place is not None
    part = layers[int(place[1]) - 1][max(0, int(place[2]) - 1)]
    assert isinstance(part, Generator | Fuser)
    return await stage.search(name, agent=member(stage, part))


def merged(ended: Sequence[tuple[str, Result]]) -> list[Row]:
    """Return the candidates that searches came to, equal ones as one: accepted ones first, then the most frequent.

    Candidates are equal if their answers are, but for space around them, and so are their files.
    """
    same: dict[object, list[tuple[str, Result]]] = {}
    for name, result in ended:
        if result.node is not None:
            answer = None if result.answer is None else key(result.answer, "exact")
            same.setdefault((answer, result.tree[result.node].env_ref), []).append((name, result))
    groups = [sorted(group, key=lambda pair: not pair[1].accepted) for group in same.values()]
    groups.sort(key=lambda group: (not group[0][1].accepted, -len(group)))
    return [{"search": group[0][0], "count": len(group)} for group in groups]


def grouped(places: Sequence[int], most: int) -> list[list[int]]:
    """Return places in as few groups of at most `most` as there can be, of about the same size."""
    count = -(-len(places) // most)
    return [list(places[number::count]) for number in range(count)]


def read_critiques(text: str, count: int) -> list[str]:
    """Return what a reply says of each of `count` candidates; nothing where it does not say something of all of them."""
    try:
        data: JSON = json.loads(text)
        rows = [data[f"solution{number}"] for number in range(1, count + 1)]
        said = [f"Strengths: {row['strengths']}\nWeaknesses: {row['weaknesses']}" for row in rows]
    except (ValueError, RecursionError, KeyError, TypeError):
        return []
    return said if len(data) == count else []


def _says_yes(verdict: Verdict | None) -> bool:
    """Whether a verifier found a candidate right; what it had no verdict on it did not."""
    if verdict is None:
        return False
    return verdict.value >= 0.5 if verdict.passed is None else verdict.passed
