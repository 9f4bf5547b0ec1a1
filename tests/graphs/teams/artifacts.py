"""Artifacts of digits under constraints, one for each: how a model drafts and mends them, and how code checks them."""

from __future__ import annotations

import json
import random

import branchwise as bw
from branchwise.core.simulated.artifacts import Constraints as World
from branchwise.core.simulated.critics import fences
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest
from branchwise.verifiers import Constraint


def turn(text: str) -> str:
    """An answer in the JSON form."""
    return json.dumps({"thought": "so", "tool": "answer", "args": {"text": text}})


def is_one(place: int) -> bw.Verifier:
    """A check by code: whether a digit is 1."""

    @bw.verifier(name=f"digit {place}")
    def check(candidate: bw.Candidate) -> bool:
        return (candidate.answer or "")[place : place + 1] == "1"

    return check


def digits(count: int) -> tuple[Constraint, ...]:
    """The constraints of a world."""
    return tuple(Constraint(f"digit {n} is 1", f"d{n}", check=is_one(n)) for n in range(count))


def artist(world: World) -> ScriptedModel:
    """A model that drafts and mends as the world has it; its seed is that of the request."""

    def reply(request: ModelRequest) -> str:
        prompt, rng = request.messages[-1].content, random.Random(request.sampling.seed)
        if "There is a version already" not in prompt:
            return turn(world.fresh(rng))
        shown = fences(request)
        violated = [n for n in range(world.count) if f"violated: digit {n} is 1" in shown["check"]]
        return turn(world.edited(shown["version"], rng, violated))

    return ScriptedModel(reply, native_tools=False)
