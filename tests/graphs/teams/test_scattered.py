"""Scattered and stacked: each step sees what it should, and the whole is worth what its parts say."""

from __future__ import annotations

from math import sqrt
from pathlib import Path
from statistics import fmean

import pytest

import branchwise as bw
from branchwise.core.errors import ModelRefused, VerifierError
from branchwise.core.events import Within
from branchwise.core.protocols import Candidate
from branchwise.core.simulated.answers import RIGHT
from branchwise.core.simulated.stacking import Stacking
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest, Task, Verdict
from branchwise.graphs import LocalRunner, RunStore
from branchwise.graphs.teams import ScatteredStacked

TASK = Task(prompt="find it")


class Choosing:
    """A selector whose knowledge is known."""

    name = "choosing"
    semantics = "preference"
    scope = "set"

    def __init__(self, *, knows: bool = True, fails: bool = False) -> None:
        self.knows, self.fails, self.seen = knows, fails, 0

    async def judge(self, candidate: Candidate) -> Verdict:
        """Prefer what is right; or nothing in particular, by the candidate's seed."""
        if self.fails:
            raise VerifierError("cannot choose")
        rivals = candidate.rivals()
        self.seen = max(self.seen, len(rivals))
        worth = {node.id: float(node.answer == RIGHT) for node in rivals}
        if not self.knows:
            chosen = rivals[candidate.seed % len(rivals)].id
            worth = {node.id: float(node.id == chosen) for node in rivals}
        return Verdict(max(worth.values()), "preference", self.name, ranking=worth)


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner whose runs live in the test's own folder."""
    return LocalRunner(RunStore(tmp_path / "runs"))


def team(model: object, **options: object) -> bw.Agent:
    """An agent that works so."""
    verifiers = options.pop("verifiers", ())
    return bw.Agent(name="x", model=model, form="text", verifiers=verifiers, team=ScatteredStacked(**options))


def kind(request: ModelRequest) -> str:
    """Which part a prompt is for."""
    prompt = request.messages[-1].content
    return "correct" if "Somebody has tried" in prompt else "rewrite" if "Others have tried" in prompt else "solve"


async def test_everybody_sees_what_they_should(runner: LocalRunner) -> None:
    """Solvers see the task, each critic one solution and no other's, rewriters all corrected ones; all are searches of the run."""
    numbers = {"solve": 0, "correct": 0, "rewrite": 0}

    def script(request: ModelRequest) -> str:
        numbers[kind(request)] += 1
        return f"{kind(request)} no {numbers[kind(request)]}"

    asked = ScriptedModel(script, slots=1)
    agent = team(asked, solvers=3, critics=3, rewriters=2, select=Choosing())
    items = [item async for item in runner.stream(agent, TASK, bw.Budget(calls=20), seed=1)]
    result = items[-1]
    assert isinstance(result, bw.Result)
    prompts = {name: [r.messages[-1].content for r in asked.requests if kind(r) == name] for name in numbers}
    assert [len(prompts[name]) for name in ("solve", "correct", "rewrite")] == [3, 3, 2]
    for prompt in prompts["correct"]:
        assert sum(f"solve no {n}" in prompt for n in (1, 2, 3)) == 1
    assert {n for n in (1, 2, 3) for prompt in prompts["correct"] if f"solve no {n}" in prompt} == {1, 2, 3}
    for prompt in prompts["rewrite"]:
        assert all(f"correct no {n}" in prompt for n in (1, 2, 3))
        assert "solve no" not in prompt
    assert {item.path for item in items if isinstance(item, Within)} == {
        *(f"solve{n}" for n in (1, 2, 3)),
        *(f"correct{n}" for n in (1, 2, 3)),
        "rewrite1",
        "rewrite2",
    }
    assert result.answer in {"rewrite no 1", "rewrite no 2"}
    assert result.report["by"] == "choosing"
    assert len(result.report["searches"]) == 8
    assert result.usage.calls == 8


