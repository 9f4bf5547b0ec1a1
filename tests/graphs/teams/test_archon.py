"""Archon: layers that make one answer. What may stand where, and what each layer does with candidates."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import branchwise as bw
from branchwise.core.events import Within
from branchwise.core.simulated.critics import SimulatedCritic, fences
from branchwise.core.simulated.panel import Panel
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest, Task
from branchwise.graphs import LocalRunner, RunStore
from branchwise.graphs.teams import (
    Archon,
    Checker,
    Critic,
    Fuser,
    Generator,
    Ranker,
    UnitTestEvaluator,
    UnitTestWriter,
)
from branchwise.graphs.teams.archon_rules import calls_of, candidates_after, layers_of, leaves_one
from branchwise.graphs.teams.archon_saying import read_critiques
from branchwise.graphs.teams.archon_work import grouped


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner whose runs live in the test's own folder."""
    return LocalRunner(RunStore(tmp_path / "runs"))


# --- what may stand where -----------------------------------------------------------------------------------------------

KINDS: dict[str, Callable[[], Any]] = {
    "generate": lambda: Generator(samples=4),
    "fuse": lambda: Fuser(samples=2),
    "fuse one": Fuser,
    "rank": lambda: Ranker(top=3),
    "rank one": Ranker,
    "criticise": Critic,
    "check": Checker,
    "write": UnitTestWriter,
    "run": lambda: UnitTestEvaluator(top=2),
    "run one": UnitTestEvaluator,
}


def allowed(names: tuple[str, ...]) -> bool:
    """The rules of construction, said once more in other words."""
    kinds = [name.split()[0] for name in names]
    text = " ".join(kinds)
    last = names[-1] in {"fuse one", "rank one", "run one"}
    begins = kinds[0] == "generate" and kinds.count("generate") == 1
    critics = all(after in {"rank", "fuse"} for kind, after in itertools.pairwise(kinds) if kind == "criticise")
    ranks = all("fuse" in kinds[place:] for place, kind in enumerate(kinds[:-1]) if kind == "rank")
    tests = text.count("write run") == kinds.count("write") == kinds.count("run")
    return begins and last and critics and ranks and tests


def test_every_stack_of_layers_is_taken_or_refused_by_the_rules() -> None:
    """All stacks of up to four layers: those that keep the rules are made and add up, the others are refused."""
    made = 0
    for length in range(1, 5):
        for names in itertools.product(KINDS, repeat=length):
            layers = [KINDS[name]() for name in names]
            if not allowed(names):
                with pytest.raises(bw.UsageError):
                    Archon(layers)
                continue
            archon = Archon(layers)
            counts = candidates_after(archon.layers)
            assert all(0 < count <= 4 for count in counts)
            assert counts[-1] == 1
            assert leaves_one(archon.layers[-1])
            assert archon.calls == sum(calls_of(archon.layers))
            made += 1
    assert made == 72


REFUSED: list[tuple[list[Any], str]] = [
    ([], "needs layers"),
    ([[]], "layer 1 of the Archon is empty"),
    ([Fuser()], "layer 1 of the Archon is a Fuser: generators stand in the first layer"),
    (
        [Generator(), Generator()],
        "layer 2 of the Archon is a Generator: generators stand in the first layer and nowhere else",
    ),
    ([[Generator(), Fuser()]], "mixes components"),
    ([Generator(), [Ranker(), Ranker()]], "has 2 of Ranker"),
    ([Generator(samples=3), Critic(), Checker(), Fuser()], "directly before a ranker or a fuser"),
    ([Generator(samples=3), Critic()], "directly before a ranker or a fuser"),
    ([Generator(samples=3), Ranker(top=2), Checker(), Ranker()], "before a fuser, for which it chooses"),
    ([Generator(samples=3), UnitTestWriter(), Fuser()], "evaluated in the layer after"),
    ([Generator(samples=3), UnitTestEvaluator()], "written in the layer before"),
    ([Generator(samples=3)], "may leave several candidates"),
    ([Generator(samples=3), Fuser(samples=2)], "may leave several candidates"),
    ([Generator(samples=3), Ranker(top=2)], "may leave several candidates"),
    ([Generator(samples=3), Checker(first=1)], "may leave several candidates"),
    ([[Generator(), Generator()]], "may leave several candidates"),
    ([Generator(samples=3), UnitTestWriter(), UnitTestEvaluator(first=2)], "may leave several candidates"),
    (["generator"], "no layer"),
    ([["generator"]], "a layer is made of: Generator"),
    ([7], "no layer"),
]


