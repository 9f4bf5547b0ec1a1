"""The smaller simulated worlds have exactly the properties that they promise."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from dataclasses import replace

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.events import Expand, Framing
from branchwise.core.protocols import Meter
from branchwise.core.simulated.artifacts import Constraints, PeerTrap
from branchwise.core.simulated.calls import END, CallGraph, TimedCall, ToolChain
from branchwise.core.simulated.corpus import Corpus
from branchwise.core.simulated.countdown import Countdown
from branchwise.core.simulated.explorer import NOTHING, Explorer
from branchwise.core.simulated.models import ConceptTasks, TwoModelSteps, entropy_of
from branchwise.core.simulated.streams import CalibrationStream
from branchwise.core.testing import ScriptedModel
from branchwise.core.tree import Tree
from branchwise.core.types import ROOT, Message, ModelRequest, ModelResponse, Node, NodeId, Sampling, Step, WorkId
from branchwise.search.calibration import Calibration, expected_calibration_error

Rng = random.Random


async def said(model: ScriptedModel, *texts: str, seed: int = 0, logprobs: int | None = None) -> ModelResponse:
    """What a model replies to a conversation that begins with the user."""
    messages = tuple(Message("assistant" if place % 2 else "user", text) for place, text in enumerate(texts))
    return await model.generate(ModelRequest(messages, Sampling(seed=seed, logprobs=logprobs)), Meter())


# --- two models --------------------------------------------------------------------------------------------------------


async def test_steps_succeed_as_often_as_promised() -> None:
    """Each model is right at easy and at hard steps with its own chance, within four standard errors."""
    world = TwoModelSteps(3, steps=12, seconds=(0.0, 0.0))
    for size in ("small", "large"):
        model = world.model(size)
        for step in (0, next(step for step in range(12) if world.is_hard(step))):
            talk = ["go", *["step", "next"] * step]
            replies = [(await said(model, *talk, seed=seed)).text for seed in range(300)]
            share = sum(reply == f"step {step}: right" for reply in replies) / 300
            chance = world.accuracy(size, step)
            assert abs(share - chance) <= 4 * math.sqrt(chance * (1 - chance) / 300)


async def test_entropy_tells_hard_steps_as_well_as_asked() -> None:
    """The share of hard and easy pairs in which the hard one's entropy is higher is `auroc`; the log-probabilities have it exactly."""
    for auroc in (0.5, 0.9):
        world = TwoModelSteps(1, steps=600, hard=0.5, auroc=auroc)
        hard = [world.entropy(step) for step in range(600) if world.is_hard(step)]
        easy = [world.entropy(step) for step in range(600) if not world.is_hard(step)]
        share = sum(h > e for h in hard for e in easy) / len(hard) / len(easy)
        assert share == pytest.approx(auroc, abs=0.06)
    first = (await said(TwoModelSteps(1, seconds=(0, 0)).model("small"), "go", logprobs=20)).logprobs[0]
    assert len(first.top) == 20
    assert entropy_of(logprob for _, logprob in first.top) == pytest.approx(TwoModelSteps(1).entropy(0), abs=1e-6)
    assert entropy_of([math.log(1 / 20)] * 20) == pytest.approx(math.log(20))
    with pytest.raises(UsageError, match="auroc"):
        TwoModelSteps(1, auroc=1.0)


def test_a_task_is_solved_by_right_steps_only() -> None:
    """All steps taken and all right."""
    world = TwoModelSteps(0, steps=2)
    assert world.solved(["step 0: right", "step 1: right"])
    assert not world.solved(["step 0: right", "step 1: wrong"])
    assert not world.solved(["step 0: right"])


async def test_the_right_notes_help_and_others_distract() -> None:
    """A model with notes on what the task needs solves as many as promised, with others fewer than alone."""
    world = ConceptTasks()
    needed = sorted(world.needs(5))
    others = [concept for concept in range(20) if concept not in needed][:2]
    assert world.chance(5, ()) == pytest.approx(0.1)
    assert world.chance(5, needed) == pytest.approx(0.9)
    assert world.chance(5, others) == pytest.approx(0.0)
    model = world.model()
    prompt = "\n".join([*map(world.note, needed), world.prompt(5)])
    share = sum([(await said(model, prompt, seed=seed)).text == "right" for seed in range(300)]) / 300
    assert abs(share - 0.9) <= 4 * math.sqrt(0.09 / 300)
    assert set(world.note(needed[0]).split()) & set(world.prompt(5).split()) >= {f"matter{needed[0]}"}


