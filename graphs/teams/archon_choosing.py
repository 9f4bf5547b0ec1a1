"""Layers that choose among candidates: rankers, checkers, evaluators of unit tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...core.types import Verdict
from .archon_work import BEARABLE, ArchonState, Row, Work, grouped, says_yes
from .components import Checker, Ranker, UnitTestEvaluator, UnitTestWriter
from .lineup import Lineup


class Ranking(Work):
    """A layer of a ranker."""

    async def changed(self, before: Sequence[Row]) -> ArchonState:
        """Put the candidates in order and keep the best."""
        ranker = self.component
        assert isinstance(ranker, Ranker)
        return {"candidates": await self._rank(ranker, before)}

    async def _rank(self, ranker: Ranker, before: Sequence[Row]) -> list[Row]:
        if len(before) < 2:
            return [*before]
        lineup = await self.lineup(before)
        try:
            if ranker.by.scope == "set":
                order = await self._compared(ranker, lineup, list(range(len(before))), "")
            else:
                order = await self._valued(ranker, lineup)
        except BEARABLE as error:
            self.note(error)
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
            self.note(f"{len(places)} candidates were ranked in {len(groups)} groups first")
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
        verdicts = await self.verdicts(ranker.by, lineup, range(len(lineup.entrants)), "rank")
        values = [-1.0 if verdict is None else verdict.value for verdict in verdicts]
        return sorted(range(len(values)), key=lambda place: (-values[place], place))


class Checking(Work):
    """A layer of a checker."""

    async def changed(self, before: Sequence[Row]) -> ArchonState:
        """Keep the candidates that are found right; all of them where none is."""
        checker = self.component
        assert isinstance(checker, Checker)
        return {"candidates": await self._check(checker, before)}

    async def _check(self, checker: Checker, before: Sequence[Row]) -> list[Row]:
        """Return the candidates that are found right; all of them where none is."""
        lineup = await self.lineup(before)
        right: list[int] = []
        places, wanted = list(range(len(before))), checker.first or len(before)
        while places and len(right) < wanted:
            wave, places = places[: wanted - len(right)], places[wanted - len(right) :]
            verdicts = await self.verdicts(checker.by, lineup, wave, "check")
            right += [place for place, verdict in zip(wave, verdicts, strict=True) if says_yes(verdict)]
        if not right and before:
            self.note("none was found right; all stay")
        return [before[place] for place in right] or [*before]


class Testing(Work):
    """A layer of an evaluator of unit tests."""

    async def changed(self, before: Sequence[Row]) -> ArchonState:
        """Keep the candidates that pass most tests."""
        evaluator = self.component
        assert isinstance(evaluator, UnitTestEvaluator)
        return {"candidates": await self._run_tests(evaluator, before)}

    async def _run_tests(self, evaluator: UnitTestEvaluator, before: Sequence[Row]) -> list[Row]:
        tests = tuple(self.state.get("tests", []))
        if not tests:
            self.note("there are no unit tests; the candidates stay in their order")
            return [*before[: max(evaluator.top, evaluator.first or 0)]]
        [writer] = self.layers[self.number - 2]
        assert isinstance(writer, UnitTestWriter)
        verifier = replace(writer.by, tests=tests, scope="answer", accept=1.0)
        lineup = await self.lineup(before)
        verdicts: list[Verdict | None] = []
        all_passed: list[int] = []
        step = len(before) if evaluator.first is None else evaluator.first
        while len(verdicts) < len(before):
            wave = range(len(verdicts), min(len(verdicts) + step, len(before)))
            verdicts += await self.verdicts(verifier, lineup, wave, "test")
            all_passed = [place for place, verdict in enumerate(verdicts) if says_yes(verdict)]
            if evaluator.first is not None and len(all_passed) >= evaluator.first:
                return [before[place] for place in all_passed[: evaluator.first]]
        values = [-1.0 if verdict is None else verdict.value for verdict in verdicts]
        order = sorted(range(len(before)), key=lambda place: (-values[place], place))
        return [before[place] for place in order[: evaluator.top]]