@pytest.mark.parametrize(("layers", "why"), REFUSED)
def test_what_is_refused_says_why(layers: list[Any], why: str) -> None:
    """Each rule has words of its own, with the layer and what to do."""
    with pytest.raises(bw.UsageError, match=why):
        Archon(layers)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Generator(samples=0),
        lambda: Fuser(samples=0),
        lambda: Ranker(top=0),
        lambda: Critic(attempts=0),
        lambda: Checker(first=0),
        lambda: UnitTestEvaluator(top=0),
        lambda: UnitTestEvaluator(first=0),
        lambda: Checker(by=bw.verifiers.Listwise()),
        lambda: Ranker(by="best"),
        lambda: UnitTestWriter(by=bw.verifiers.Judge()),
    ],
)
def test_components_refuse_what_they_cannot_do(make: Callable[[], Any]) -> None:
    """Numbers below one, and verifiers that do not judge what is to be judged."""
    with pytest.raises(bw.UsageError):
        make()


def test_one_generation_needs_no_choice() -> None:
    """The smallest Archon is the agent itself."""
    assert candidates_after(Archon([Generator()]).layers) == [1]


def test_many_candidates_are_warned_of() -> None:
    """More than fit into one prompt: they are compared in groups, and who builds it is told."""
    with pytest.warns(UserWarning, match="up to 40 candidates at once"):
        Archon([Generator(samples=40), Ranker()])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Archon([Generator(samples=32), Ranker()])


def test_it_is_written_like_the_code_that_makes_it() -> None:
    """The same in every process, models by their names, what is at its default left out."""
    archon = Archon(
        [
            [Generator(samples=5), Generator(ScriptedModel(lambda _: "x", name="scripted:other"), temperature=0.2)],
            Critic(),
            Ranker(top=3, by=bw.verifiers.Judge(accept=0.5)),
            [Fuser(), Fuser(model="openai:x")],
            Fuser(),
        ]
    )
    assert repr(archon) == (
        "Archon([[Generator(samples=5), Generator(model='scripted:other', temperature=0.2)], [Critic()], "
        "[Ranker(top=3, by=Judge(accept=0.5))], [Fuser(), Fuser(model='openai:x')], [Fuser()]])"
    )
    again = eval(
        repr(archon),
        {**vars(bw.teams), **{n: getattr(bw.teams, n) for n in bw.teams.__all__}, "Judge": bw.verifiers.Judge},
    )
    assert repr(again) == repr(archon)
    assert layers_of(archon.layers) == archon.layers


# --- what layers do -----------------------------------------------------------------------------------------------------


def numbered(request: ModelRequest) -> int:
    """A number that a request's seed decides, the same for all parts."""
    return (request.sampling.seed or 0) % 1000


class Oracle:
    """A model that solves with a chance and knows in every other part what is right."""

    def __init__(self, chance: float, **critic: Any) -> None:
        self.made: list[str] = []
        self.critic = SimulatedCritic(lambda text: float("right" in text), **critic)
        self.chance = chance

    def __call__(self, request: ModelRequest) -> Any:
        properties = (request.response_schema or {}).get("properties", {})
        if properties:
            return self.critic(request)
        well = random.Random(f"solve {request.sampling.seed}").random() < self.chance
        self.made.append("right" if well else f"wrong {numbered(request)}")
        return self.made[-1]


def agent(model: Any, *layers: Any, **more: Any) -> bw.Agent:
    """An agent in plain text with an Archon for a team."""
    return bw.Agent(name="a", model=model, form="text", team=Archon(layers), **more)


