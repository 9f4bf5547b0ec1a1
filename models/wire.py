"""The chat-completions form: a `ModelRequest` out, a stream of chunks back in.

Plain data in both directions; `models.client` does the talking.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from ..core.errors import ModelOutputInvalid, ModelUnavailable, UsageError
from ..core.marks import harmless
from ..core.protocols import Meter, blind
from ..core.types import JSON, Message, ModelRequest, ModelResponse, Picture, Screen, TokenLogprob, ToolCall, ToolSpec

Dialect = Literal["openai", "vllm", "llama.cpp"]
"""Which server's extras may be used: per-token counts while streaming, samplers beyond the API's own."""

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


def messages_json(messages: tuple[Message, ...]) -> list[dict[str, JSON]]:
    """Return the messages as the API wants them; equal prefixes give equal JSON, which prefix caches rely on.

    Many servers take a chat template's marks for real wherever they stand, so in what is not the system prompt none is left
    whole: a tool's result cannot end its turn and begin another.
    """
    return [_message_json(message) for message in messages]


def _message_json(message: Message) -> dict[str, JSON]:
    content = message.content if message.role == "system" else harmless(message.content)
    row: dict[str, JSON] = {"role": message.role, "content": content}
    if message.pictures:
        # The text first: it is what prompts share, and prefix caches end where they differ.
        row["content"] = [{"type": "text", "text": content}, *map(_picture_json, message.pictures)]
    if message.tool_calls:
        row["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": harmless(call.name), "arguments": _arguments_json(call)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        row["tool_call_id"] = message.tool_call_id
    return row


def _picture_json(picture: Picture | Screen) -> dict[str, JSON]:
    if isinstance(picture, Screen):
        raise UsageError(
            f"a picture of state {picture.state!r} was to be shown, which only a run with an environment that can be seen puts in; "
            "give a Picture with the bytes"
        )
    url = f"data:{picture.media_type};base64,{base64.b64encode(picture.data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def check_sight(name: str, request: ModelRequest, *, sees: bool) -> None:
    """Refuse pictures for a model that takes none.

    Args:
        name: `provider:model`, for the message.
        request: what is to be asked.
        sees: whether the model takes pictures.

    Raises:
        UsageError: the request has a picture, and the model takes none.
    """
    if not sees and any(message.pictures for message in request.messages):
        raise blind(name)


def _arguments_json(call: ToolCall) -> str:
    plain = harmless(json.dumps(dict(call.arguments), ensure_ascii=False))
    return json.dumps(json.loads(plain))  # templates show the arguments' text, in which an escaped mark is whole again


def prompt_json(request: ModelRequest) -> list[dict[str, JSON]]:
    """Return a request's messages as the API wants them; the beginning of the reply, where there is one, comes last."""
    begun = (Message("assistant", request.prefix),) if request.prefix else ()
    return messages_json((*request.messages, *begun))


def continuation_json(request: ModelRequest, dialect: Dialect) -> dict[str, JSON]:
    """Return the fields by which a server goes on with the last message instead of replying to it.

    llama.cpp does so by itself. vLLM needs to be told; where a model's chat template trims messages it loses white space at
    the end of the beginning.

    Raises:
        UsageError: the API has no such thing; a server of OpenAI's would take the beginning for a finished reply.
    """
    if not request.prefix or dialect == "llama.cpp":
        return {}
    if dialect == "openai":
        raise UsageError(
            f"the reply beginning with {request.prefix[:40]!r} was to be continued, which OpenAI's API cannot; use a model on "
            "vLLM (vllm:NAME) or the embedded engine (embedded:NAME), or a search that takes whole turns"
        )
    return {"continue_final_message": True, "add_generation_prompt": False}


