"""Artifacts of digits under constraints, one for each: how a model drafts and mends them, and how code checks them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

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


def drafted(world: World, rng: random.Random) -> str:
    """An artifact made from nothing."""
    return "".join(str(int(rng.random() < world.start)) for _ in range(world.count))


def mended(world: World, artifact: str, violated: Sequence[int], rng: random.Random) -> str:
    """An edit: what is said to be violated is mended by chance, what is met may break, what nobody told of stays as it is."""
    met = [
        rng.random() >= world.breaks if digit == "1" else place in violated and rng.random() < world.mends
        for place, digit in enumerate(artifact)
    ]
    return "".join(str(int(one)) for one in met)


def artist(world: World) -> ScriptedModel:
    """A model that drafts and mends as the world has it; its seed is that of the request."""

    def reply(request: ModelRequest) -> str:
        prompt, rng = request.messages[-1].content, random.Random(request.sampling.seed)
        if "There is a version already" not in prompt:
            return turn(drafted(world, rng))
        shown = fences(request)
        violated = [n for n in range(world.count) if f"violated: digit {n} is 1" in shown["check"]]
        return turn(mended(world, shown["version"], violated, rng))

    return ScriptedModel(reply, native_tools=False)