async def test_eight_samples_and_a_perfect_ranker_solve_what_any_of_the_eight_does(runner: LocalRunner) -> None:
    """Pass@8 exactly, problem by problem; a ranker that knows nothing misses right ones that were there."""
    solved = blind = 0
    for seed in range(6):
        perfect, noisy = Oracle(0.15), Oracle(0.15)
        noisy.critic = SimulatedCritic(lambda _text: 0.5, noise=0.3)
        for oracle in (perfect, noisy):
            made = agent(ScriptedModel(oracle), Generator(samples=8), Ranker())
            result = await runner.run(made, Task(prompt="x"), bw.Budget(), seed=seed)
            assert len(oracle.made) == 8
            if oracle is perfect:
                assert (result.answer == "right") == ("right" in oracle.made), seed
                solved += result.answer == "right"
            else:
                blind += result.answer == "right"
        assert sorted(perfect.made) == sorted(noisy.made)
    assert solved >= 3
    assert blind < solved


async def test_equal_candidates_are_one_and_counted(runner: LocalRunner) -> None:
    """The fuser sees each once, with how often it was given, the most frequent first."""
    prompts: list[ModelRequest] = []

    def script(request: ModelRequest) -> str:
        if "Others have tried" in request.messages[-1].content:
            prompts.append(request)
            return "fused"
        return ["b", "a", "a ", "a", "b", "c"][len(model.requests) - 1]

    model = ScriptedModel(script, slots=1)
    result = await runner.run(agent(model, Generator(samples=6), Fuser()), Task(prompt="x"), bw.Budget(), seed=1)
    assert (result.answer, result.usage.calls) == ("fused", 7)
    shown = fences(prompts[0])
    assert [title for title in shown if "solution" in title] == [
        "solution 1, given 3 times",
        "solution 2, given 2 times",
        "solution 3",
    ]
    assert [row["after"] for row in result.report["layers"]] == [3, 1]


async def test_critics_are_heard_by_rankers_and_fusers(runner: LocalRunner) -> None:
    """One call for all candidates; its words stand beside each of them in the next layers."""

    def script(request: ModelRequest) -> str:
        properties = (request.response_schema or {}).get("properties", {})
        if "solution1" in properties:
            said = fences(request)
            return json.dumps(
                {
                    f"solution{n}": {"strengths": "none", "weaknesses": f"it says {said[f'solution {n}']}"}
                    for n in (1, 2)
                }
            )
        if "order" in properties:
            return json.dumps({"critique": "", "order": "[1] > [2]"})
        return "fused" if "Others have tried" in request.messages[-1].content else str(numbered(request))

    model = ScriptedModel(script)
    made = agent(model, Generator(samples=2), Critic(), Ranker(top=2), Critic(), Fuser())
    result = await runner.run(made, Task(prompt="x"), bw.Budget(), seed=1)
    assert (result.answer, result.usage.calls) == ("fused", 6)
    for request in (model.requests[3], model.requests[5]):
        shown = fences(request)
        for n in (1, 2):
            assert f"it says {shown[f'solution {n}']}" in shown[f"said of solution {n}"]


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "no json",
        "[]",
        '{"solution1": {"strengths": "a", "weaknesses": "b"}}',
        '{"solution1": {"strengths": "a"}, "solution2": {}}',
        '{"solution1": "a", "solution2": "b"}',
        json.dumps({f"solution{n}": {"strengths": "a", "weaknesses": "b"} for n in (1, 2, 3)}),
        "[" * 100_000,
    ],
)
def test_critiques_of_some_are_none(reply: str) -> None:
    """It must say something of each candidate and of nobody else."""
    assert read_critiques(reply, 2) == []


async def test_a_critic_that_fails_is_asked_again_and_then_left_out(runner: LocalRunner) -> None:
    """Ten attempts, each another sample; the layers after go on without."""
    model = ScriptedModel(
        lambda r: (
            "no json" if r.response_schema else "fused" if "Others" in r.messages[-1].content else str(numbered(r))
        )
    )
    result = await runner.run(
        agent(model, Generator(samples=2), Critic(), Fuser()), Task(prompt="x"), bw.Budget(), seed=1
    )
    assert (result.answer, result.usage.calls) == ("fused", 2 + 10 + 1)
    assert "after 10 attempts" in result.report["layers"][1]["notes"][0]
    assert len({request.sampling.seed for request in model.requests[2:12]}) == 10


