"""A model's real replies, recorded once and replayed: tests and examples without the model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from ..core.errors import UsageError
from ..core.keys import request_key
from ..core.protocols import Meter, Model, can_see
from ..core.types import ModelRequest, ModelResponse, Usage
from .counting import upper_bound

_REPLY = TypeAdapter(ModelResponse)


class RecordedModel:
    """Replays replies from a JSON-lines file by request; with a model behind it, asks that one and records what is new.

    A request is known again by its key: model name, messages, tools, schema, sampling and seed (`core.keys`).

    Args:
        path: one line per reply, `{"key": ..., "reply": ...}`; need not exist where `inner` is given.
        inner: asked for what is not recorded; None: that is an error.
        name: the recorded model's name; default `inner`'s, else that of the file.
        slots: how many requests it serves at once; default `inner`'s.
        native_tools: default `inner`'s.

    Raises:
        UsageError: there is neither a file nor a model, or the file is none of ours.
    """

    def __init__(
        self,
        path: Path | str,
        inner: Model | None = None,
        *,
        name: str | None = None,
        slots: int | None = None,
        native_tools: bool | None = None,
    ) -> None:
        self.path = Path(path)
        self.inner = inner
        if inner is None and not self.path.exists():
            raise UsageError(f"no recording {self.path}; record one first: RecordedModel(path, inner=model)")
        lines = self.path.read_bytes().splitlines() if self.path.exists() else []
        self._replies = dict(_parse(lines, self.path))
        self.name = name or (inner.name if inner else f"recorded:{self.path.stem}")
        self.slots = slots or (inner.slots if inner else 16)
        self.native_tools = native_tools if native_tools is not None else (inner.native_tools if inner else True)

    @property
    def sees(self) -> bool:
        """Whether pictures may be among what was recorded: the model behind decides."""
        return self.inner is None or can_see(self.inner)

    def __len__(self) -> int:
        return len(self._replies)

    async def generate(self, request: ModelRequest, meter: Meter) -> ModelResponse:
        """Return the recorded reply, charged as it was then, or ask and record.

        Raises:
            UsageError: it is not recorded and there is no model to ask.
            ModelError: of the model that was asked; it is not recorded.
        """
        key = request_key(self.name, request)
        reply = self._replies.get(key)
        if reply is None:
            if self.inner is None:
                last = request.messages[-1].content[-120:] if request.messages else ""
                raise UsageError(
                    f"{self.path} has no reply to this request (key {key[:12]}, last message ends {last!r}); "
                    "record it again, with the same model name and sampling"
                )
            reply = await self.inner.generate(request, meter)
            self._record(key, reply)
        meter.prompt_tokens, meter.cached_tokens = reply.usage.prompt_tokens, reply.usage.cached_tokens
        meter.completion_tokens, meter.finished = reply.usage.completion_tokens, True
        return reply

    def _record(self, key: str, reply: ModelResponse) -> None:
        self._replies[key] = reply
        self.path.parent.mkdir(parents=True, exist_ok=True)
        row = {"key": key, "reply": _REPLY.dump_python(reply, mode="json", exclude_defaults=True)}
        with self.path.open("ab") as file:
            file.write(to_json(row) + b"\n")

    async def prompt_tokens(self, request: ModelRequest) -> int:
        """Return the count of the model behind, else an upper bound."""
        if self.inner is not None:
            return await self.inner.prompt_tokens(request)
        return upper_bound(request)

    def price(self, usage: Usage) -> float | None:
        """Return the price of the model behind; a replayed reply costs nothing."""
        return self.inner.price(usage) if self.inner is not None else 0.0

    async def aclose(self) -> None:
        """Close the model behind."""
        if self.inner is not None:
            await self.inner.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _parse(lines: Iterable[bytes], path: Path) -> Iterable[tuple[str, ModelResponse]]:
    for number, line in enumerate(lines, 1):
        try:
            row = from_json(line)
            yield str(row["key"]), _REPLY.validate_python(row["reply"])
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            raise UsageError(f"{path}, line {number} is not a recorded reply: {error}") from error
