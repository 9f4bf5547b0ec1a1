"""Layers that say something of candidates or of the task: critics, and writers of unit tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from ...agents.prompts import fill
from ...core.schemas import form_of_object
from ...core.types import JSON, Message
from ...verifiers.fence import TAINTED, fenced
from ...verifiers.ordering import MOST_ORDERED
from .archon_work import BEARABLE, ArchonState, Row, Work, grouped
from .components import Critic, UnitTestWriter
from .lineup import Lineup

_CRITIQUE_LIMIT_CHARS = 400


class Criticising(Work):
    """A layer of a critic."""

    async def changed(self, before: Sequence[Row]) -> ArchonState:
        """Say what is good and bad about each candidate."""
        critic = self.component
        assert isinstance(critic, Critic)
        return {"candidates": await self._criticise(critic, before)}

    async def _criticise(self, critic: Critic, before: Sequence[Row]) -> list[Row]:
        """Return the candidates with what is good and bad about each; as they were where the critic does not say it of all."""
        lineup, rows = await self.lineup(before), [*before]
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
                self.note(error)
                return []
            if said := read_critiques(reply.text, len(group)):
                return said
        self.note(f"the critic had not said something of each candidate after {critic.attempts} attempts")
        return []


class TestWriting(Work):
    """A layer of a writer of unit tests."""

    async def changed(self, before: Sequence[Row]) -> ArchonState:
        """Write tests from the task alone."""
        writer = self.component
        assert isinstance(writer, UnitTestWriter)
        return {"tests": await self._write_tests(writer, before)}

    async def _write_tests(self, writer: UnitTestWriter, before: Sequence[Row]) -> list[str]:
        lineup = await self.lineup(before[:1])
        try:
            model = await self.stage.model(writer.by.model)
            return [*await writer.by.write(lineup.candidate(0, model=model, seed=self.stage.scope.seed))]
        except BEARABLE as error:
            self.note(error)
            return []


def read_critiques(text: str, count: int) -> list[str]:
    """Return what a reply says of each of `count` candidates; nothing where it does not say something of all of them."""
    try:
        data: JSON = json.loads(text)
        rows = [data[f"solution{number}"] for number in range(1, count + 1)]
        said = [f"Strengths: {row['strengths']}\nWeaknesses: {row['weaknesses']}" for row in rows]
    except (ValueError, RecursionError, KeyError, TypeError):
        return []
    return said if len(data) == count else []