@pytest.mark.parametrize(("tpr", "kept"), [(1.0, ["right"]), (0.0, ["right", "wrong"])])
async def test_the_checked_stay_and_where_none_passes_all_do(runner: LocalRunner, tpr: float, kept: list[str]) -> None:
    """Two calls for each candidate; a check that nobody passes has said nothing."""
    critic = SimulatedCritic(lambda text: float("right" in text), tpr=tpr)
    fused: list[dict[str, str]] = []

    def script(request: ModelRequest) -> Any:
        if request.response_schema:
            return critic(request)
        if "make the case" in request.messages[0].content:
            return "it is good"
        if "Others have tried" in request.messages[-1].content:
            fused.append(fences(request))
            return "fused"
        return ["right", "wrong"][len(model.requests) - 1]

    model = ScriptedModel(script, slots=1)
    result = await runner.run(
        agent(model, Generator(samples=2), Checker(), Fuser()), Task(prompt="x"), bw.Budget(), seed=1
    )
    assert [text for title, text in fused[0].items() if title.startswith("solution")] == kept
    assert (result.usage.calls, result.usage.verifier_calls) == (2 + 4 + 1, 2)


async def test_a_checker_stops_at_the_first_that_are_right(runner: LocalRunner) -> None:
    """In the order of the candidates, no more than needed."""
    judged: list[str] = []

    @bw.verifier
    def even(candidate: bw.Candidate) -> bool:
        """Accept even numbers."""
        judged.append(candidate.answer or "")
        return int(candidate.answer or 1) % 2 == 0

    model = ScriptedModel(lambda _r: str(len(model.requests)), slots=1)
    result = await runner.run(
        agent(model, Generator(samples=6), Checker(by=even, first=2), Ranker()), Task(prompt="x"), bw.Budget(), seed=1
    )
    assert judged == ["1", "2", "3", "4"]
    assert result.report["layers"][1] == {"layer": 2, "kind": "check", "before": 6, "after": 2}


def with_tests(passes: Callable[[str, str], bool]) -> Callable[[ModelRequest], Any]:
    """A model that solves by its number, writes two tests, and judges by a function of solution and test."""

    def script(request: ModelRequest) -> Any:
        properties = (request.response_schema or {}).get("properties", {})
        if "tests" in properties:
            return json.dumps({"tests": ["it is even", "it is large"]})
        if "s1" in properties:
            text = fences(request)["solution"]
            return json.dumps(
                {s: "pass" if passes(text, t) else "fail" for s, t in zip(properties, ("even", "large"), strict=True)}
            )
        return str(numbered(request))

    return script


def fits(text: str, test: str) -> bool:
    """Whether a number passes a test."""
    return int(text) % 2 == 0 if test == "even" else int(text) > 500


@pytest.mark.parametrize("seed", range(4))
async def test_unit_tests_are_written_once_and_decide(runner: LocalRunner, seed: int) -> None:
    """The candidate that passes most of them is the answer."""
    model = ScriptedModel(with_tests(fits))
    made = agent(model, Generator(samples=5), UnitTestWriter(), UnitTestEvaluator())
    result = await runner.run(made, Task(prompt="x"), bw.Budget(), seed=seed)
    numbers = [str(numbered(request)) for request in model.requests[:5]]
    most = max(sum(fits(number, test) for test in ("even", "large")) for number in numbers)
    assert sum(fits(result.answer or "", test) for test in ("even", "large")) == most
    assert result.usage.calls == 5 + 1 + len(set(numbers))


async def test_tests_that_nobody_could_write_choose_nobody(runner: LocalRunner) -> None:
    """The most frequent answer stays first."""
    answers = ["b", "a", "a"]
    model = ScriptedModel(lambda r: "no json" if r.response_schema else answers[len(model.requests) - 1], slots=1)
    made = agent(model, Generator(samples=3), UnitTestWriter(), UnitTestEvaluator())
    result = await runner.run(made, Task(prompt="x"), bw.Budget(), seed=1)
    assert result.answer == "a"
    assert ["notes" in row for row in result.report["layers"]] == [False, True, True]