async def test_the_whole_is_worth_what_its_parts_say(tmp_path: Path) -> None:
    """A selector that knows has what any rewriter has; rewriters have only what critics left; each part is right as often as it should."""
    problems, made = 6, {"solve": [], "correct": [], "rewrite": []}
    for seed in range(problems):
        runner = LocalRunner(RunStore(tmp_path / f"runs{seed}"))
        result = await runner.run(team(Stacking(seed=seed).model(), select=Choosing()), TASK, bw.Budget(), seed=seed)
        right = {name: [row["answer"] == RIGHT for row in rows(result, name)] for name in made}
        assert [len(found) for found in right.values()] == [5, 5, 5]
        assert (result.answer == RIGHT) == any(right["rewrite"])
        assert any(right["correct"]) or not any(right["rewrite"])
        for name, found in right.items():
            made[name] += found
    parts, error = Stacking(), 4 * sqrt(0.25 / problems / 5)
    assert fmean(made["solve"]) == pytest.approx(parts.solves, abs=error)
    assert fmean(made["correct"]) == pytest.approx(parts.corrected, abs=error)
    assert fmean(made["rewrite"]) == pytest.approx(parts.rewritten(5), abs=4 * sqrt(0.25 / problems))


def rows(result: bw.Result, name: str) -> list[dict[str, object]]:
    """The report's rows of one step."""
    return [row for row in result.report["searches"] if str(row["search"]).startswith(name)]


async def test_what_the_verifiers_accept_ends_it(runner: LocalRunner) -> None:
    """The steps that are left are left out."""

    @bw.verifier
    def is_right(candidate: bw.Candidate) -> bool:
        """Accept what is right."""
        return candidate.answer == RIGHT

    asked = ScriptedModel(lambda request: RIGHT if kind(request) == "correct" else "no", slots=1)
    agent = team(asked, solvers=2, critics=2, rewriters=2, verifiers=[is_right])
    result = await runner.run(agent, TASK, bw.Budget(), seed=1)
    assert (result.answer, result.accepted, result.report["by"]) == (RIGHT, True, "the verifiers")
    assert {kind(request) for request in asked.requests} == {"solve", "correct"}


async def test_what_fails_costs_its_own_solution(runner: LocalRunner) -> None:
    """Rewriters that all break leave the corrected ones; where nothing can be compared the most frequent is taken."""

    def script(request: ModelRequest) -> str | Exception:
        if kind(request) == "rewrite":
            return ModelRefused("gone")
        if kind(request) == "solve":
            return str(request.sampling.seed)
        return "often" if int(request.sampling.seed or 0) % 2 else "seldom"

    agent = team(ScriptedModel(script, slots=1), solvers=3, critics=5, rewriters=1, select=Choosing(fails=True))
    result = await runner.run(agent, TASK, bw.Budget(), seed=2)
    corrected = [row["answer"] for row in result.report["searches"] if str(row["search"]).startswith("correct")]
    assert len(corrected) == 5
    assert result.answer == max(dict.fromkeys(corrected), key=corrected.count)
    assert "cannot choose" in str(result.report["by"])


async def test_parts_can_be_left_out(runner: LocalRunner) -> None:
    """Solvers alone, compared; equal answers are not compared at all."""
    agent = team(
        ScriptedModel(lambda r: str(r.sampling.seed), slots=1),
        solvers=3,
        critics=0,
        rewriters=0,
        select=(by := Choosing()),
    )
    result = await runner.run(agent, TASK, bw.Budget(), seed=1)
    assert by.seen == 3
    assert len(result.report["searches"]) == 3
    same = team(
        ScriptedModel(lambda _: "same", slots=1), solvers=3, critics=0, rewriters=0, select=(none := Choosing())
    )
    result = await runner.run(same, TASK, bw.Budget(), seed=1)
    assert (result.answer, none.seen, result.report["by"]) == ("same", 0, "all say the same")


async def test_the_budget_is_shared_and_its_end_is_told(runner: LocalRunner) -> None:
    """No search takes more than its part of what is left; what there is then is the answer."""
    agent = team(ScriptedModel(lambda r: str(r.sampling.seed), slots=1), solvers=2, critics=2, rewriters=2)
    result = await runner.run(agent, TASK, bw.Budget(calls=4), seed=1)
    assert result.usage.calls <= 4
    assert result.answer is not None
    assert (result.stop_reason, result.stop_detail.split(" in ")[0]) == ("budget", "the budget ran short")


def test_options_are_checked() -> None:
    """With words that say what is allowed."""
    for wrong in ({"solvers": 0}, {"critics": -1}, {"rewriters": 27}):
        with pytest.raises(bw.UsageError, match=next(iter(wrong))):
            ScatteredStacked(**wrong)
    with pytest.raises(bw.UsageError, match="must compare"):
        ScatteredStacked(select=bw.verifiers.Judge())
    assert repr(ScatteredStacked(solvers=2)) == "ScatteredStacked(solvers=2)"
