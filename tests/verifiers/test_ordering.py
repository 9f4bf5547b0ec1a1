"""Orders of candidates: any reply gives one, and what verifiers said before is there to be read."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from branchwise.core.errors import UsageError, VerifierError
from branchwise.core.simulated.critics import SimulatedCritic, fences
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest, NodeId, Verdict
from branchwise.verifiers import Judge, Listwise, WrittenTests
from branchwise.verifiers.ordering import MOST_ORDERED, read_order

from .judged import candidate_of, judged, tree_of

PIECES = [
    "[1]",
    "[2]",
    "[32]",
    "[33]",
    "[0]",
    " > ",
    ">",
    "4",
    "2.5",
    "\n",
    "x",
    "[ 3 ]",
    "[",
    "]",
    "-1",
    "é",
    "٣",
    "[٣]",
    "1e9",
]


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join)), st.integers(0, MOST_ORDERED))
def test_any_text_is_an_order(text: str, count: int) -> None:
    """Whatever a model writes, every candidate has one place."""
    order, named = read_order(text, count)
    assert sorted(order) == list(range(count))
    assert 0 <= named <= count


def test_ten_thousand_broken_orders_are_repaired() -> None:
    """Pieces of orders thrown together: permutations all of them."""
    rng = random.Random(1)
    for _ in range(10_000):
        text = "".join(rng.choices(PIECES, k=rng.randrange(12)))
        count = rng.randrange(MOST_ORDERED + 1)
        assert sorted(read_order(text, count)[0]) == list(range(count)), text


@pytest.mark.parametrize(
    ("text", "order", "named"),
    [
        ("[2] > [3] > [1]", [1, 2, 0], 3),
        ("[3]", [2, 0, 1], 1),
        ("[2] > [2] > [9] > [1]", [1, 0, 2], 2),
        ("The order is:\n3 > 1 > 2\n[1] > [2] > [3]", [2, 0, 1], 3),
        ("I like 2 of them", [0, 1, 2], 0),
        ("", [0, 1, 2], 0),
    ],
)
def test_the_first_line_that_names_candidates_counts(text: str, order: list[int], named: int) -> None:
    """Twice counts once, strangers not at all, and the missing follow."""
    assert read_order(text, 3) == (order, named)


def worth(text: str) -> float:
    """What an answer such as "0.7" is worth."""
    return float(text.split(maxsplit=1)[0])


async def test_an_order_is_a_ranking() -> None:
    """Each place is worth less than the one before it, wherever a candidate was shown."""
    answers = ["0.2", "0.9", "0.5", "0.7"]
    model = ScriptedModel(SimulatedCritic(worth))
    for seed in range(5):
        verdict = await Listwise(form="order", k=1).judge(
            candidate_of(tree_of(*answers), model=model, seed=seed, among=())
        )
        assert verdict.ranking == {1: 0.0, 2: 1.0, 3: pytest.approx(1 / 3), 4: pytest.approx(2 / 3)}


async def test_noise_in_the_judge_leaves_no_order() -> None:
    """Where its errors drown what candidates are worth, the best one comes first as often as any."""
    model = ScriptedModel(SimulatedCritic(lambda _text: 0.5, noise=0.3))
    tree = tree_of("0.2", "0.9", "0.5", "0.7")
    first = 0
    for seed in range(400):
        verdict = await Listwise(form="order", k=1).judge(candidate_of(tree, model=model, seed=seed))
        first += max(verdict.ranking or {}, key=lambda node: (verdict.ranking or {})[node]) == NodeId(2)
    assert 0.25 - 4 * 0.0217 < first / 400 < 0.25 + 4 * 0.0217


async def test_it_reads_what_was_said_only_if_told_to() -> None:
    """`said` shows verifiers' words beside their candidate; by default there are none."""
    tree = tree_of("0.2", "0.9")
    judged(tree, 2, Verdict(0.5, "outcome", "critic", feedback="it is too long"))
    model = ScriptedModel(SimulatedCritic(worth))
    await Listwise(form="order", k=1, said=True).judge(candidate_of(tree, model=model))
    await Listwise(form="order", k=1).judge(candidate_of(tree, model=model))
    told, silent = (fences(request) for request in model.requests)
    place = next(title for title, text in told.items() if text == "0.9")
    assert told[f"said of {place}"] == "it is too long"
    assert not any(title.startswith("said") for title in silent)


