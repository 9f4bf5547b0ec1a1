"""Pictures of pages: with marks for models that see, small for people, and without secrets for both."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Sequence
from typing import TypedDict

from playwright.async_api import BrowserContext, Error, Page

from ..core.errors import SandboxLost, SandboxStartFailed
from .chromium import Chromium, Launch, new_page
from .live import Live, PageStuck
from .masking import Box, Veil, shifted
from .targets import corner_of

_QUALITY = 70
_DRAWN_QUALITY = 0.75
_MARKS_MOST = 200
_DRAW_SECONDS = 5.0
_DRAW = """async ([picture, { marks, masks, width, kind, quality }]) => {
  const bitmap = await createImageBitmap(await (await fetch(picture)).blob());
  const scale = width ? Math.min(1, width / bitmap.width) : 1;
  const canvas = new OffscreenCanvas(Math.round(bitmap.width * scale), Math.round(bitmap.height * scale));
  const pen = canvas.getContext('2d');
  pen.imageSmoothingQuality = 'high';
  pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  pen.scale(scale, scale);
  pen.fillStyle = '#555';
  for (const { x, y, width, height } of masks) pen.fillRect(x - 2, y - 2, width + 4, height + 4);
  pen.font = 'bold 11px sans-serif';
  pen.textBaseline = 'top';
  for (const [n, { label, x, y, width, height }] of marks.entries()) {
    const colour = `hsl(${(n * 67) % 360} 85% 30%)`;
    pen.strokeStyle = pen.fillStyle = colour;
    pen.lineWidth = label ? 1.5 : 2 / scale;
    pen.strokeRect(x, y, width, height);
    if (!label) continue;
    const wide = pen.measureText(label).width + 4, top = y >= 13 ? y - 13 : y;
    pen.fillRect(x, top, wide, 13);
    pen.fillStyle = 'white';
    pen.fillText(label, x + 2, top + 1);
  }
  const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: kind, quality })).arrayBuffer());
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}"""
"""Draws on a copy of the picture: masks are part of what is returned, the picture itself goes nowhere else."""


class Mark(Box):
    """A box with a reference beside it; without one where `label` is empty."""

    label: str


class Drawing(TypedDict):
    """What becomes of a picture."""

    marks: Sequence[Mark]
    masks: Sequence[Box]
    width: int | None
    """Pixels; as wide as it is where None."""
    kind: str
    """`image/jpeg` or `image/webp`."""
    quality: float


class Darkroom:
    """A page of its own in which pictures are drawn on and made small: nothing is put into the pages that they show.

    Opened when it is first needed, and again where the browser has died.

    Args:
        chromium: where the page is opened.
        apart: how another browser is started to open it in instead: where windows are shown, the page would be in front of them.
    """

    def __init__(self, chromium: Chromium, apart: Launch | None = None) -> None:
        self._chromium = chromium
        self._apart = apart
        self._leased: Chromium | None = None
        self._context: BrowserContext | None = None
        self._page: Page | None = None
        self._lock = asyncio.Lock()

    async def develop(self, picture: bytes, drawing: Drawing) -> bytes:
        """Return a JPEG picture drawn on.

        Raises:
            PageStuck: it cannot be drawn, for example because the browser has died.
        """
        data = f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
        try:
            page = await self._open()
            async with asyncio.timeout(_DRAW_SECONDS):
                return base64.b64decode(await page.evaluate(_DRAW, [data, drawing]))
        except (Error, TimeoutError, SandboxLost, SandboxStartFailed) as error:
            await self.close()
            raise PageStuck(f"no picture can be drawn: {str(error).partition(chr(10))[0][:200]}") from error

    async def _open(self) -> Page:
        async with self._lock:
            if self._page is None:
                if self._apart is not None and self._leased is None:
                    self._leased = await Chromium.lease(self._apart)
                self._context = await (self._leased or self._chromium).context(offline=True)
                self._page = await new_page(self._context, _DRAW_SECONDS)
            return self._page

    async def close(self) -> None:
        """Close the page; the next use opens it again. Idempotent."""
        context, self._context, self._page = self._context, None, None
        if context is not None:
            with contextlib.suppress(Error, TimeoutError):  # it may be gone already
                async with asyncio.timeout(_DRAW_SECONDS):
                    await context.close()
        leased, self._leased = self._leased, None
        if leased is not None:
            await leased.release()


async def photographed(live: Live, veil: Veil) -> tuple[bytes, list[Box]]:
    """Return the visible part of the tab in front as JPEG, and what has to be masked in it.

    Raises:
        PageStuck: the page does not answer, or waits for its dialog.
        SandboxLost: the browser is gone.
    """
    if live.dialog is not None:
        raise PageStuck(
            "no picture can be taken: the page waits for its dialog, and the browser does not draw it until then"
        )
    before = await veil.over(live)
    picture = await live.picture(quality=_QUALITY)
    return picture, [*before, *await veil.over(live)]  # something may have come into view meanwhile


async def marked(live: Live, darkroom: Darkroom, veil: Veil, *, marks: bool) -> bytes:
    """Return the visible part of the tab in front as JPEG, secrets masked, with its references drawn on it if `marks`.

    Raises:
        PageStuck: the page does not answer.
        SandboxLost: the browser is gone.
    """
    picture, masks = await photographed(live, veil)
    if not marks and not masks:
        return picture
    return await drawn(picture, masks, live if marks else None, darkroom)


async def drawn(picture: bytes, masks: Sequence[Box], live: Live | None, darkroom: Darkroom) -> bytes:
    """Return a photograph as JPEG, masked, with the references of the page in front that it is of, if that is given.

    Raises:
        PageStuck: the page does not answer, or nothing can be drawn.
        SandboxLost: the browser is gone.
    """
    boxes = [] if live is None else await _boxes(live)
    return await darkroom.develop(
        picture, {"marks": boxes, "masks": masks, "width": None, "kind": "image/jpeg", "quality": _DRAWN_QUALITY}
    )


async def _boxes(live: Live) -> list[Mark]:
    """Return what has a reference and is in view, with its place on the tab."""
    found: list[Mark] = []
    for frame in live.frames(live.page):
        try:
            rows = await live.call(frame, "boxes", _MARKS_MOST)
            left, top = await corner_of(frame)
        except PageStuck:
            continue
        prefix = live.prefix(frame)
        found += [Mark(label=f"{prefix}e{row['number']}", **shifted(row, left, top)) for row in rows or ()]
    return found[:_MARKS_MOST]