def tools_json(tools: tuple[ToolSpec, ...]) -> list[dict[str, JSON]]:
    """Return the tools as the API wants them."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
        }
        for tool in tools
    ]


def request_json(
    model: str, request: ModelRequest, dialect: Dialect, *, limit_field: str = "max_tokens"
) -> dict[str, JSON]:
    """Return the body of `POST /chat/completions`.

    Args:
        model: the server's name of the model.
        request: what to ask.
        dialect: decides which extras are sent; a server of OpenAI's refuses fields that it does not know.
        limit_field: name of the field that limits the reply's tokens.

    Raises:
        UsageError: the request is to be continued, and the server cannot.
    """
    sampling = request.sampling
    body: dict[str, JSON] = {
        "model": model,
        "messages": prompt_json(request),
        limit_field: sampling.max_tokens,
        "temperature": sampling.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
        **continuation_json(request, dialect),
    }
    optional = {"top_p": sampling.top_p, "top_k": sampling.top_k, "min_p": sampling.min_p, "seed": sampling.seed}
    body.update({name: value for name, value in optional.items() if value is not None})
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.logprobs is not None:
        body["logprobs"] = True
        # llama.cpp takes no alternatives for no log-probabilities at all.
        body["top_logprobs"] = max(sampling.logprobs, int(dialect == "llama.cpp"))
    if request.tools:
        body["tools"] = tools_json(request.tools)
    if request.response_schema is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "reply", "strict": True, "schema": dict(request.response_schema)},
        }
    if dialect == "vllm":
        body["stream_options"]["continuous_usage_stats"] = True
    elif dialect == "llama.cpp":
        body.update(timings_per_token=True, cache_prompt=True)
    return body


@dataclass(slots=True)
class _CallParts:
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class Reply:
    """A reply under way: put together from chunks, metered as they come."""

    meter: Meter
    text: list[str] = field(default_factory=list[str])
    calls: dict[int, _CallParts] = field(default_factory=dict[int, _CallParts])
    logprobs: list[TokenLogprob] = field(default_factory=list[TokenLogprob])
    finish: FinishReason | None = None
    model: str = ""

    def take(self, chunk: object) -> bool:
        """Take in a chunk; return whether it brought a part of the reply.

        Servers report counts in three ways, each more exact than the one before: none (one chunk is one token), llama.cpp's
        `timings` and `usage`. The last chunk's `usage` settles it for all of them.

        Raises:
            ModelUnavailable: the chunk is not of the API's form.
        """
        try:
            return self._take(cast("Mapping[str, JSON]", chunk))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ModelUnavailable(f"the server sent a chunk that is not of the API's form: {chunk!r:.300}") from error

    def _take(self, chunk: Mapping[str, JSON]) -> bool:
        self.model = chunk.get("model") or self.model
        brought = False
        for choice in chunk.get("choices") or ():
            brought = self._take_choice(choice) or brought
        usage, timings = chunk.get("usage"), chunk.get("timings")
        if usage:
            self._take_usage(usage)
        elif timings and timings.get("predicted_n") is not None:
            self.meter.completion_tokens = max(self.meter.completion_tokens, int(timings["predicted_n"]))
            self.meter.cached_tokens = int(timings.get("cache_n") or 0)
        elif brought:
            self.meter.completion_tokens += 1
        return brought

    def _take_choice(self, choice: Mapping[str, JSON]) -> bool:
        delta: Mapping[str, JSON] = choice.get("delta") or {}
        brought = False
        if content := delta.get("content"):
            self.text.append(content)
            brought = True
        for part in delta.get("tool_calls") or ():
            self._take_call(part)
            brought = True
        if delta.get("reasoning_content") or delta.get("reasoning"):
            brought = True
        logprobs: Mapping[str, JSON] = choice.get("logprobs") or {}
        self.logprobs.extend(_token_logprob(token) for token in logprobs.get("content") or ())
        if reason := choice.get("finish_reason"):
            self.finish = _FINISH.get(reason, "stop")
        return brought

    def _take_call(self, part: Mapping[str, JSON]) -> None:
        call = self.calls.setdefault(part.get("index") or 0, _CallParts())
        function: Mapping[str, JSON] = part.get("function") or {}
        call.id = part.get("id") or call.id
        call.name += function.get("name") or ""
        call.arguments += function.get("arguments") or ""

    def _take_usage(self, usage: Mapping[str, JSON]) -> None:
        self.meter.prompt_tokens = int(usage.get("prompt_tokens") or self.meter.prompt_tokens)
        self.meter.completion_tokens = int(usage.get("completion_tokens") or 0)
        details: Mapping[str, JSON] = usage.get("prompt_tokens_details") or {}
        self.meter.cached_tokens = int(details.get("cached_tokens") or self.meter.cached_tokens)

    def finished(self, request: ModelRequest) -> ModelResponse:
        """Return the whole reply. `finish` must be set.

        Raises:
            ModelOutputInvalid: a tool call's arguments are not a JSON object, or the text is not JSON although a schema was
                asked for. A reply that was cut at `max_tokens` is returned as it is, without its last, torn tool call.
        """
        cut = self.finish == "length"
        calls = tuple(call for call in (self._call(n, cut=cut) for n in sorted(self.calls)) if call is not None)
        text = "".join(self.text)
        if request.response_schema is not None and not cut and not calls:
            _require_json(text)
        return ModelResponse(
            text=text,
            usage=self.meter.usage(),
            finish_reason=self.finish or "stop",
            tool_calls=calls,
            logprobs=tuple(self.logprobs),
            model=self.model,
        )

    def _call(self, number: int, *, cut: bool) -> ToolCall | None:
        parts = self.calls[number]
        try:
            arguments = json.loads(parts.arguments or "{}")
        except ValueError as error:
            if cut:
                return None
            raise ModelOutputInvalid(
                f"the model called the tool {parts.name!r} with arguments that are not JSON ({error}): {parts.arguments[:200]!r}"
            ) from error
        if not isinstance(arguments, dict):
            raise ModelOutputInvalid(
                f"the model called the tool {parts.name!r} with {parts.arguments[:200]!r}; arguments must be a JSON object"
            )
        return ToolCall(parts.id or f"call_{number}", parts.name, cast("dict[str, Any]", arguments))


def _token_logprob(token: Mapping[str, JSON]) -> TokenLogprob:
    top = tuple((row["token"], float(row["logprob"])) for row in token.get("top_logprobs") or ())
    return TokenLogprob(token["token"], float(token["logprob"]), top)


def _require_json(text: str) -> None:
    try:
        json.loads(text)
    except ValueError as error:
        raise ModelOutputInvalid(
            f"the reply is not JSON although a JSON schema was asked for ({error}): {text[:200]!r}; "
            "the server may not support response_format json_schema"
        ) from error
