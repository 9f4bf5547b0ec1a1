"""How many tokens a prompt has: the server's own count where it can give one, an upper bound where it cannot."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from math import ceil
from typing import cast

import httpx2

from ..core.keys import request_key
from ..core.types import JSON, ModelRequest, Picture
from .wire import continuation_json, prompt_json, tools_json

_MESSAGE_OVERHEAD = 12
"""Tokens that a chat template puts around one message: special tokens, role, line breaks. The templates of Llama, Qwen,
Gemma, Mistral and ChatML use 3 to 7."""

_PROMPT_OVERHEAD = 96
"""Tokens that a template adds by itself: a default system prompt (ChatML of SmolLM2: 18, Qwen2.5: 22, Llama 3: 25), the
opening of the reply, the frame around a list of tools."""

_CACHED = 256

_TOOLS_OVERHEAD = 512
"""Tokens of the words with which a template introduces tools (Qwen2.5, Hermes: about 150)."""

_PATCH_PIXELS = 14
"""Edge of the smallest patch that vision models in use cut a picture into."""

Count = Callable[[ModelRequest], Awaitable[int | None]]


def picture_tokens(picture: Picture) -> int:
    """Return about the most tokens that a picture costs: one for each patch of 14 x 14 pixels, and one for each row of them.

    Servers charge less as a rule. For 1280 x 720 pixels, for which this says 4,876: Qwen2-VL merges four such patches (1,196; Wang et al.
    2024), Pixtral has patches of 16 pixels and a token at the end of each row (3,645; Agrawal et al. 2024), GPT-4o takes 85 and 170 for each
    tile of 512 pixels (1,105). Some charge more (GPT-4o mini: 36,835), which `TokenCounter.reported` learns from the first reply.
    """
    rows = -(-picture.height // _PATCH_PIXELS)
    return rows * (-(-picture.width // _PATCH_PIXELS) + 1)


def pictures_of(request: ModelRequest) -> list[Picture]:
    """Return the pictures that a request shows."""
    return [shown for message in request.messages for shown in message.pictures if isinstance(shown, Picture)]


def without_pictures(request: ModelRequest) -> ModelRequest:
    """Return a request's text alone."""
    return replace(request, messages=tuple(replace(m, pictures=()) if m.pictures else m for m in request.messages))


class _NotOffered(Exception):
    """The server has no such service."""


