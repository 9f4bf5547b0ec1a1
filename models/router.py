"""In front of the embedded engine: no prompt is read twice.

llama.cpp keeps what a slot has read and goes on from there, but slots do not share: four siblings with one prompt read it
four times, and a child that lands in another slot than its parent reads everything again. Reading is what a CPU is slow
at (tens of tokens a second), so a search spends most of its time on it. The router therefore

- sends a prompt to the slot that holds most of it,
- has a new prompt read once, keeps the slot's state in memory, and puts it into the slots of all who share it,
- keeps the state of a slot before something else overwrites it, and
- lets those who share a prompt that is just being read wait for it: they would not get it sooner themselves.

Saving or restoring a state takes some 20 ms where reading takes 10 s. Everything but chat completions passes through.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from http import HTTPStatus

import httpx2

from ..core.types import JSON
from .http_server import Exchange, HttpServer, Request
from .prefixes import WORTHWHILE_CHARS, Kept, Prefixes, Slot, longest_shared

SLOT_FILES = "/proc/self/fd/"
"""llama.cpp's folder of saved states: it opens our anonymous memory files by number, and they vanish with the process."""

_FOREIGN_HEADERS = frozenset({"host", "content-length", "connection", "accept-encoding"})

_CACHED = re.compile(rb'("cached_tokens":|"cache_n":)(\d+)')
"""Where llama.cpp reports cached tokens, in its own spelling of JSON."""