# --- tools -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2])
def test_a_chain_has_its_probabilities(order: int) -> None:
    """Tools follow each other as often as `chances` says, and only the last `order` calls matter."""
    chain = ToolChain(tools=3, order=order, seed=2)
    past = ["tool 0", "tool 1", "tool 2"]
    assert sum(chain.chances(past).values()) == pytest.approx(1.0)
    assert chain.chances(past) == chain.chances(past[-order:])
    assert chain.chances(past)[END] == pytest.approx(0.15)
    firsts = Counter(chain.trajectory(seed)[0].calls[0].name for seed in range(1000))
    for name, chance in chain.chances([]).items():
        assert abs(firsts[name] / 1000 - chance) <= 4 * math.sqrt(chance * (1 - chance) / 1000)
    with pytest.raises(UsageError, match="order"):
        ToolChain(order=3)


async def test_arguments_come_from_earlier_outputs() -> None:
    """As often as promised; and the model calls tools just as the chain goes."""
    chain = ToolChain(copied=0.7, ends=0.05, seed=1)
    copied = total = 0
    for seed in range(200):
        steps = chain.trajectory(seed)
        for place, step in enumerate(steps[1:], 1):
            outputs = {earlier.observations[0].text for earlier in steps[:place]}
            copied += step.calls[0].arguments["source"] in outputs
            total += 1
    assert abs(copied / total - 0.7) <= 4 * math.sqrt(0.21 / total)
    steps = chain.trajectory(3)
    talk = [Message("user", "go")]
    for step in steps:
        talk += [Message("assistant", "", step.calls), Message("tool", step.observations[0].text)]
    reply = await chain.model().generate(ModelRequest(tuple(talk[:3]), Sampling(seed=3)), Meter())
    assert reply.tool_calls == steps[1].calls
    if len(steps) < 12:
        assert (await chain.model().generate(ModelRequest(tuple(talk), Sampling(seed=3)), Meter())).text == "done"


def run(graph: CallGraph) -> float:
    """Start what is ready, first come first served, to the end; return when that is."""
    while len(graph.done) < len(graph.calls):
        for name in graph.ready[: graph.room]:
            graph.start(name)
        graph.finish()
    return graph.now_seconds


def test_a_call_graph_keeps_its_bounds() -> None:
    """Without a limit it takes its critical path, with one slot all its work, with two something between."""
    for seed in range(20):
        graph = CallGraph.drawn(seed)
        path, work = graph.critical_path_seconds, graph.work_seconds
        assert run(graph) == pytest.approx(path)
        assert run(replace(CallGraph.drawn(seed), slots=1)) == pytest.approx(work)
        two = run(replace(CallGraph.drawn(seed), slots=2))
        assert max(path, work / 2) - 1e-9 <= two <= work / 2 + path  # Graham's bound
    diamond = {"a": TimedCall(1), "b": TimedCall(2, ("a",)), "c": TimedCall(5, ("a",)), "d": TimedCall(1, ("b", "c"))}
    assert CallGraph(diamond).critical_path_seconds == 7
    with pytest.raises(UsageError, match="needs"):
        CallGraph({"a": TimedCall(1, ("b",))})
    with pytest.raises(UsageError, match="cannot start now"):
        CallGraph(diamond).start("d")
    with pytest.raises(UsageError, match="in flight"):
        CallGraph(diamond).finish()


# --- countdown ---------------------------------------------------------------------------------------------------------


