"""Agents in a process of their own, for the tests to kill. Run by `runpy` with `folder` and `options` as globals.

Their model is a server of the test's, which knows where they are and can hold them there. What they do outside is a line in the file
`effects`. They can also stop in the middle of an effect or of a last judgement.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import branchwise as bw
from branchwise.core.errors import BranchwiseError
from branchwise.core.types import Task
from branchwise.graphs import LocalRunner, RunStore


class Place:
    """Where the run takes place, and where it is to stop.

    Args:
        folder: of its traces.
        hold: "effect:TEXT" or "judge": stop there for ever, once what was begun has happened.
    """

    def __init__(self, folder: Path, hold: str = "") -> None:
        self._folder = folder
        self._hold = hold

    async def reached(self, where: str) -> None:
        """Stop if it is the place, and say so. Ends with the tests, should these be killed themselves."""
        if where == self._hold:
            (self._folder / "held").touch()
            server = os.getppid()
            while os.getppid() == server:  # noqa: ASYNC110 - nobody tells an orphan
                await asyncio.sleep(0.2)
            os._exit(1)

    def note(self) -> bw.Tool:
        """Return a tool with effects outside."""

        @bw.tool(effects="external")
        async def note(text: str) -> str:
            """Write something down where everybody sees it."""
            with (self._folder / "effects").open("a") as effects:
                effects.write(f"{text}\n")
            await self.reached(f"effect:{text}")
            return "noted"

        return note

    def has_c(self) -> Any:
        """Return a verifier that accepts what has a c in it."""

        @bw.verifier
        async def has_c(candidate: bw.Candidate) -> bw.Verdict:
            await self.reached("judge")
            passed = "c" in (candidate.answer or "")
            feedback = "" if passed else "there is no c"
            return bw.Verdict(float(passed), "outcome", "has_c", passed=passed, feedback=feedback)

        return has_c


def solver(place: Place, **changes: Any) -> bw.Agent:
    """Return an agent that notes and then answers."""
    return bw.Agent(
        **{
            "name": "killable",
            "model": "openai:fake",
            "form": "json",
            "tools": [place.note()],
            "approve": "never",
            "slots": 4,
            **changes,
        }
    )


def teams(place: Place) -> dict[str, Any]:
    """Return the teams that are killed."""
    must = bw.verifiers.Constraint("it has a c", check=place.has_c())
    return {
        "constraint-loop": bw.teams.ConstraintLoop([must]),
        "plangen": bw.teams.PlanGEN([must], derive=0, ways={"plain": bw.search.BestOfN(n=1)}),
        "logic-blocks": bw.teams.LogicBlocks(),
        "scattered": bw.teams.ScatteredStacked(solvers=1, critics=1, rewriters=1),
        "explorer-prover": bw.teams.ExplorerProver(patience=1, rounds=4),
    }


AGENTS: dict[str, Callable[[Place], bw.Agent]] = {
    "solve": lambda place: solver(place, plan=bw.Planner(), final=[place.has_c()], rounds=1),
    "spawn": lambda place: solver(place, spawn=bw.Spawn()),
    "person": lambda place: solver(place, spawn=bw.Spawn(), approve="external"),
}


async def work(folder: Path, agent: str, *, hold: str = "", answers: dict[str, Any] | None = None) -> bw.Result:
    """Begin the folder's run, or go on with it."""
    runner = LocalRunner(RunStore(folder / "runs"))
    place = Place(folder, hold)
    chosen = AGENTS[agent](place) if agent in AGENTS else solver(place, team=teams(place)[agent])
    begun = [path.name for path in (folder / "runs").glob("*")]
    if not begun:
        return await runner.run(chosen, Task(prompt="top"), bw.Budget(), seed=3)
    return await runner.resume(chosen, begun[0], answers=answers)


def main(folder: Path, *, base_url: str, **options: Any) -> None:
    """Run and leave `result.json`."""
    os.environ.update(OPENAI_BASE_URL=base_url, OPENAI_API_KEY="x")
    try:
        result = asyncio.run(work(folder, **options)).to_json()
    except BranchwiseError as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__killable__":
    main(Path(folder), **options)  # type: ignore[name-defined]  # noqa: F821 - given by the test