async def test_the_first_that_pass_all_tests(runner: LocalRunner) -> None:
    """`first` judges no more than it must."""
    model = ScriptedModel(with_tests(lambda text, _test: text != "0"))
    made = agent(model, Generator(samples=5), UnitTestWriter(), UnitTestEvaluator(first=1))
    result = await runner.run(made, Task(prompt="x"), bw.Budget(), seed=1)
    assert (result.answer, result.usage.calls) == (str(numbered(model.requests[0])), 5 + 1 + 1)


async def test_what_a_ranker_says_that_nobody_understands(runner: LocalRunner) -> None:
    """The most frequent answer stays first, and the report says why."""
    answers = ["b", "a", "a"]
    model = ScriptedModel(lambda r: "???" if r.response_schema else answers[len(model.requests) - 1], slots=1)
    result = await runner.run(agent(model, Generator(samples=3), Ranker()), Task(prompt="x"), bw.Budget(), seed=1)
    assert result.answer == "a"
    assert "names no candidate" in result.report["layers"][1]["notes"][0]


async def test_a_ranker_by_values(runner: LocalRunner) -> None:
    """A verifier that scores each candidate by itself ranks, too; what it cannot judge comes last."""

    @bw.verifier
    def large(candidate: bw.Candidate) -> float:
        """Like large numbers, and have no opinion on small ones."""
        if int(candidate.answer or 0) < 500:
            raise bw.VerifierError("too small to tell")
        return int(candidate.answer or 0) / 1000

    model = ScriptedModel(lambda r: str(numbered(r)))
    result = await runner.run(
        agent(model, Generator(samples=6), Ranker(by=large)), Task(prompt="x"), bw.Budget(), seed=2
    )
    assert result.answer == str(max(map(numbered, model.requests)))
    assert any("too small to tell" in note for note in result.report["layers"][1]["notes"])


async def test_many_candidates_play_a_tournament(runner: LocalRunner) -> None:
    """The best of all wins, wherever it stood; no prompt has more than 32."""
    critic = SimulatedCritic(lambda text: int(text) / 1000)
    model = ScriptedModel(lambda r: critic(r) if r.response_schema else str(numbered(r)))
    with pytest.warns(UserWarning, match="ranked, fused and criticised in groups"):
        made = agent(model, Generator(samples=40), Ranker())
    result = await runner.run(made, Task(prompt="x"), bw.Budget(), seed=3)
    assert result.answer == str(max(numbered(r) for r in model.requests if not r.response_schema))
    shown = [len(fences(r)) - 1 for r in model.requests if r.response_schema]
    assert max(shown) <= 32


async def test_many_candidates_are_fused_in_groups(runner: LocalRunner) -> None:
    """Every candidate is seen by some fuser, none by more than 32 at once, and one fuses what these wrote."""
    seen: list[list[str]] = []

    def script(request: ModelRequest) -> str:
        if "Others have tried" not in request.messages[-1].content:
            return str(len(model.requests))
        seen.append([text for title, text in fences(request).items() if title.startswith("solution")])
        return f"fused {len(seen)}"

    model = ScriptedModel(script, slots=1)
    with pytest.warns(UserWarning, match="groups"):
        made = agent(model, Generator(samples=40), Fuser())
    result = await runner.run(made, Task(prompt="x"), bw.Budget(), seed=1)
    assert result.answer == "fused 3"
    assert sorted(seen[0] + seen[1], key=int) == [str(n) for n in range(1, 41)]
    assert sorted(seen[2]) == ["fused 1", "fused 2"]