def test_countdown_is_solved_exactly() -> None:
    """What is drawn has a solution that makes the target of just these numbers; what has none is said to have none."""
    for seed in range(10):
        puzzle = Countdown.drawn(seed)
        solution = puzzle.solution()
        assert solution is not None
        numbers = sorted(int(part) for part in solution.replace("(", " ").replace(")", " ").split() if part.isdigit())
        assert numbers == sorted(int(value) for value, _ in puzzle.terms)
        assert Countdown.read(f"make {puzzle.target} of {solution}").solution() == solution
    assert Countdown.of([3, 3, 8, 8], 24).solution() is not None  # only by 8 / (3 - 8 / 3)
    assert Countdown.of([1, 1, 1, 1], 24).solution() is None


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("8 / (3 - 8 / 3)", True),
        ("8/(3-8/3) = 24.", True),
        ("8 \u00f7 [3 \u2212 8 \u00f7 3]", True),
        ("(3 + 8 / 8) * 3", False),  # 12
        ("8 * 3", False),  # two are left
        ("8 / (3 - 8 / 3) + 3 - 3", False),  # used twice
        ("24", False),
        ("8 // (3 - 8 / 3)", False),
        ("-8 / (8 / 3 - 3)", False),  # a sign is no number of the puzzle
        ("8 / (3 - 3) + 8", False),
        ("__import__('os')", False),
        ("(" * 300, False),
        ("", False),
    ],
)
def test_countdown_judges_any_answer_exactly(answer: str, *, right: bool) -> None:
    """The value and the numbers decide; however it is written, nothing is evaluated but arithmetic."""
    assert Countdown.of([3, 3, 8, 8], 24).solved_by(answer) is right


