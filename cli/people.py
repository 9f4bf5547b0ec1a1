"""Questions to the person at the terminal."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from ..core.errors import UsageError
from ..core.marks import visible
from ..core.people import Question
from ..core.types import Result

_WORDS = {"yes": True, "y": True, "true": True, "no": False, "n": False, "false": False}


def read_answers(given: Sequence[str], questions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the answers of `--answer ID=ANSWER` options: yes or no to what is to be approved, a text, or a JSON object.

    Args:
        given: the options.
        questions: what the run waits for.

    Raises:
        UsageError: one has no "=", or is broken JSON.
    """
    kinds = {question["id"]: question["kind"] for question in questions}
    answers: dict[str, Any] = {}
    for text in given:
        question, equals, value = text.partition("=")
        if not equals or not question:
            raise UsageError(f"--answer {text!r} must be ID=ANSWER, with the question's id")
        answers[question] = _read(value, approval=kinds.get(question) == "approve")
    return answers


def _read(text: str, *, approval: bool) -> Any:
    if approval and text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if not text.startswith("{"):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is no JSON: {error}") from error


def show_questions(console: Console, result: Result) -> None:
    """Print what is asked, and how to answer from another command."""
    for question in result.questions:
        console.print(f"\n[yellow]?[/] {escape(shown(question))}", highlight=False)
        console.print(
            f"  `branchwise resume {result.run_id} --answer {question.id}=ANSWER`", highlight=False, soft_wrap=True
        )


def ask(console: Console, questions: Sequence[Question]) -> dict[str, Any]:
    """Ask the person at the terminal."""
    answers: dict[str, Any] = {}
    for question in questions:
        console.print(f"\n[yellow]?[/] {escape(shown(question))}", highlight=False)
        if question.kind == "approve":
            if typer.confirm("  allow it", default=False):
                answers[question.id] = True
            else:
                reason = typer.prompt("  reason, for the model", default="", show_default=False)
                answers[question.id] = {"approved": False, "reason": reason}
        else:
            answers[question.id] = typer.prompt("  answer")
    return answers


async def asked_beside(console: Console, questions: Sequence[Question]) -> dict[str, Any]:
    """Ask the person at the terminal while everything else goes on; nothing where the terminal is closed.

    In a thread of its own that ends with the process: one that waits for a line cannot be stopped.
    """
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[dict[str, Any]] = loop.create_future()

    def answer() -> None:
        try:
            answers = ask(console, questions)
        except (typer.Abort, OSError, EOFError):
            answers = {}
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(lambda: None if answered.done() else answered.set_result(answers))

    threading.Thread(target=answer, name="questions", daemon=True).start()
    return await answered


def shown(question: Question) -> str:
    """Return a question as it is shown: nothing in it may look like another one, or hide what it says."""
    if question.kind == "ask":
        return "The agent asks: " + visible(question.text).replace("\n", "\n    ")
    arguments = ", ".join(
        f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in question.arguments.items()
    )
    return visible(f"May this be done: {question.tool}({arguments})", lines=False)
