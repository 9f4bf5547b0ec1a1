"""A scripted model that looks for the solution of a Countdown puzzle: alone, or by dividing it among searches of its own."""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass

from ..testing import TOKEN_CHARS, ScriptedModel
from ..types import JSON, ModelRequest
from .countdown import Countdown

Rng = random.Random

NOTHING = "none"
"""The answer of a search that found no solution."""

_ANSWER = re.compile(r"^h\d+ answers(?: \(.*?\))?: (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Explorer:
    """Tries one operation after the other, in an order that `seed` decides, and writes down each; no luck and no insight.

    Alone it goes through the whole tree of a puzzle, depth first, in one turn. Where it may start helpers (adaptive parallel
    reasoning, Pan et al. 2025) it has `branches` of the puzzles after one operation worked on at once, each by a helper that does
    so alone, joins them, and goes on with the next ones unless one of them has answered. It speaks the JSON form of turns.

    Args:
        seed: the order.
        branches: helpers at once, >= 1.
        made_up: share of the puzzles of helpers to which they answer whatever comes to their mind.
    """

    seed: int = 0
    branches: int = 10
    made_up: float = 0.0

    def order(self, puzzle: Countdown) -> list[Countdown]:
        """Return the puzzles after one operation in the order in which they are tried."""
        forks = puzzle.forks()
        Rng(f"{self.seed} {puzzle}").shuffle(forks)
        return forks

    def explore(self, puzzle: Countdown, limit_tokens: int) -> tuple[str, str | None]:
        """Return what it writes on its way through a puzzle, and the solution; not much more than `limit_tokens` of it."""
        lines: list[str] = []
        stack = self.order(puzzle)[::-1]
        room = limit_tokens * TOKEN_CHARS
        while stack and room > 0:
            fork = stack.pop()
            lines.append(", ".join(f"{expression} = {value}" for value, expression in fork.terms))
            room -= len(lines[-1]) + 1
            if len(fork.terms) > 1:
                stack += self.order(fork)[::-1]
            elif (solution := fork.solution()) is not None:
                return "\n".join(lines), solution
        return "\n".join(lines), None

    # --- its turns ---

    def alone(self, puzzle: Countdown, limit_tokens: int) -> str:
        """Return the turn in which it goes through a puzzle and answers."""
        words, solution = self.explore(puzzle, limit_tokens)
        rng = Rng(f"{self.seed} made up {puzzle}")
        if rng.random() < self.made_up:
            leaves = puzzle
            while len(leaves.terms) > 1:
                leaves = rng.choice(leaves.forks())
            solution = ", ".join(expression for _, expression in leaves.terms)
        return turn("answer", words, text=solution or NOTHING)

    def divided(self, puzzle: Countdown, turns: int, joined: str) -> str:
        """Return the turn after `turns` others in which it has a puzzle worked on by helpers.

        Args:
            puzzle: the whole.
            turns: how many it has taken.
            joined: what the last one brought.
        """
        found = next((text for text in _ANSWER.findall(joined) if text != NOTHING), None)
        if found is not None:
            return turn("answer", "", text=found)
        begun = turns // 2 * self.branches
        batch = self.order(puzzle)[begun : begun + self.branches]
        if turns % 2:
            return turn("join", "", helpers=[f"h{begun + number}" for number in range(1, len(batch) + 1)])
        return turn("spawn", "", tasks=[str(fork) for fork in batch]) if batch else turn("answer", "", text=NOTHING)

    def model(self, *, context_tokens: int | None = None, slots: int = 16) -> ScriptedModel:
        """Return the model. It divides a puzzle of more than two terms where a turn may call `spawn`."""

        def script(request: ModelRequest) -> str:
            puzzle = Countdown.read(request.messages[1].content.strip())
            if len(puzzle.terms) > 2 and _may_spawn(request.response_schema or {}):
                turns = sum(message.role == "assistant" for message in request.messages)
                return self.divided(puzzle, turns, request.messages[-1].content)
            return self.alone(puzzle, request.sampling.max_tokens)

        return ScriptedModel(
            script, name="simulated:explorer", slots=slots, native_tools=False, context_tokens=context_tokens
        )


def turn(tool: str, thought: str, **args: JSON) -> str:
    """Return a turn in the JSON form."""
    return json.dumps({"thought": thought, "tool": tool, "args": args})


def _may_spawn(schema: object) -> bool:
    return '"const": "spawn"' in json.dumps(schema)