def upper_bound(request: ModelRequest) -> int:
    """Return a number of tokens that the prompt cannot exceed.

    A byte-level or byte-fallback tokenizer never makes more tokens than the text has bytes in UTF-8; names and JSON are
    text as well. A schema is counted although most servers keep it out of the prompt. What pictures cost is no more than an estimate,
    see `picture_tokens`.
    """
    rows = prompt_json(without_pictures(request))
    size = sum(len(json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass")) for row in rows)
    if request.tools:
        size += 2 * len(json.dumps(tools_json(request.tools), indent=1).encode()) + _TOOLS_OVERHEAD
    if request.response_schema is not None:
        size += len(json.dumps(dict(request.response_schema)).encode())
    return size + _MESSAGE_OVERHEAD * len(rows) + _PROMPT_OVERHEAD + sum(map(picture_tokens, pictures_of(request)))


class TokenCounter:
    """Counts prompts at one server. Finds out once how that server counts.

    Args:
        http: client to ask with.
        root: the server's address without `/v1`, where llama.cpp and vLLM count.
        model: the server's name of the model.
        timeout_seconds: for one question.
        ask: whether to ask the server at all.
    """

    def __init__(self, http: httpx2.AsyncClient, root: str, model: str, *, timeout_seconds: float, ask: bool) -> None:
        self._http = http
        self._root = root
        self._timeout_seconds = timeout_seconds
        self._model = model
        self._methods: list[Count] = [self._llama_cpp, self._vllm] if ask else []
        self._known: OrderedDict[str, int] = OrderedDict()
        self._charged: float | None = None
        """What pictures were charged with, as a multiple of `picture_tokens`: the most so far. None before the first reply."""

    async def count(self, request: ModelRequest) -> int:
        """Return the prompt's tokens: exact if the server counts, else an upper bound; pictures as the server has charged them."""
        return await self._count_text(without_pictures(request)) + self._of_pictures(request)

    def reported(self, request: ModelRequest, prompt_tokens: int) -> None:
        """Learn from the server's own count of a prompt what it charges for pictures."""
        estimate = sum(map(picture_tokens, pictures_of(request)))
        if not estimate:
            return
        text = without_pictures(request)
        exact = self._known.get(self._key(text))
        if exact is not None:
            self._charged = max(self._charged or 0.0, (prompt_tokens - exact) / estimate)
        else:
            # As much at least: the text is no longer than its bound.
            self._charged = max(self._charged or 1.0, (prompt_tokens - upper_bound(text)) / estimate)

    def _of_pictures(self, request: ModelRequest) -> int:
        charged = 1.0 if self._charged is None else self._charged
        return sum(ceil(charged * picture_tokens(picture)) for picture in pictures_of(request))

    async def _count_text(self, request: ModelRequest) -> int:
        key = self._key(request)
        if (known := self._known.get(key)) is not None:
            return known
        while self._methods:
            method = self._methods[0]
            try:
                exact = await method(request)
            except _NotOffered:
                if method in self._methods:  # unless a call that was made at the same time found out first
                    self._methods.remove(method)
                continue
            except httpx2.HTTPError:
                break  # a passing trouble: if it stays, the call itself reports it
            if exact is None:
                break
            self._remember(key, exact)
            return exact
        return upper_bound(request)

    def known(self, request: ModelRequest) -> int | None:
        """Return an earlier exact count of the same prompt, pictures as the server has charged them."""
        text = self._known.get(self._key(without_pictures(request)))
        return None if text is None else text + self._of_pictures(request)

    def _key(self, request: ModelRequest) -> str:
        return request_key("", ModelRequest(request.messages, tools=request.tools, prefix=request.prefix))

    def _remember(self, key: str, tokens: int) -> None:
        self._known[key] = tokens
        if len(self._known) > _CACHED:
            self._known.popitem(last=False)

    async def _llama_cpp(self, request: ModelRequest) -> int | None:
        """llama.cpp: apply the chat template, then tokenize the text."""
        body: dict[str, JSON] = {"messages": prompt_json(request)}
        if request.tools:
            body["tools"] = tools_json(request.tools)
        templated = await self._post("apply-template", body, "prompt")
        if templated is None:
            return None
        text: dict[str, JSON] = {"content": templated, "add_special": True, "parse_special": True}
        tokens = await self._post("tokenize", text, "tokens")
        return None if tokens is None else len(tokens)

    async def _vllm(self, request: ModelRequest) -> int | None:
        """vLLM: /tokenize takes chat messages."""
        body: dict[str, JSON] = {
            "model": self._model,
            "messages": prompt_json(request),
            **continuation_json(request, "vllm"),
        }
        if request.tools:
            body["tools"] = tools_json(request.tools)
        count = await self._post("tokenize", body, "count")
        return None if count is None else int(count)

    async def _post(self, path: str, body: dict[str, JSON], field: str) -> JSON:
        """Return one field of the server's answer, None where it refused this request.

        Raises:
            _NotOffered: there is no such service, or it speaks another form.
            httpx2.HTTPError: no answer this time.
        """
        response = await self._http.post(f"{self._root}/{path}", json=body, timeout=self._timeout_seconds)
        if response.status_code in {404, 405, 501}:
            raise _NotOffered
        if response.status_code in {408, 429} or response.status_code >= 500:
            raise httpx2.HTTPStatusError("busy", request=response.request, response=response)
        if response.status_code != 200:
            return None
        try:
            answer = response.json()
        except ValueError as error:
            raise _NotOffered from error
        if not isinstance(answer, dict) or field not in answer:
            raise _NotOffered
        return cast("dict[str, JSON]", answer)[field]
