"""Turns taken in segments: which part is asked for, and what refuses to be cut."""

from __future__ import annotations

import pytest

from branchwise.agents.forms import Form, JsonForm, NativeForm, TextForm
from branchwise.agents.segments import segment
from branchwise.core.errors import ModelOutputInvalid, UsageError
from branchwise.core.events import Expand
from branchwise.core.types import (
    ROOT,
    Framing,
    Message,
    ModelRequest,
    ModelResponse,
    Node,
    NodeId,
    Sampling,
    Step,
    ToolSpec,
    Usage,
    WorkId,
)

ROOT_NODE = Node(ROOT, None, None)
BEGUN = [
    ROOT_NODE,
    Node(NodeId(1), ROOT, Step("partial", "All work "), usage=Usage(completion_tokens=30)),
    Node(NodeId(2), NodeId(1), Step("partial", "and no "), usage=Usage(completion_tokens=20)),
]


def asked(form: Form | None = None, tools: tuple[ToolSpec, ...] = ()) -> ModelRequest:
    """The request for a whole turn of at most 100 tokens."""
    return (form or TextForm()).request([Message("user", "go on")], tools, Sampling(max_tokens=100))


def work(tokens: int | None, framing: Framing | None = None) -> Expand:
    """An expansion."""
    return Expand(WorkId(3), NodeId(2), framing=framing, segment_tokens=tokens)


def test_a_whole_turn_is_asked_for_as_ever() -> None:
    """Without segments the request is that of the form, in every form."""
    for form in (TextForm(), NativeForm(), JsonForm()):
        request = asked(form, (ToolSpec("read", "", {}),))
        assert segment(work(None), [ROOT_NODE], request, form).requested(request) == request


def test_a_segment_goes_on_with_what_was_said() -> None:
    """The reply begins with the pieces before, and gets what is left of the turn's tokens at most."""
    part = segment(work(40), BEGUN, asked(), TextForm())
    request = part.requested(asked())
    assert (request.prefix, request.sampling.max_tokens) == ("All work and no ", 40)
    rest = segment(work(None), BEGUN, asked(), TextForm())
    assert (rest.max_tokens, rest.last) == (50, True)
    assert segment(work(70), BEGUN, asked(), TextForm()) == rest


def test_a_cut_is_a_pause_until_the_turns_own_limit() -> None:
    """A segment that was cut is partial, the last one that was cut is unusable, one that ends is the answer."""
    cut = ModelResponse("play makes", Usage(), "length")
    paused = segment(work(40), BEGUN, asked(), TextForm()).read(cut, TextForm())
    assert paused.partial
    assert (paused.text, paused.answer, paused.problem) == ("play makes", None, None)
    over = segment(work(50), BEGUN, asked(), TextForm()).read(cut, TextForm())
    assert "cut off" in str(over.problem)
    done = segment(work(40), BEGUN, asked(), TextForm()).read(ModelResponse("play.\n", Usage()), TextForm())
    assert (done.text, done.answer, done.partial) == ("play.\n", "All work and no play.", False)


def test_a_segment_without_text_is_nothing_to_go_on_from() -> None:
    """A model that thinks out of sight would begin anew with every segment."""
    part = segment(work(40), BEGUN, asked(), TextForm())
    with pytest.raises(ModelOutputInvalid, match="thinks out of sight"):
        part.read(ModelResponse("", Usage(), "length"), TextForm())
    assert part.read(ModelResponse("", Usage()), TextForm()).answer == "All work and no"


@pytest.mark.parametrize(
    ("form", "tools", "doing", "said"),
    [
        (JsonForm(), (), work(40), "plain text"),
        (NativeForm(), (ToolSpec("read", "", {}),), work(40), "plain text"),
        (TextForm(), (), work(40, Framing(note="other")), "first step"),
        (TextForm(), (), work(0), "at least one"),
    ],
    ids=["a grammar", "tools", "put otherwise in the middle", "no token"],
)
def test_what_cannot_be_cut_is_refused(form: Form, tools: tuple[ToolSpec, ...], doing: Expand, said: str) -> None:
    """With words that say what to do."""
    with pytest.raises(UsageError, match=said):
        segment(doing, BEGUN, asked(form, tools), form)


def test_a_turn_can_be_made_to_go_on_with_given_words() -> None:
    """They follow what was said, are part of the prefix, and stand in the step's text like what was sampled."""
    doing = Expand(WorkId(3), NodeId(2), lead="play. Answer:")
    part = segment(doing, BEGUN, asked(), TextForm())
    assert part.requested(asked()).prefix == "All work and no play. Answer:"
    turn = part.read(ModelResponse(" dull", Usage()), TextForm())
    assert (turn.text, turn.answer) == ("play. Answer: dull", "All work and no play. Answer: dull")
    begun = segment(Expand(WorkId(1), ROOT, lead="Wait,"), [ROOT_NODE], asked(), TextForm())
    assert begun.requested(asked()).prefix == "Wait,"
    with pytest.raises(UsageError, match="or begun for the model, which only turns in plain text can be"):
        segment(Expand(WorkId(1), ROOT, lead="Wait,"), [ROOT_NODE], asked(JsonForm()), JsonForm())


def test_a_turn_pauses_where_a_block_ends() -> None:
    """The mark is asked for as a stop text and put back; where no such block is open the end is the turn's own."""
    doing = Expand(WorkId(3), NodeId(2), lead="<Thread> 1:", closing="Thread")
    part = segment(doing, BEGUN, asked(), TextForm())
    assert part.requested(asked()).sampling.stop == ("</Thread>",)
    for said in (" play", " play</Thread>"):  # some servers leave the mark in
        turn = part.read(ModelResponse(said, Usage()), TextForm())
        assert (turn.text, turn.partial, turn.answer) == ("<Thread> 1: play</Thread>", True, None)
    cut = part.read(ModelResponse(" play", Usage(), "length"), TextForm())
    assert "cut off" in str(cut.problem), "the turn's own limit"
    plain = segment(Expand(WorkId(1), ROOT, closing="Thread"), [ROOT_NODE], asked(), TextForm())
    for said in ("no block", "<Thread> one</Thread> and no more"):
        turn = plain.read(ModelResponse(said, Usage()), TextForm())
        assert (turn.answer, turn.partial) == (said, False)
    with pytest.raises(UsageError, match="only turns in plain text"):
        segment(Expand(WorkId(1), ROOT, closing="Thread"), [ROOT_NODE], asked(JsonForm()), JsonForm())