@pytest.mark.parametrize(
    "reply", ["no idea", '{"critique": "I like [2] and', "{}", json.dumps({"critique": "x", "order": "none"})]
)
async def test_a_reply_that_orders_nobody_is_no_verdict(reply: str) -> None:
    """Not even where a critique that breaks off has numbers in it."""
    with pytest.raises(VerifierError, match="names no candidate"):
        await Listwise(form="order", k=1).judge(candidate_of(tree_of("a", "b"), model=ScriptedModel(lambda _: reply)))


@pytest.mark.parametrize("reply", ["[2] > [1]", '{"critique": "x", "order": "[2] > [1', '{"order": "[2]>[1]"}'])
async def test_a_reply_of_another_form_counts_all_the_same(reply: str) -> None:
    """Not every server enforces the form."""
    candidate = candidate_of(tree_of("a", "b"), model=ScriptedModel(lambda _: reply))
    verdict = await Listwise(form="order", k=1).judge(candidate)
    assert sorted((verdict.ranking or {}).values()) == [0.0, 1.0]


async def test_many_candidates() -> None:
    """As many as there are numbers; not one more."""
    model = ScriptedModel(SimulatedCritic(worth))
    answers = [f"{number / 64}" for number in range(MOST_ORDERED + 1)]
    verdict = await Listwise(form="order", k=1).judge(candidate_of(tree_of(*answers[:-1]), model=model))
    assert verdict.ranking is not None
    assert max(verdict.ranking, key=verdict.ranking.__getitem__) == MOST_ORDERED
    with pytest.raises(VerifierError, match="2 to 32"):
        await Listwise(form="order", k=1).judge(candidate_of(tree_of(*answers), model=model))
    with pytest.raises(UsageError, match="'best' or 'order'"):
        Listwise(form="worst")  # type: ignore[arg-type]  # it is what is tested


async def test_the_case_for_a_candidate_is_made_before_it_is_judged() -> None:
    """Two calls: the second is shown what the first wrote, fenced."""

    def script(request: ModelRequest) -> str:
        return '{"verdict": "yes"}' if request.response_schema else "It adds up."

    model = ScriptedModel(script)
    verdict = await Judge(argue=True, think=False, accept=0.5).judge(candidate_of(tree_of("5"), model=model))
    assert (verdict.passed, verdict.usage.calls, len(model.requests)) == (True, 2, 2)
    assert fences(model.requests[1])["case for it"] == "It adds up."
    assert model.requests[0].sampling.seed != model.requests[1].sampling.seed


async def test_tests_that_are_there_are_not_written() -> None:
    """What `write` returned is what another judgement goes by."""

    def script(request: ModelRequest) -> str:
        properties = (request.response_schema or {})["properties"]
        if "tests" in properties:
            return json.dumps({"tests": ["it names a number", "it is five", "it is five"]})
        return json.dumps(dict.fromkeys(properties, "pass"))

    model = ScriptedModel(script)
    candidate = candidate_of(tree_of("5"), model=model)
    tests = await WrittenTests().write(candidate)
    assert tests == ("it names a number", "it is five")
    verdict = await WrittenTests(tests=tests).judge(candidate)
    assert (verdict.per_constraint, len(model.requests)) == (dict.fromkeys(tests, 1.0), 2)
    calls = WrittenTests(function="add", tests=("assert add(2, 3) == 5", "nonsense"))
    assert [str(getattr(test, "name", test)) for test in await calls._tests(candidate)] == ["assert add(2, 3) == 5"]
