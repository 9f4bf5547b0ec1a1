"""What was said and done, in the form of OpenTelemetry's conventions. Made only where the user asked for content."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.util.genai.types import (
    FunctionToolDefinition,
    InputMessage,
    MessagePart,
    OutputMessage,
    SystemInstructionPart,
    TextPart,
    ToolCallRequestPart,
    ToolCallResponsePart,
    ToolDefinition,
)

from ..core.types import Message, ModelRequest, ModelResponse, ToolCall


def asked(request: ModelRequest) -> list[InputMessage]:
    """Return a request's messages, system prompt left out; a reply that is to be continued comes last."""
    messages = [InputMessage(m.role, _parts(m)) for m in request.messages if m.role != "system"]
    if request.prefix:
        messages.append(said("assistant", request.prefix))
    return messages


def instructions(request: ModelRequest) -> list[SystemInstructionPart]:
    """Return a request's system prompt."""
    return [TextPart(m.content) for m in request.messages if m.role == "system"]


def offered(request: ModelRequest) -> list[ToolDefinition]:
    """Return the tools that a request offers."""
    return [FunctionToolDefinition(spec.name, spec.description, dict(spec.parameters)) for spec in request.tools]


def replied(reply: ModelResponse) -> list[OutputMessage]:
    """Return a reply."""
    return [OutputMessage("assistant", [*_text(reply.text), *_calls(reply.tool_calls)])]


def said(role: str, text: str) -> InputMessage:
    """Return a text as a message."""
    return InputMessage(role, [TextPart(text)])


def answered(text: str) -> list[OutputMessage]:
    """Return an answer as a message."""
    return [OutputMessage("assistant", [TextPart(text)])]


def _parts(message: Message) -> list[MessagePart]:
    if message.role == "tool":
        return [ToolCallResponsePart(message.content, message.tool_call_id)]
    shown = [TextPart(f"[{len(message.pictures)} pictures]")] if message.pictures else []
    return [*_text(message.content), *shown, *_calls(message.tool_calls)]


def _text(text: str) -> list[MessagePart]:
    return [TextPart(text)] if text else []


def _calls(calls: Sequence[ToolCall]) -> list[MessagePart]:
    return [ToolCallRequestPart(dict(call.arguments), call.name, call.id) for call in calls]
