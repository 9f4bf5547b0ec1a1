"""Layers that make candidates: generators and fusers, each sample a search of the agent."""

from __future__ import annotations

from collections.abc import Sequence

from ...agents.prompts import fill
from ...core.errors import BranchwiseError
from ...core.types import Result, Task
from ...search.equivalence import key
from ...verifiers.ordering import MOST_ORDERED
from .archon_rules import calls_of
from .archon_work import ArchonState, Row, Work, grouped, member
from .components import Fuser, Generator
from .lineup import Entrant, Lineup


class Making(Work):
    """A layer of generators or fusers."""

    async def changed(self, before: Sequence[Row]) -> ArchonState:
        """Have the layer's generators or fusers make candidates. Where they make none, those before stay."""
        lineup = await self.lineup(before)
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
            self.note("no candidate was made; those before stay")
            return {"candidates": [*before]}
        return {"nothing": ended[0][0], "over": True}

    async def _fused_in_groups(self, lineup: Lineup) -> tuple[Lineup, list[int]]:
        """Fuse many candidates group by group first; return what came of the groups."""
        part = self.layer[0]
        assert isinstance(part, Fuser)
        groups = grouped(range(len(lineup.entrants)), MOST_ORDERED)
        wanted = [(f"fuse{self.number}.0.{number}", part, list(group)) for number, group in enumerate(groups, start=1)]
        self.note(f"{len(lineup.entrants)} candidates were fused in {len(groups)} groups first")
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
                self.note(result)
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