class Router:
    """The engine's public face.

    Args:
        engine_url: llama.cpp's own address.
        api_key: what callers must show; llama.cpp expects the same.
        slots: how many requests llama.cpp serves at once.
        limit_bytes: memory for kept states.
        port: 0 takes a free one.
    """

    def __init__(self, engine_url: str, api_key: str, *, slots: int, limit_bytes: int, port: int = 0) -> None:
        self.prefixes = Prefixes(slots, limit_bytes)
        self.counts: Counter[str] = Counter()
        """How often prompts were read, states saved and restored, and callers waited for each other's prompt."""
        self._api_key = api_key
        self._free = asyncio.Semaphore(slots)
        self._being_read: dict[str, asyncio.Event] = {}
        self._engine = httpx2.AsyncClient(
            base_url=engine_url,
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=None,  # how long a reply may take is the caller's business
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
            trust_env=False,
        )
        self._http = HttpServer(self._handle, port=port)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._http.port

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: the port is taken.
        """
        await self._http.start()

    async def close(self) -> None:
        """Hang up on everybody."""
        await self._http.close()
        await self._engine.aclose()
        for kept in self.prefixes.kept:
            os.close(kept.descriptor)
        self.prefixes.kept.clear()

    async def _handle(self, request: Request, exchange: Exchange) -> None:
        shown = request.headers.get("authorization", "").removeprefix("Bearer ")
        if request.path != "/health" and not secrets.compare_digest(shown.encode(), self._api_key.encode()):
            exchange.send_json(401, {"error": {"message": "wrong API key", "code": 401}})
            return
        try:
            if request.path == "/router":
                exchange.send_json(200, {**self.counts, "kept": len(self.prefixes.kept)})
            elif request.path == "/v1/chat/completions" and (known := await self._routable(request)) is not None:
                await self._complete(request, *known, exchange)
            else:
                await self._forward(request, request.body, exchange)
        except httpx2.HTTPError as error:
            if exchange.started:
                exchange.break_off()
            else:
                exchange.send_json(502, {"error": {"message": f"the engine failed: {error!r}", "code": 502}})

    async def _routable(self, request: Request) -> tuple[dict[str, JSON], str] | None:
        """Return the body of a chat request that the engine would take, and its prompt's text."""
        try:
            body: dict[str, JSON] = request.json()
            asked = _prompt_fields(body)
        except (ValueError, TypeError):
            return None
        answer = await self._engine.post("/apply-template", json=asked)
        return (body, answer.json()["prompt"]) if answer.status_code == HTTPStatus.OK else None

    # --- one completion -----------------------------------------------------------------------------------------------

    async def _complete(self, request: Request, body: dict[str, JSON], text: str, exchange: Exchange) -> None:
        await self._take_slot(text)
        plan = self.prefixes.plan(text)
        slot, held = plan.slot, plan.slot.text
        slot.text = ""  # unknown until we are done
        try:
            with self._reading(text, unread=len(text) - plan.covered):
                if plan.save_first:
                    await self._save(slot, held)
                if plan.restore is not None:
                    await self._restore(slot, plan.restore)
                fresh = len(text) - plan.covered > WORTHWHILE_CHARS
                read_tokens = await self._read(slot, body, text) if fresh else 0
            slot.text = text
            pinned = json.dumps({**body, "id_slot": slot.number, "cache_prompt": True}).encode()
            slot.text += await self._forward(request, pinned, exchange, read_tokens)
        finally:
            slot.busy = False
            self._free.release()

    async def _take_slot(self, text: str) -> None:
        """Wait until a slot is free and nobody is reading what we could share."""
        await self._free.acquire()
        while (reading := self._shared_reading(text)) is not None:
            self._free.release()
            self.counts["waits"] += 1
            await reading.wait()
            await self._free.acquire()

    def _shared_reading(self, text: str) -> asyncio.Event | None:
        """Somebody's reading of a prompt that would spare us a worthwhile part of ours."""
        length, other = longest_shared(text, self._being_read)
        if other is None:
            return None
        held = max(
            longest_shared(text, (slot.text for slot in self.prefixes.slots if not slot.busy))[0],
            len(text) - self.prefixes.missing(text),
        )
        return self._being_read[other] if length > held + WORTHWHILE_CHARS else None

    @contextmanager
    def _reading(self, text: str, *, unread: int) -> Generator[None]:
        """Tell others that `text` is being read, if it is long enough to wait for."""
        if unread <= WORTHWHILE_CHARS or text in self._being_read:
            yield
            return
        done = self._being_read[text] = asyncio.Event()
        try:
            yield
        finally:
            del self._being_read[text]
            done.set()

    async def _read(self, slot: Slot, body: dict[str, JSON], text: str) -> int:
        """Have the prompt read into the slot and keep the slot's state; return the tokens that had to be read.

        A refusal is left to the real request.
        """
        self.counts["reads"] += 1
        reading = {**_prompt_fields(body), "max_tokens": 1, "id_slot": slot.number, "cache_prompt": True}
        answer = await self._engine.post("/v1/chat/completions", json=reading)
        if answer.status_code != HTTPStatus.OK:
            return 0
        await self._save(slot, text)
        usage = answer.json()["usage"]
        return int(usage["prompt_tokens"]) - int(usage["prompt_tokens_details"]["cached_tokens"])

    async def _save(self, slot: Slot, text: str) -> None:
        descriptor = os.memfd_create("branchwise-prefix")
        self.counts["saves"] += 1
        answer = await self._engine.post(
            f"/slots/{slot.number}", params={"action": "save"}, json={"filename": str(descriptor)}
        )
        if answer.status_code != HTTPStatus.OK:
            os.close(descriptor)
            return
        for dropped in self.prefixes.keep(Kept(text, descriptor, os.fstat(descriptor).st_size)):
            os.close(dropped.descriptor)

    async def _restore(self, slot: Slot, kept: Kept) -> None:
        self.counts["restores"] += 1
        kept.pins += 1
        try:
            await self._engine.post(
                f"/slots/{slot.number}", params={"action": "restore"}, json={"filename": str(kept.descriptor)}
            )
        finally:
            kept.pins -= 1

    # --- passing through ----------------------------------------------------------------------------------------------

    async def _forward(self, request: Request, body: bytes, exchange: Exchange, read_tokens: int = 0) -> str:
        """Send a request to the engine and its answer back as it comes; return the text of a chat reply.

        Args:
            request: what came.
            body: what to send instead of its body.
            exchange: where the answer goes.
            read_tokens: prompt tokens that were read for this request beforehand; the engine reports them as cached, the
                caller is told the truth.
        """
        headers = {name: value for name, value in request.headers.items() if name not in _FOREIGN_HEADERS}
        said: list[str] = []
        rest = b""
        async with self._engine.stream(request.method, request.path, content=body, headers=headers) as answer:
            kind = answer.headers.get("content-type", "application/json")
            if not kind.startswith("text/event-stream"):
                whole = _with_true_counts(await answer.aread(), read_tokens)
                exchange.send(answer.status_code, whole, {"Content-Type": kind})
                return ""
            exchange.start_stream(kind, answer.status_code)
            async for piece in answer.aiter_bytes():
                *lines, rest = (rest + piece).split(b"\n")
                exchange.write(b"".join(_with_true_counts(line, read_tokens) + b"\n" for line in lines))
                said += map(_said, lines)
            exchange.write(rest)
            exchange.end()
        return "".join(said)


def _with_true_counts(answer: bytes, read_tokens: int) -> bytes:
    """Take the tokens that were read for this request out of its cached ones."""
    if not read_tokens or b'"cache' not in answer:
        return answer
    return _CACHED.sub(lambda found: b"%b%d" % (found[1], max(0, int(found[2]) - read_tokens)), answer)


def _prompt_fields(body: dict[str, JSON]) -> dict[str, JSON]:
    """The fields that make the prompt."""
    return {name: body[name] for name in ("messages", "tools", "chat_template_kwargs") if name in body}


def _said(line: bytes) -> str:
    """The text that a line of a chat stream brings."""
    if not line.startswith(b"data: {"):
        return ""
    choices: list[dict[str, JSON]] = json.loads(line[6:]).get("choices") or []
    delta: dict[str, JSON] = (choices[0].get("delta") or {}) if choices else {}
    return delta.get("content") or ""
