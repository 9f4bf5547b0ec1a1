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
        console.print(f"\n[yellow]?[/] {escape(shown(question))}", highlight=False, soft_wrap=True)
        console.print(
            f"  `branchwise resume {result.run_id} --answer {question.id}=ANSWER`", highlight=False, soft_wrap=True
        )


class Person:
    """Whoever is at the terminal. Once they have closed it (Ctrl-D), or left a question by Ctrl-C, they are not asked again."""

    def __init__(self, console: Console) -> None:
        self.gone = False
        self._console = console

    def ask(self, questions: Sequence[Question]) -> dict[str, Any]:
        """Ask one question after the other and return the answers; nothing where the person has gone."""
        try:
            return {question.id: _answer(self._console, question) for question in questions}
        except (typer.Abort, OSError, EOFError):
            self.gone = True
            self._console.print()  # the cursor stands behind the question
            return {}

    async def ask_beside(self, questions: Sequence[Question]) -> dict[str, Any]:
        """Ask while everything else goes on.

        In a thread of its own that ends with the process: one that waits for a line cannot be stopped.
        """
        if self.gone:
            return {}
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[dict[str, Any]] = loop.create_future()

        def answer() -> None:
            answers = self.ask(questions)
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(lambda: None if answered.done() else answered.set_result(answers))

        threading.Thread(target=answer, name="questions", daemon=True).start()
        try:
            return await answered
        except asyncio.CancelledError:
            self._console.print()
            raise


def _answer(console: Console, question: Question) -> Any:
    """Ask a question until the answer is one."""
    console.print(f"\n[yellow]?[/] {escape(shown(question))}", highlight=False, soft_wrap=True)
    if question.kind == "approve":
        return _approval(console, question)
    while True:
        said = typer.prompt("  answer")
        try:
            return _typed(said, question.schema)
        except UsageError as error:
            console.print(f"  {escape(str(error))}", highlight=False)


def _approval(console: Console, question: Question) -> Any:
    """Ask whether something may be done; where it can be done otherwise, also how."""
    can_edit = "arguments" in question.schema.get("properties", {})
    while True:
        said = (
            typer.prompt(f"  allow it [y/N{'/edit' if can_edit else ''}]", default="", show_default=False)
            .strip()
            .lower()
        )
        if can_edit and said in ("e", "edit"):
            return {"approved": True, "arguments": _edited(console, question)}
        if _WORDS.get(said, False):
            return True
        if said in _WORDS or not said:
            return {
                "approved": False,
                "reason": typer.prompt("  reason, for the model", default="", show_default=False),
            }
        console.print(f"  say y or n{', or edit to change the arguments' if can_edit else ''}", highlight=False)


def _edited(console: Console, question: Question) -> dict[str, Any]:
    """Ask for the arguments with which something may be done."""
    while True:
        said = typer.prompt("  arguments as JSON; Enter leaves them", default="", show_default=False)
        if not said.strip():
            return dict(question.arguments)
        try:
            found = _typed(said, {"type": "object"})
        except UsageError as error:
            console.print(f"  {escape(str(error))}", highlight=False)
            continue
        return {**question.arguments, **found}


_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
}


def _typed(text: str, schema: Mapping[str, Any]) -> Any:
    """Return what was typed as the kind of value that a JSON schema asks for; text unless it names another one.

    Raises:
        UsageError: it is none.
    """
    kind = schema.get("type")
    if not isinstance(kind, str) or kind not in _TYPES:
        return text
    value: Any
    try:
        value = _WORDS[text.lower()] if kind == "boolean" and text.lower() in _WORDS else json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, _TYPES[kind]) or (kind in ("integer", "number") and isinstance(value, bool)):
        raise UsageError(f"{text!r} is no {kind}; write it as JSON")
    return value


def shown(question: Question) -> str:
    """Return a question as it is shown: nothing in it may look like another one, or hide what it says."""
    if question.kind == "ask":
        return "The agent asks: " + visible(question.text).replace("\n", "\n    ")
    told = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in question.arguments.items()]
    return "\n    ".join(visible(line, lines=False) for line in (f"May this be done: {question.tool}", *told))
