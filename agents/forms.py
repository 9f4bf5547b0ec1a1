"""How a model says what it does next: native tool calls, or one JSON object that a grammar enforces."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ..core.schemas import form_of_object
from ..core.types import (
    JSON,
    Message,
    ModelRequest,
    ModelResponse,
    Observation,
    Picture,
    Sampling,
    Screen,
    Step,
    ToolCall,
    ToolSpec,
)
from ..tools.workspace import EXISTING_FILE

THOUGHT_LIMIT_CHARS = 300
"""Longest `thought` that the JSON form admits; small models ramble without a limit."""

ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Turn:
    """What the model said: calls, or an answer, or only words."""

    text: str
    calls: tuple[ToolCall, ...] = ()
    answer: str | None = None
    problem: str | None = None
    """Why the turn cannot be used."""
    partial: bool = False
    """Whether it is not over."""


class Form(Protocol):
    """One way of asking for a turn and of reading it."""

    def request(self, messages: Sequence[Message], tools: Sequence[ToolSpec], sampling: Sampling) -> ModelRequest:
        """Return the request for the next turn."""
        ...

    def read(self, response: ModelResponse) -> Turn:
        """Return the turn that a reply means."""
        ...

    def write(self, step: Step, notes: str) -> list[Message]:
        """Return the messages that show a past step and `notes` about its outcome to the model."""
        ...


@dataclass(frozen=True, slots=True)
class NativeForm:
    """The server's own tool calling; a turn without calls is the answer."""

    def request(self, messages: Sequence[Message], tools: Sequence[ToolSpec], sampling: Sampling) -> ModelRequest:
        """Return the request with the tools offered."""
        return ModelRequest(tuple(messages), sampling, tuple(tools))

    def read(self, response: ModelResponse) -> Turn:
        """Return the calls, or the text as the answer."""
        if response.tool_calls:
            return Turn(response.text, response.tool_calls)
        if response.finish_reason == "length":
            return Turn(response.text, problem="the turn was cut off at the token limit; be shorter")
        return Turn(response.text, answer=response.text.strip())

    def write(self, step: Step, notes: str) -> list[Message]:
        """Return the assistant's message, one tool message per call, and the notes."""
        messages = [Message("assistant", step.text, step.calls)]
        messages += [Message("tool", o.text, tool_call_id=o.call_id) for o in step.observations if o.call_id]
        loose = [o.text for o in step.observations if not o.call_id]
        if told := "\n\n".join(filter(None, [*loose, notes])):
            messages.append(Message("user", told))
        return messages


@dataclass(frozen=True, slots=True)
class TextForm(NativeForm):
    """Plain text without tools: the one turn is the answer. It can be taken in segments."""


@dataclass(frozen=True, slots=True)
class JsonForm:
    """One JSON object per turn, one tool call in it, enforced by the server's grammar while it samples.

    The reply is `{"thought": ..., "tool": NAME, "args": {...}}`, or `{"thought": ..., "tool": "answer", "args": {"text":
    ...}}` to end. It cannot be malformed, unless the token limit cuts it off.

    Args:
        may_answer: whether the model may end by itself; where verifiers judge every state it need not.
    """

    may_answer: bool = True

    def request(self, messages: Sequence[Message], tools: Sequence[ToolSpec], sampling: Sampling) -> ModelRequest:
        """Return the request with the schema of a turn."""
        return ModelRequest(tuple(messages), sampling, response_schema=self.schema(tools))

    def schema(self, tools: Sequence[ToolSpec]) -> dict[str, JSON]:
        """JSON schema of a turn: one alternative per tool, in the order thought, tool, args."""
        options = [_option(spec.name, dict(spec.parameters)) for spec in tools]
        if self.may_answer or not options:
            options.append(_option(ANSWER, form_of_object(text={"type": "string"})))
        return options[0] if len(options) == 1 else {"anyOf": options}

    def read(self, response: ModelResponse) -> Turn:
        """Return the call or the answer of a reply."""
        try:
            data = json.loads(response.text)
            thought, name, args = str(data.get("thought", "")), str(data["tool"]), dict(data["args"])
        except (ValueError, KeyError, TypeError, AttributeError):
            cut = response.finish_reason == "length"
            problem = "the turn was cut off at the token limit; make a smaller change" if cut else "the turn is no JSON"
            return Turn(response.text, problem=problem)
        if name == ANSWER:
            return Turn(thought, answer=str(args.get("text", "")))
        return Turn(thought, (ToolCall("call", name, args),))

    def write(self, step: Step, notes: str) -> list[Message]:
        """Return the turn as the JSON that the model wrote, and what came of it."""
        if step.kind == "invalid":
            said = step.text[:500]
        else:
            call = step.calls[0] if step.calls else ToolCall("", ANSWER, {"text": ""})
            said = json.dumps(
                {"thought": step.text, "tool": call.name, "args": dict(call.arguments)}, ensure_ascii=False
            )
        seen = "\n\n".join(filter(None, [*(_shown(o) for o in step.observations), notes]))
        return [Message("assistant", said), Message("user", seen or "done")]


def say(messages: list[Message], text: str, pictures: tuple[Picture | Screen, ...] = ()) -> None:
    """Say something to the model, in the last message where that is the user's: many chat templates want turns to alternate.

    Args:
        messages: added to.
        text: what is said.
        pictures: shown with it.
    """
    last = messages[-1]
    if last.role == "user":
        messages[-1] = replace(last, content=f"{last.content}\n\n{text}", pictures=(*last.pictures, *pictures))
    else:
        messages.append(Message("user", text, pictures=pictures))


def _shown(observation: Observation) -> str:
    return observation.text if observation.ok else f"ERROR: {observation.text}"


def _option(name: str, arguments: dict[str, JSON]) -> dict[str, JSON]:
    thought = {"type": "string", "maxLength": THOUGHT_LIMIT_CHARS}
    return form_of_object(thought=thought, tool={"const": name}, args=arguments)


def names_file(spec: ToolSpec) -> bool:
    """Whether one of a tool's arguments names a file that must exist."""
    properties: dict[str, JSON] = spec.parameters.get("properties", {})
    return any(schema.get("format") == EXISTING_FILE for schema in properties.values())


def name_files(spec: ToolSpec, files: Sequence[str]) -> ToolSpec:
    """Return a tool's spec with its file arguments narrowed to `files`, or, where there are none, only rid of their mark.

    A small model that must choose from a list cannot name a file that is not there.
    """
    properties: dict[str, JSON] = dict(spec.parameters.get("properties", {}))
    for name, schema in properties.items():
        if schema.get("format") == EXISTING_FILE:
            plain = {key: value for key, value in schema.items() if key != "format"}
            properties[name] = {**plain, "enum": list(files)} if files else plain
    return replace(spec, parameters={**spec.parameters, "properties": properties})


def describe(tools: Sequence[ToolSpec]) -> str:
    """Return the tools as text, for forms whose server is not told of them natively."""
    lines: list[str] = []
    for spec in tools:
        properties: dict[str, JSON] = spec.parameters.get("properties", {})
        needed = spec.parameters.get("required", [])
        args = ", ".join(name if name in needed else f"{name}?" for name in properties)
        lines.append(f"- {spec.name}({args}): {spec.description}")
        lines += [f"    {name}: {p['description']}" for name, p in properties.items() if p.get("description")]
    return "\n".join(lines)
