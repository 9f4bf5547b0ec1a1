"""Questions at a terminal: readable, answered while the run goes on, and left in every way that people leave them."""

from __future__ import annotations

import http.server
import io
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from rich.console import Console

from branchwise.cli.people import Person, shown
from branchwise.core.people import APPROVAL, YES_OR_NO, Question
from branchwise.core.types import JSON, ToolCall
from branchwise.models.fake_server import Answer, FakeServer

from .pseudo_terminal import PseudoTerminal

AGENT = '''
"""An agent that books a table, and says for how many."""
import json

import branchwise as bw
from branchwise.core.testing import ScriptedModel


@bw.tool(effects="external")
async def book(ctx: bw.Context, seats: int) -> str:
    """Book.

    Args:
        seats: how many.
    """
    return f"booked {seats}"


def script(request):
    seen = [m.content for m in request.messages if m.role == "user"]
    if len(seen) > 1:
        return json.dumps({"thought": "", "tool": "answer", "args": {"text": seen[-1]}})
    return json.dumps({"thought": "", "tool": "book", "args": {"seats": 4}})


waiter = bw.Agent(name="waiter", model=ScriptedModel(script, native_tools=False), tools=[book])
'''
EDITABLE = Question("q", "approve", "May book be called?", APPROVAL, "book", {"day": "Friday", "seats": 4})


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    """What a run's process is given."""
    return {**os.environ, "BRANCHWISE_HOME": str(tmp_path / "home"), **more}


def asked(question: Question, typed: str, monkeypatch: pytest.MonkeyPatch) -> tuple[JSON, Person]:
    """Return what a person who types that has answered, and the person."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    person = Person(Console(file=io.StringIO()))
    return person.ask([question]).get("q"), person


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("y\n", True),
        ("maybe\nYes\n", True),
        ("\n\n", {"approved": False, "reason": ""}),
        ("no\ntoo dear\n", {"approved": False, "reason": "too dear"}),
        ('edit\nfour\n[1]\n{"seats": 2}\n', {"approved": True, "arguments": {"day": "Friday", "seats": 2}}),
        ("e\n\n", {"approved": True, "arguments": {"day": "Friday", "seats": 4}}),
    ],
)
def test_what_is_to_be_approved_is_answered_in_words(typed: str, answer: JSON, monkeypatch: pytest.MonkeyPatch) -> None:
    """Yes, no with a reason, or otherwise; what is none of these is asked again."""
    assert asked(EDITABLE, typed, monkeypatch)[0] == answer


def test_what_can_only_be_done_as_it_is_is_not_edited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The word is none of the answers then."""
    fixed = Question("q", "approve", "May it?", YES_OR_NO, "for_good", {"do": "click"})
    assert asked(fixed, "edit\ny\n", monkeypatch)[0] is True


@pytest.mark.parametrize(
    ("schema", "typed", "answer"),
    [
        ({"type": "string"}, "12\n", "12"),
        ({"type": "integer"}, "twelve\ntrue\n12\n", 12),
        ({"type": "boolean"}, "perhaps\nyes\n", True),
        ({"enum": ["a", "b"]}, "a\n", "a"),
    ],
)
def test_an_answer_is_of_the_kind_that_was_asked_for(
    schema: Mapping[str, JSON], typed: str, answer: JSON, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tool that asks for a number gets one."""
    assert asked(Question("q", "ask", "How many?", schema), typed, monkeypatch)[0] == answer


def test_who_has_closed_the_terminal_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where more could be read."""
    answer, person = asked(EDITABLE, "", monkeypatch)
    assert (answer, person.gone) == (None, True)


def test_every_argument_has_a_line_of_its_own() -> None:
    """And nothing in it can look like another line, or move the cursor."""
    question = Question("q", "approve", "", APPROVAL, "send", {"to": "ann", "text": "a\n    why: harmless\x1b[2J"})
    assert shown(question).split("\n") == [
        "May this be done: send",
        '    to: "ann"',
        r'    text: "a\n    why: harmless\u001b[2J"',
    ]


def test_an_action_is_edited_at_the_terminal(tmp_path: Path) -> None:
    """It is done as the person has it, in the same run; then the terminal is as it was."""
    (tmp_path / "agents.py").write_text(AGENT)
    with PseudoTerminal(["run", f"{tmp_path}/agents.py:waiter", "Book."], environment(tmp_path)) as terminal:
        assert "May this be done: book\r\n    seats: 4\r\n" in terminal.until("allow it [y/N/edit]: ")
        terminal.type("edit\r")
        terminal.until("arguments as JSON")
        terminal.type('{"seats": 2}\r')
        terminal.until("booked 2")
        assert terminal.ended() == 0
        assert terminal.as_it_was


@pytest.mark.parametrize(
    ("key", "reason"), [("\x04", "(1 question waits for an answer)"), ("\x03", "stopped on request")]
)
def test_a_question_can_be_left(tmp_path: Path, key: str, reason: str) -> None:
    """By Ctrl-D the run waits, and says how to answer; by Ctrl-C it stops. Neither asks again, and nothing was done."""
    (tmp_path / "agents.py").write_text(AGENT)
    with PseudoTerminal(["run", f"{tmp_path}/agents.py:waiter", "Book."], environment(tmp_path)) as terminal:
        terminal.until("allow it [y/N/edit]: ")
        terminal.type(key)
        after = terminal.until("go on with it: branchwise resume ")
        assert terminal.ended() == 3
    assert reason in after
    assert "allow it" not in after
    assert "booked" not in terminal.shown
    assert ("--answer" in terminal.shown) == (key == "\x04")


@pytest.fixture
def counter() -> Iterator[tuple[str, list[str]]]:
    """The address of a page with an order on it, and what was ordered."""
    orders: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send("<title>Shop</title><form method=post action=/order><button>Place order</button></form>")

        def do_POST(self) -> None:
            orders.append(self.path)
            self.rfile.read(int(self.headers["content-length"]))
            self._send("<title>Thanks</title><h1>Ordered</h1>")

        def _send(self, text: str) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", orders
        server.shutdown()


@pytest.mark.browser
def test_what_cannot_be_taken_back_is_asked_at_the_terminal(tmp_path: Path, counter: tuple[str, list[str]]) -> None:
    """In the words of the page; nothing is done before the answer, the run goes on after it, and the question stays to be read."""
    url, orders = counter

    def reply(body: Mapping[str, JSON]) -> Answer:
        done = "Ordered" in str(body["messages"])
        return (
            Answer("done") if done else Answer(tool_calls=(ToolCall("c1", "for_good", {"do": "click", "ref": "e1"}),))
        )

    with FakeServer(reply).in_thread() as server:
        env = environment(tmp_path, OPENAI_BASE_URL=server.base_url, OPENAI_API_KEY="none")
        words = ["run", "--url", url, "Order one mug.", "--model", "openai:m", "--tokens", "60000"]
        with PseudoTerminal(words, env) as terminal:
            before = terminal.until("allow it [y/N]: ")
            for line in (
                "May this be done: for_good",
                "on: \"button 'Place order'\"",
                'why: "it sends a form by POST"',
            ):
                assert line in before
            assert orders == []
            terminal.type("y\r")
            after = terminal.until("go on with it: branchwise resume ")
            assert terminal.ended() == 0
    assert orders == ["/order"]
    assert "click button 'Place order'" in after
    first_frame = after[: after.index("nodes")]
    assert "\x1b[1A" not in first_frame, "the view that goes on wipes nothing that stood there before"