def test_groups_are_few_and_even() -> None:
    """As few as there can be, none larger than allowed, nobody left out."""
    for count in range(1, 200):
        groups = grouped(range(count), 32)
        assert len(groups) == -(-count // 32)
        assert sorted(itertools.chain(*groups)) == list(range(count))
        assert max(map(len, groups)) - min(map(len, groups)) <= 1


# --- with everything else -----------------------------------------------------------------------------------------------


async def test_an_accepted_candidate_ends_it(runner: LocalRunner) -> None:
    """What the agent's verifiers accept needs no further layer."""

    @bw.verifier
    def three(candidate: bw.Candidate) -> bool:
        """Accept the third."""
        return candidate.answer == "3"

    model = ScriptedModel(lambda _r: str(len(model.requests)), slots=1)
    made = agent(model, Generator(samples=4), Critic(), Fuser(), verifiers=[three])
    result = await runner.run(made, Task(prompt="x"), bw.Budget(), seed=1)
    assert (result.answer, result.accepted, result.usage.calls, result.stop_reason) == ("3", True, 4, "accepted")


async def test_other_models_and_temperatures(runner: LocalRunner) -> None:
    """Each generator asks its own model; all are paid from one budget."""
    one, two = (ScriptedModel(lambda r: str(numbered(r)), name=f"scripted:{name}") for name in ("one", "two"))
    made = agent(one, [Generator(samples=2, temperature=0.1), Generator(two, samples=3)], Ranker())
    result = await runner.run(made, Task(prompt="x"), bw.Budget(calls=20), seed=1)
    assert [request.sampling.temperature for request in one.requests[:2]] == [0.1, 0.1]
    assert (len(two.requests), result.usage.calls) == (3, 2 + 3 + 1)


async def test_one_model_that_is_gone(runner: LocalRunner) -> None:
    """Its samples are missing; the others' count."""
    gone = ScriptedModel(lambda _r: bw.ModelRefused("no such model", status=404), name="scripted:gone")
    model = ScriptedModel(lambda _r: "here")
    result = await runner.run(
        agent(model, [Generator(), Generator(gone)], Ranker()), Task(prompt="x"), bw.Budget(), seed=1
    )
    assert result.answer == "here"


async def test_nobody_has_an_answer(runner: LocalRunner) -> None:
    """It abstains, as a search would."""
    gone = ScriptedModel(lambda _r: bw.ModelRefused("no such model", status=404))
    result = await runner.run(agent(gone, Generator(samples=2), Ranker()), Task(prompt="x"), bw.Budget(), seed=1)
    assert (result.answer, result.abstained, len(result.report["layers"])) == (None, True, 1)


@pytest.mark.parametrize("calls", [1, 3, 4, 5, 6])
async def test_the_budget_is_hard_and_gives_the_best_so_far(runner: LocalRunner, calls: int) -> None:
    """Wherever it runs out there is an answer, and no call too many."""
    model = ScriptedModel(Panel(seed=1).model()._script, name="simulated:small", slots=2)
    made = agent(model, Generator(samples=4), Critic(), Ranker(top=2), Fuser())
    result = await runner.run(made, Panel(seed=1).task(3), bw.Budget(calls=calls), seed=calls)
    assert result.answer is not None
    assert result.usage.calls == len(model.requests) <= calls
    if calls < 4:
        assert (result.stop_reason, "ran short" in result.stop_detail) == ("budget", True)


async def test_each_search_gets_its_part(runner: LocalRunner) -> None:
    """A strategy that spends whatever it gets leaves the others theirs."""
    model = ScriptedModel(lambda r: str(numbered(r)))
    made = agent(model, Generator(samples=3), Fuser(), search=bw.search.BestOfN(n=50))
    result = await runner.run(made, Task(prompt="x"), bw.Budget(calls=40), seed=1)
    per_layer = [sum("Others have" in r.messages[-1].content for r in model.requests) for _ in range(1)]
    assert per_layer == [10]
    assert result.usage.calls == 40


async def test_strategies_work_in_each_search_and_events_say_where(runner: LocalRunner) -> None:
    """A search of three trajectories for each sample; what happens in it is told with its name."""
    model = ScriptedModel(lambda r: str(numbered(r)))
    made = agent(model, Generator(samples=2), Fuser(), search=bw.search.BestOfN(n=3))
    items = [item async for item in runner.stream(made, Task(prompt="x"), bw.Budget(), seed=1)]
    assert {item.path for item in items if isinstance(item, Within)} == {"generate1.1.1", "generate1.1.2", "fuse2.1.1"}
    assert len(model.requests) == 9


async def test_stages_go_around_it(runner: LocalRunner) -> None:
    """A last verifier rejects, and the Archon works once more with what was said."""

    @bw.verifier
    def second(candidate: bw.Candidate) -> bw.Verdict:
        """Accept what was made with a hint."""
        passed = candidate.answer == "better"
        return bw.Verdict(float(passed), "outcome", "second", passed=passed, feedback="try harder")

    model = ScriptedModel(lambda r: "better" if "try harder" in r.messages[-1].content else "first")
    made = agent(model, Generator(samples=2), Ranker(), final=[second], rounds=1)
    result = await runner.run(made, Task(prompt="x"), bw.Budget(), seed=1)
    assert (result.answer, result.accepted, [row["passed"] for row in result.report["tries"]]) == (
        "better",
        True,
        [False, True],
    )


async def test_a_run_that_ended_is_paid_once(runner: LocalRunner) -> None:
    """Resumed it comes to the same without a call; another Archon is another run."""
    model = Panel().model()
    made = agent(model, Generator(samples=3), Critic(), Ranker(top=2), Fuser())
    first = await runner.run(made, Panel().task(5), bw.Budget(), seed=1)
    calls = len(model.requests)
    again = await runner.resume(made, first.run_id)
    assert (again.answer, again.report, len(model.requests)) == (first.answer, first.report, calls)
    with pytest.raises(bw.JournalVersionMismatch, match="Archon"):
        await runner.resume(replace(made, team=Archon([Generator()])), first.run_id)


async def test_interrupted_in_every_layer(runner: LocalRunner) -> None:
    """Stopped after any number of calls and gone on with: the same answer, and no finished call made again."""
    panel = Panel(seed=2)
    layers = [
        Generator(samples=2),
        UnitTestWriter(),
        UnitTestEvaluator(top=2),
        Checker(),
        Critic(),
        Ranker(top=2),
        Fuser(),
    ]
    whole_model = panel.model()
    whole = await runner.run(agent(whole_model, *layers), panel.task(4), bw.Budget(), seed=7)
    total = len(whole_model.requests)
    assert total > 8
    for stop in range(1, total):
        handle: list[Any] = []
        model = panel.model()
        script = model._script

        def counting(request: ModelRequest, script: Any = script, handle: list[Any] = handle, stop: int = stop) -> Any:
            handle[1] += 1
            if handle[1] == stop:
                handle[0].interrupt()
            return script(request)

        model = ScriptedModel(counting, name="simulated:small", slots=1)
        first = await runner.begin(
            agent(model, *layers), panel.task(4), bw.Budget(), seed=7, started=lambda run, h=handle: h.extend((run, 0))
        )
        made = len(model.requests)
        resumed = await runner.resume(agent(model, *layers), first.run_id)
        assert (resumed.answer, resumed.usage.calls) == (whole.answer, total), stop
        assert len(model.requests) <= total + 1, (stop, made)


KILLED = """
    import branchwise as bw
    from branchwise.core.simulated.panel import Panel
    from branchwise.core.testing import ScriptedModel

    inner = Panel(seed=3).model()

    def reply(request):
        with open("calls", "a") as calls:
            calls.write("call\\n")
        return inner._script(request)

    t = bw.teams
    model = ScriptedModel(reply, name=inner.name, slots=2, latency_seconds=lambda _: 0.1)
    agent = bw.Agent(
        name="a", model=model, form="text", team=t.Archon([t.Generator(samples=3), t.Critic(), t.Ranker(top=2), t.Fuser()])
    )
"""


@pytest.mark.parametrize("lines", [5])
def test_killed_in_a_layer(tmp_path: Path, lines: int) -> None:
    """`kill -9` while generating and while ranking: the same end as ever, and only calls in flight are made again."""
    (tmp_path / "agent.py").write_text(textwrap.dedent(KILLED))
    env = {**os.environ, "BRANCHWISE_HOME": str(tmp_path / "home")}

    def start(*args: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "branchwise.cli", *args, "--json"]
        return subprocess.Popen(
            command, env=env, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def calls() -> int:
        path = tmp_path / "calls"
        return len(path.read_text().splitlines()) if path.exists() else 0

    process = start("run", "agent.py:agent", "Solve problem 4.", "--seed", "3")
    while calls() < lines and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    [folder] = (tmp_path / "home" / "runs").iterdir()
    out, err = start("resume", folder.name).communicate(timeout=120)
    result = json.loads(out.splitlines()[-1])["result"]
    assert (result["answer"] is not None, err) == (True, "")
    assert [row["kind"] for row in result["report"]["layers"]] == ["generate", "criticise", "rank", "fuse"]
    assert calls() <= 6 + 2
    assert result["usage"]["calls"] == calls()