async def test_an_explorer_alone_and_with_helpers() -> None:
    """Alone it finds a solution if it has the room; divided, one of its forks has it; a part's solution is the whole's."""
    explorer, puzzle = Explorer(seed=3, branches=40), Countdown.drawn(4)
    words, solution = explorer.explore(puzzle, 100_000)
    assert solution is not None
    assert puzzle.solved_by(solution)
    assert explorer.explore(puzzle, len(words) // 8)[1] is None
    tasks = json.loads(explorer.divided(puzzle, 0, ""))["args"]["tasks"]
    replies = [json.loads((await said(explorer.model(), "", task)).text) for task in tasks]
    found = [reply["args"]["text"] for reply in replies if reply["args"]["text"] != NOTHING]
    assert found
    assert all(puzzle.solved_by(answer) for answer in found)
    assert (
        json.loads(explorer.divided(puzzle, 2, f"h1 answers: {NOTHING}\n\nh2 answers: {found[0]}"))["tool"] == "answer"
    )
    with pytest.raises(UsageError, match="no term"):
        Countdown.read("make 3 of (1 ? 2)")


# --- documents ---------------------------------------------------------------------------------------------------------


async def test_a_corpus_answers_as_its_documents_allow() -> None:
    """A right statement of every fact answers surely; a missing one leaves a guess; the model does as the chance says."""
    corpus = Corpus(1)
    assert corpus.chance(corpus.best()) == 1.0
    assert corpus.chance(corpus.best()[:1]) == pytest.approx(0.05)
    assert corpus.chance(()) == pytest.approx(0.05**2)
    assert corpus.chance(range(len(corpus.documents))) < 0.8
    assert len(corpus.relevant()) == 6
    assert len(corpus.documents) == 36
    for hop in range(2):
        lies = [not d.honest for d in corpus.documents if d.hop == hop]
        assert not all(lies)
    texts = [corpus.documents[number].text for number in corpus.best()]
    assert (await said(corpus.model(), "\n".join([*texts, corpus.question]))).text == corpus.answer
    alone = [(await said(corpus.model(), corpus.question, seed=seed)).text for seed in range(200)]
    assert sum(text == corpus.answer for text in alone) <= 4


# --- artifacts and peers -----------------------------------------------------------------------------------------------


def grown(world: Constraints, rng: Rng, rounds: int) -> tuple[Tree, Node]:
    """An artifact after some rounds of edits, each of the one before."""
    tree = Tree(Node(ROOT, None, None))
    here = tree.root
    for number in range(1, rounds + 1):
        draw = world.draw(Expand(WorkId(number), here.id), tree, rng)
        here = Node(NodeId(number), here.id, Step("answer", draw.text), None, number, answer=draw.answer)
        tree._add(here)
    return tree, here


def test_aimed_edits_meet_constraints() -> None:
    """With .7 mended and .05 broken, eight constraints are all met within a draw and four edits in most runs, by redraws hardly ever."""
    world = Constraints()
    edited = redrawn = 0
    for seed in range(400):
        rng = Rng(seed)
        tree, _ = grown(world, rng, 5)
        edited += any(world.right(node.answer or "") for node in tree)
        fresh = Constraints(start=0.6)
        redrawn += any(world.right(grown(fresh, rng, 1)[1].answer or "") for _ in range(5))
    assert edited / 400 >= 0.80
    assert edited / 400 - redrawn / 400 >= 0.5


def test_what_depends_on_a_violated_constraint_is_not_checked() -> None:
    """Its verdict is left out and not charged; a checker that errs does so as often as it says."""
    world = Constraints(count=3, needs={1: (0,), 2: (1,)})
    node = Node(NodeId(1), ROOT, Step("answer", "011"))
    (verdict,) = world.judge(node, Rng(0))
    assert verdict.per_constraint == {"0": 0.0}
    assert verdict.calls == 1
    assert world.judge(Node(ROOT, None, None), Rng(0)) == ()
    rng = Rng(1)
    found = [world.judge(node, rng, fpr=0.3)[0].per_constraint for _ in range(500)]
    share = sum((one or {})["0"] for one in found) / 500
    assert abs(share - 0.3) <= 4 * math.sqrt(0.21 / 500)


def test_peers_repair_and_corrupt() -> None:
    """A right peer repairs a bad path with its chance, wrong peers corrupt a good one, and without peers neither happens."""
    world = PeerTrap()
    assert world.chance(good=True, peers=[]) == pytest.approx(0.9)
    assert world.chance(good=True, peers=[False, True]) == pytest.approx(0.9)
    assert world.chance(good=True, peers=[False]) == pytest.approx(0.72)
    assert world.chance(good=False, peers=[False]) == pytest.approx(0.1)
    assert world.chance(good=False, peers=[True, False]) == pytest.approx(0.6 * 0.9 + 0.4 * 0.1)
    tree = Tree(Node(ROOT, None, None))
    tree._add(Node(NodeId(1), ROOT, Step("thought", "bad prefix"), depth=1))
    tree._add(Node(NodeId(2), ROOT, Step("answer", "right"), depth=1, answer="right"))
    rng = Rng(5)
    helped = Expand(WorkId(3), NodeId(1), framing=Framing(shown=(NodeId(2),)))
    share = sum(world.right(world.draw(helped, tree, rng).answer or "") for _ in range(500)) / 500
    assert abs(share - 0.58) <= 4 * math.sqrt(0.25 / 500)
    prefixes = Counter(world.draw(Expand(WorkId(1), ROOT), tree, rng).text for _ in range(500))
    assert abs(prefixes["good prefix"] / 500 - 0.5) <= 4 * math.sqrt(0.25 / 500)


# --- streams -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [20, 100])
def test_a_conformal_quantile_covers_what_it_should(size: int) -> None:
    """The quantile of `size` scores covers the next one with at least .9 on average, and hardly more; after a drift it does not."""
    place = math.ceil((size + 1) * 0.9) - 1

    def coverage(task: int, stream: CalibrationStream) -> float:
        return stream.below(sorted(stream.scores(size))[place], task)

    mean = sum(coverage(0, CalibrationStream(seed)) for seed in range(1000)) / 1000
    assert 0.9 - 0.01 <= mean <= 0.9 + 1 / (size + 1) + 0.01
    drifted = sum(coverage(size, CalibrationStream(seed, drifts_at=size)) for seed in range(200)) / 200
    assert drifted < 0.8


def test_confidences_are_off_as_promised() -> None:
    """Calibrated on some tasks, confidences are right on the next ones; after a drift they are not."""
    stream = CalibrationStream(3, drifts_at=3000)
    outcomes = list(stream.outcomes(4000))
    calibration = Calibration.fit(outcomes[:2000])
    kept = [(calibration(confidence), right) for confidence, right in outcomes[2000:3000]]
    drifted = [(calibration(confidence), right) for confidence, right in outcomes[3000:]]
    assert expected_calibration_error(outcomes[:3000]) > 0.1
    assert expected_calibration_error(kept) < 0.05
    assert expected_calibration_error(drifted) > 0.08
    assert stream.rate(0.5) == 0.25
    assert stream.rate(0.5, 3000) == 0.5**4
