"""Pictures of pages, with marks for models that see."""

from __future__ import annotations

import base64
from typing import Any

from .chromium import Chromium
from .live import Live, PageStuck
from .targets import corner_of

_QUALITY = 70
_MARKS_MOST = 200
_DRAW = """async ([picture, boxes]) => {
  const bitmap = await createImageBitmap(await (await fetch(picture)).blob());
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height), pen = canvas.getContext('2d');
  pen.drawImage(bitmap, 0, 0);
  pen.font = 'bold 11px sans-serif';
  pen.textBaseline = 'top';
  for (const [n, { label, x, y, width, height }] of boxes.entries()) {
    const colour = `hsl(${(n * 67) % 360} 85% 38%)`;
    pen.strokeStyle = pen.fillStyle = colour;
    pen.lineWidth = 1.5;
    pen.strokeRect(x, y, width, height);
    const wide = pen.measureText(label).width + 4, top = y >= 13 ? y - 13 : y;
    pen.fillRect(x, top, wide, 13);
    pen.fillStyle = 'white';
    pen.fillText(label, x + 2, top + 1);
  }
  const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: 'image/jpeg', quality: 0.75 })).arrayBuffer());
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}"""
"""Draws on a copy of the picture, in a page of its own: nothing is put into the page that is shown."""


async def marked(live: Live, chromium: Chromium, *, marks: bool) -> bytes:
    """Return the visible part of the tab in front as JPEG, with its references drawn on it if `marks`.

    Raises:
        PageStuck: the page does not answer.
        SandboxLost: the browser is gone.
    """
    picture = await live.picture(quality=_QUALITY)
    if not marks:
        return picture
    boxes = await _boxes(live)
    context = await chromium.context(offline=True)
    try:
        page = await context.new_page()
        data = f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
        return base64.b64decode(await page.evaluate(_DRAW, [data, boxes]))
    finally:
        await context.close()


async def _boxes(live: Live) -> list[dict[str, Any]]:
    """Return what has a reference and is in view, with its place on the tab."""
    found: list[dict[str, Any]] = []
    for frame in live.frames(live.page):
        try:
            rows = await live.call(frame, "boxes", _MARKS_MOST)
            left, top = await corner_of(frame)
        except PageStuck:
            continue
        for row in rows or ():
            label = f"{live.prefix(frame)}e{row['number']}"
            sizes = {key: row[key] for key in ("width", "height")}
            found.append({"label": label, "x": row["x"] + left, "y": row["y"] + top, **sizes})
    return found[:_MARKS_MOST]
