"""Constraints with needs: checked in order, by code or by a model, and what hangs on a violated one not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import branchwise as bw
from branchwise.core.errors import UsageError, VerifierError
from branchwise.core.simulated.critics import fences
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest, NodeId
from branchwise.verifiers import Constraint, Constraints
from branchwise.verifiers.checklist import Checklist

from .judged import Counting, candidate_of, tree_of


def holding(word: str) -> bw.Verifier:
    """A check by code: whether a word is in the answer."""

    @bw.verifier(name=f"has {word}")
    def check(candidate: bw.Candidate) -> bool:
        return word in (candidate.answer or "")

    return check


def reader(grade: Mapping[str, Any]) -> ScriptedModel:
    """A model that grades constraints by their text."""

    def reply(request: ModelRequest) -> str:
        lines = [line.split(". ", 1)[1] for line in fences(request)["constraints"].splitlines()]
        return json.dumps(
            {
                key: v
                for n, text in enumerate(lines, 1)
                for key, v in ((f"why{n}", f"{text} seen"), (f"c{n}", grade[text]))
            }
        )

    return ScriptedModel(reply)


async def test_code_decides_where_there_is_code() -> None:
    """No model is asked; the value is the met share of the weights, and the words say what is violated."""
    verifier = Constraints((Constraint("has a", check=holding("a"), weight=3), Constraint("has b", check=holding("b"))))
    asked = reader({})
    verdict = await verifier.judge(candidate_of(tree_of("a"), model=asked))
    assert (verdict.value, verdict.passed, verdict.per_constraint) == (0.75, False, {"c1": 1.0, "c2": 0.0})
    assert "violated: has b" in verdict.feedback
    assert asked.requests == []
    assert (await verifier.judge(candidate_of(tree_of("ab")))).passed


async def test_a_model_reads_what_can_be_checked_at_once() -> None:
    """One call for each layer, charged as one judgement; what the candidate says is fenced, and so are the constraints."""
    model = reader({"x": "met", "y": "met", "z": "violated"})
    verifier = Constraints((Constraint("x"), Constraint("y"), Constraint("z", needs=("c1", "c2"))))
    counting = Counting()
    verdict = await verifier.judge(candidate_of(tree_of("an answer"), model=model, charged=counting))
    assert (verdict.calls, len(model.requests), len(counting.calls)) == (2, 2, 2)
    assert verdict.value == pytest.approx(2 / 3)
    assert "violated: z (z seen)" in verdict.feedback
    assert "an answer" in fences(model.requests[0])["solution"]


async def test_children_of_a_violated_parent_are_never_checked() -> None:
    """However deep: three of four are not applicable, and not a single call is made for them."""
    calls: list[str] = []

    def counted(name: str, *, holds: bool) -> bw.Verifier:
        @bw.verifier(name=name)
        def check(candidate: bw.Candidate) -> bool:
            calls.append(name)
            return holds

        return check

    chain = (
        Constraint("1", "a", check=counted("a", holds=False)),
        Constraint("2", "b", ("a",), check=counted("b", holds=True)),
        Constraint("3", "c", ("b",), check=counted("c", holds=True)),
        Constraint("4", "d", check=counted("d", holds=True)),
    )
    verdict = await Constraints(chain).judge(candidate_of(tree_of("x")))
    assert sorted(calls) == ["a", "d"]
    assert verdict.per_constraint == {"a": 0.0, "d": 1.0}
    assert (verdict.value, verdict.calls) == (0.25, 2)
    assert verdict.feedback.count("not checked") == 2


async def test_rewards_tell_more_than_yes_and_no() -> None:
    """From -100 to 100 for each; met from the threshold on."""
    model = reader({"x": 100, "y": -50})
    verifier = Constraints((Constraint("x"), Constraint("y")), grades="reward", threshold=95)
    verdict = await verifier.judge(candidate_of(tree_of("a"), model=model))
    assert (verdict.value, verdict.passed) == (0.625, False)
    assert verdict.per_constraint == {"c1": 1.0, "c2": 0.25}
    near = Constraints((Constraint("x"),), grades="reward", threshold=95)
    assert not (await near.judge(candidate_of(tree_of("a"), model=reader({"x": 94})))).passed
    assert (await near.judge(candidate_of(tree_of("a"), model=reader({"x": 95})))).passed


@pytest.mark.parametrize("grade", ["very", 101, True, None])
async def test_a_reward_out_of_range_is_no_verdict(grade: Any) -> None:
    """The candidate stays unjudged."""
    with pytest.raises(VerifierError, match="a reward is from -100 to 100"):
        await Constraints((Constraint("x"),), grades="reward").judge(
            candidate_of(tree_of("a"), model=reader({"x": grade}))
        )


@pytest.mark.parametrize(
    ("constraints", "why"),
    [
        ([], "no constraints"),
        ([Constraint("x", "a"), Constraint("y", "a")], "several constraints are called 'a'"),
        ([Constraint("x", needs=("z",))], "needs 'z', which is none; there are: c1"),
        ([Constraint("x", "a", ("b",)), Constraint("y", "b", ("a",))], "in a circle"),
    ],
)
def test_what_does_not_fit_together_is_refused(constraints: Sequence[Constraint], why: str) -> None:
    """When it is made, with what to change."""
    with pytest.raises(UsageError, match=why):
        Constraints(tuple(constraints))


def test_a_constraint_says_something() -> None:
    """Empty words, a weight of nothing and a check that judges no single candidate are refused."""
    with pytest.raises(UsageError, match="says nothing"):
        Constraint(" ")
    with pytest.raises(UsageError, match="weight=0"):
        Constraint("x", weight=0)
    with pytest.raises(UsageError, match="judges set"):
        Constraint("x", check=bw.verifiers.Listwise())


@given(st.lists(st.sets(st.integers(0, 9), max_size=3), min_size=1, max_size=10))
def test_needs_come_before_what_needs_them(needs: list[set[int]]) -> None:
    """In any list without circles: a layer needs earlier ones only, and none is left out."""
    made = [
        Constraint(f"text {n}", f"n{n}", tuple(f"n{need}" for need in sorted(before) if need < n))
        for n, before in enumerate(needs)
    ]
    checklist, seen = Checklist(tuple(made)), set[str]()
    for layer in checklist.layers:
        assert all(set(constraint.needs) <= seen for constraint in layer)
        seen |= {constraint.name for constraint in layer}
    assert seen == {constraint.name for constraint in made}
    assert [Constraint.from_json(constraint.to_json()) for constraint in checklist] == made


async def test_a_step_without_an_answer_is_not_accepted_by_a_model() -> None:
    """It is judged as unfinished, and scored; where code decides everything it may be accepted."""
    tree = tree_of("ab")
    unfinished = replace(tree[NodeId(1)], answer=None)
    model = reader({"x": "met"})
    reads = Constraints((Constraint("x"),), scope="state")
    verdict = await reads.judge(replace(candidate_of(tree, model=model), path=[tree.root, unfinished]))
    assert (verdict.value, verdict.passed) == (1.0, None)
    assert "may be unfinished" in model.requests[0].messages[0].content
    assert (await reads.judge(candidate_of(tree, model=model))).passed is True
    assert "may be unfinished" not in model.requests[1].messages[0].content
    runs = Constraints((Constraint("x", check=Exact()),), scope="state")
    assert (await runs.judge(replace(candidate_of(tree), path=[tree.root, unfinished]))).passed is True


class Exact:
    """A check of states that runs code, and accepts everything."""

    name = "exact"
    semantics: Any = "outcome"
    scope: Any = "state"

    async def judge(self, candidate: bw.Candidate) -> bw.Verdict:
        """Accept."""
        return bw.Verdict(1.0, "outcome", self.name, passed=True, integrity="host-io")


async def test_a_verdict_is_as_safe_as_its_weakest_check() -> None:
    """By execution alone it says how well; with a model among the checks it says nothing of the kind."""
    tree = tree_of("x")
    exact = Constraint("runs", check=Exact())
    assert (await Constraints((exact,)).judge(candidate_of(tree))).integrity == "host-io"
    mixed = Constraints((exact, Constraint("x")))
    assert (await mixed.judge(candidate_of(tree, model=reader({"x": "met"})))).integrity is None


async def test_a_check_of_answers_waits_for_the_answer() -> None:
    """Of a step without one it says nothing, and is not run."""
    tree = tree_of("ab")
    unfinished = replace(tree[NodeId(1)], answer=None)
    verifier = Constraints((Constraint("has a", check=holding("a")), Constraint("runs", check=Exact())), scope="state")
    verdict = await verifier.judge(replace(candidate_of(tree), path=[tree.root, unfinished]))
    assert (verdict.value, verdict.passed, verdict.per_constraint) == (0.5, None, {"c2": 1.0})
    assert (await verifier.judge(candidate_of(tree))).passed is True
