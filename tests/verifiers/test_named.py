"""Verifiers by name, as the command line takes them."""

from __future__ import annotations

import pytest

from branchwise.core.errors import UsageError
from branchwise.verifiers import (
    Cached,
    Complete,
    FastSlow,
    GroupScores,
    Judge,
    Listwise,
    ProgramAgreement,
    Vote,
    WrittenTests,
    web_judge,
)
from branchwise.verifiers.named import VERIFIERS, parse_verifier


@pytest.mark.parametrize(
    ("text", "verifier"),
    [
        ("judge", Judge()),
        ("judge:form=score,scale=7,accept=0.8,think=false", Judge(form="score", scale=7, accept=0.8, think=False)),
        ("judge:model=embedded:smollm2-135m-instruct", Judge(model="embedded:smollm2-135m-instruct")),
        ("vote:judge", Vote(Judge())),
        ("vote:k=3,by=majority:judge:rounds=1", Vote(Judge(rounds=1), k=3, by="majority")),
        ("cached:program:same=number", Cached(ProgramAgreement(same="number"))),
        ("cached:same=text:vote:k=2:judge", Cached(Vote(Judge(), k=2), same="text")),
        ("listwise:k=4", Listwise(k=4)),
        ("group-scores:k=4,meta=check", GroupScores(k=4, meta="check")),
        ("written-tests:function=add,scope=set", WrittenTests(function="add", scope="set")),
        ("complete", Complete()),
        ("web-judge:scope=answer,votes=2", web_judge(scope="answer", votes=2)),
    ],
)
def test_a_name_with_options_is_a_verifier(text: str, verifier: object) -> None:
    """The same as the line of code."""
    assert parse_verifier(text) == verifier


def test_fast_and_slow_are_a_short_and_a_long_judge() -> None:
    """Of one model."""
    verifier = parse_verifier("fast-slow:k=4,tau=0.9,model=scripted:model")
    assert isinstance(verifier, FastSlow)
    assert (verifier.k, verifier.tau) == (4, 0.9)
    fast, slow = verifier.parts
    assert isinstance(fast, Judge)
    assert isinstance(slow, Judge)
    assert (fast.think, slow.think, fast.model, slow.max_tokens) == (False, True, "scripted:model", 2048)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jury", "no verifier is called 'jury'; there are: judge, fast-slow"),
        ("vote:k=3", "'vote' stands before another verifier, for example 'vote:judge'"),
        ("judge:mood=good", "verifier 'judge' has no option 'mood=good'; it takes criteria=..."),
        ("judge:scale=many", "scale='many' is no int"),
        ("listwise:checklist=units", "checklist cannot be given by name"),
        ("cached:judge:scope=state", "'judge' judges states"),
    ],
)
def test_what_is_no_verifier_is_refused(text: str, message: str) -> None:
    """With what there is."""
    with pytest.raises(UsageError, match=message):
        parse_verifier(text)


def test_every_named_verifier_can_be_made_without_options() -> None:
    """By its name alone."""
    for name in VERIFIERS:
        assert hasattr(parse_verifier(name), "judge")
