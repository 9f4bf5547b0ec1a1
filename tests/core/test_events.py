"""The journal's alphabet: everything that is written can be read, everything else is refused."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from branchwise.core.errors import JournalVersionMismatch, RewardOutOfRange
from branchwise.core.events import Event, Expanded, Judged, Pruned, Work, decode, encode
from branchwise.core.people import Question
from branchwise.core.types import ROOT, Node, NodeId, Step, ToolCall, Usage, Verdict, WorkId

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
COUNT = st.integers(0, 2**40)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)

USAGES = st.builds(Usage, *([COUNT] * 7), st.floats(0, 1e6), st.floats(0, 1e6), COUNT)
CALLS = st.builds(ToolCall, TEXT, TEXT, st.dictionaries(TEXT, PLAIN, max_size=3))
STEPS = st.builds(Step, text=TEXT, model=TEXT, calls=st.lists(CALLS, max_size=2).map(tuple), logprob=st.none() | FINITE)
NODES = st.builds(
    Node, COUNT, st.none() | COUNT, st.none() | STEPS, env_ref=st.none() | TEXT, usage=USAGES, answer=st.none() | TEXT
)
VERDICTS = st.builds(
    Verdict,
    value=st.floats(0, 1),
    verifier=TEXT,
    feedback=TEXT,
    per_constraint=st.none() | st.dictionaries(TEXT, FINITE, max_size=3),
    usage=USAGES,
)

OBJECTS = st.dictionaries(TEXT, PLAIN, max_size=3)
QUESTIONS = st.builds(Question, id=TEXT, text=TEXT, schema=OBJECTS, tool=TEXT, arguments=OBJECTS)

BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    Node: NODES,
    Usage: USAGES,
    float: FINITE,
    float | None: st.none() | FINITE,
    tuple[Verdict, ...]: st.lists(VERDICTS, max_size=3).map(tuple),
    tuple[Question, ...]: st.lists(QUESTIONS, max_size=2).map(tuple),
}


def records(kind: type) -> st.SearchStrategy[Any]:
    """Any record of this kind; fields whose type says too little are drawn from `BY_TYPE`."""
    hints = get_type_hints(kind)
    if hints.get("work") == Work:
        return st.builds(kind, st.one_of([records(work) for work in get_args(Work)]))
    return st.builds(kind, **{name: BY_TYPE[hint] for name, hint in hints.items() if hint in BY_TYPE})


EVENTS = st.one_of([records(kind) for kind in get_args(Event)])


@settings(max_examples=500, deadline=None)
@given(st.lists(EVENTS, max_size=5))
def test_round_trip(events: list[Event]) -> None:
    """What was written is read back equal, whatever the event and its content."""
    assert decode(encode(events)) == events


def test_text_that_utf8_cannot_hold() -> None:
    """Half a surrogate pair, which a model can write as an escape, becomes "?"; the run goes on."""
    step = Step("tool", "a\ud800b", (ToolCall("1", "write", {"text": "\udfff", "n": [1, None]}),))
    (event,) = decode(encode([Expanded(WorkId(1), Node(NodeId(1), ROOT, step))]))
    assert isinstance(event, Expanded)
    assert event.node.step == Step("tool", "a?b", (ToolCall("1", "write", {"text": "?", "n": [1, None]}),))


def test_numbers_that_json_cannot_hold() -> None:
    """An infinite log-probability or an argument that is not a number is written as null."""
    step = Step("tool", "", (ToolCall("1", "f", {"x": float("nan")}),), logprob=float("-inf"))
    (event,) = decode(encode([Expanded(WorkId(1), Node(NodeId(1), ROOT, step))]))
    assert isinstance(event, Expanded)
    assert event.node.step == Step("tool", "", (ToolCall("1", "f", {"x": None}),))


def test_defaults_are_left_out() -> None:
    """A journal of 10^5 nodes holds no fields that say nothing."""
    assert encode([Pruned(NodeId(3), "twin")]) == '[["Pruned",{"node":3,"reason":"twin"}]]'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "5",
        '{"a": 1}',
        "[1]",
        '["ab"]',
        '[["Teleported", {}]]',
        '[[["Pruned"], {}]]',
        '[["Pruned", {}]]',
        '[["Pruned", {"node": "x", "reason": "r"}]]',
        '[["WorkStarted", 5]]',
        '[["WorkStarted", ["Teleport", {"id": 1}]]]',
        '[["WorkStarted", ["Expand", {}]]]',
        '[["Judged", {"work": 1, "node": 1, "verdicts": [{"value": 2, "semantics": "value", "verifier": "v"}]}]]',
        "[" * 5000,
    ],
)
def test_what_this_version_cannot_read_is_refused(text: str) -> None:
    """An unknown record, a missing field, a foreign text: one clear error that says what to do."""
    with pytest.raises(JournalVersionMismatch, match="use the version of Branchwise that wrote it"):
        decode(text)


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan"), float("inf")])
def test_values_lie_in_the_unit_interval(value: float) -> None:
    """A verdict out of range is refused where it is made, with the verifier's name."""
    with pytest.raises(RewardOutOfRange, match=r"'lint' gave .*scale the score"):
        Verdict(value, "value", "lint")


def test_constraints_are_finite() -> None:
    """A value that the journal could not give back is refused where it is made."""
    with pytest.raises(RewardOutOfRange, match="'short'"):
        Verdict(0.5, "value", "lint", per_constraint={"short": float("nan")})


def test_verdicts_survive_their_journal() -> None:
    """The bounds themselves are in range."""
    events: list[Any] = [
        Judged(WorkId(1), ROOT, (Verdict(0.0, "value", "v"), Verdict(1.0, "outcome", "w", passed=True)))
    ]
    assert decode(encode(events)) == events
