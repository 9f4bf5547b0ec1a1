"""Pictures of pages: small ones of every state, none of what is secret, and nothing put into the pages for them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from branchwise.core.errors import ActionFailed
from branchwise.web import WebEnvironment, WebSandboxes
from branchwise.web.pictures import MARKED, START, Album
from branchwise.web.replaying import sealed

from .conftest import Start
from .hand import do
from .small_site import SmallSite

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

SECRET = "lantern-forty-two"
TELLING = """<!doctype html><title>Telling</title><body style="background:white;color:black;font:20px monospace">
<input id="field" aria-label="Word" style="font:20px monospace;border:0;width:300px" oninput="whole.textContent = this.value;
one.textContent = this.value.slice(0, 8); two.textContent = this.value.slice(8); upper.value = this.value.toUpperCase()">
<p><span id="whole"></span></p><p><b id="one"></b><i id="two"></i></p><p><span id="open">nothing to hide</span></p>
<p><input id="upper" readonly style="border:0"></p></body>"""
_CONTRAST = """async ([picture, selector]) => {
  const bitmap = await createImageBitmap(await (await fetch(picture)).blob());
  const { x, y, width, height } = document.querySelector(selector).getBoundingClientRect();
  const pen = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
  pen.drawImage(bitmap, 0, 0);
  const { data } = pen.getImageData(x, y, width, height);
  let least = 255, most = 0;
  for (let n = 1; n < data.length; n += 4) { least = Math.min(least, data[n]); most = Math.max(most, data[n]); }
  return most - least;
}"""
"""How far the brightest and the darkest point of a part of a picture are apart: text is dark on light."""


async def contrast(env: WebEnvironment, picture: bytes, selector: str) -> int:
    """Return how much is to be seen in a picture where an element of the page is."""
    data = f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
    return int(await env.evaluate(_CONTRAST, [data, selector]))


async def telling(start: Start, site: SmallSite, **settings: object) -> tuple[WebEnvironment, bytes]:
    """Return a page that shows what was filled in in several ways, and a picture of it."""
    site.pages["/telling"] = TELLING
    supply = await start("/telling", **settings)
    env = await supply.open()
    filled = {"secret": "word"} if settings else {"text": SECRET}
    await do(env, '"Word"', "fill", **filled)
    return env, await env.screenshot()


async def test_a_picture_shows_no_secret(start: Start, site: SmallSite) -> None:
    """Neither in its field, nor in text that the page makes of it, nor where two pieces of text make it up; the rest is shown."""
    env, picture = await telling(start, site, secrets={"word": SECRET})
    assert [await contrast(env, picture, f"#{name}") for name in ("field", "whole", "one", "two")] == pytest.approx(
        [0] * 4, abs=40
    )
    assert await contrast(env, picture, "#open") > 150
    await env.close()


async def test_without_secrets_nothing_is_masked(start: Start, site: SmallSite) -> None:
    """The same page and the same words, given as text: they are to be seen."""
    env, picture = await telling(start, site)
    assert min([await contrast(env, picture, f"#{name}") for name in ("field", "whole", "one", "two", "open")]) > 150
    await env.close()


async def test_taking_a_picture_changes_nothing(start: Start) -> None:
    """The page is the same to the fingerprint, fields and focus included, with marks and without."""
    supply = await start()
    env = await supply.open()
    await do(env, '"Name"', "fill", text="Ann")
    [branch] = supply._open
    before = (await sealed(branch.live)).fingerprint
    plain, drawn = await env.screenshot(), await env.screenshot(marks=True)
    assert plain[:2] == drawn[:2] == b"\xff\xd8"
    assert plain != drawn
    assert (await sealed(branch.live)).fingerprint == before
    await env.close()


async def two_states(supply: WebSandboxes) -> list[str]:
    """Do something twice, and keep the state after each."""
    kept: list[str] = []
    env = await supply.open()
    for _ in range(2):
        await do(env, '"Add"')
        kept.append(await env.snapshot())
        await env.close()
        env = await supply.open(kept[-1])
    await env.close()
    return kept


async def test_every_state_that_is_left_has_a_picture(start: Start, tmp_path: Path) -> None:
    """Once, by its address, and one of the start page; what goes on from a state waits for its picture."""
    supply = await start()
    supply.keep_pictures(tmp_path / "pictures")
    kept = await two_states(supply)
    await two_states(supply)
    pictures = {path.stem: path.read_bytes() for path in (tmp_path / "pictures").iterdir()}
    assert set(pictures) == {START, *kept}
    assert all(data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) < 30_000 for data in pictures.values())
    assert pictures[kept[0]] != pictures[kept[1]]
    assert supply.album is not None
    assert len(supply.album.seconds) == 3


async def test_no_pictures_where_none_are_wanted(start: Start, tmp_path: Path) -> None:
    """Neither where they are switched off, nor where nobody has said where to keep them."""
    supply, other = await start(pictures_mb=0), await start()
    supply.keep_pictures(tmp_path / "pictures")
    for one in (supply, other):
        await two_states(one)
    assert not (tmp_path / "pictures").exists()


async def test_models_are_shown_the_same_picture_of_a_state_every_time(start: Start, tmp_path: Path) -> None:
    """Also another process, after a kill; once one was asked for, those of later states are taken while nobody waits."""
    supply = await start()
    supply.keep_pictures(tmp_path / "pictures")
    first = await supply.screen(None)
    kept = await two_states(supply)
    ways = supply.ways.opened.total()
    assert first is not None
    assert (first.width, first.height, first.media_type) == (1280, 720, "image/jpeg")
    shown = [first, *[await supply.screen(ref) for ref in kept]]
    assert supply.ways.opened.total() == ways
    assert len({picture.data for picture in shown if picture is not None}) == 3
    again = await start()
    again.keep_pictures(tmp_path / "pictures")
    assert [await again.screen(ref) for ref in (None, *kept)] == shown
    assert again.open_contexts == 0
    assert len(list((tmp_path / "pictures" / MARKED).iterdir())) == 3


async def test_a_picture_that_was_dropped_is_taken_again(start: Start, tmp_path: Path) -> None:
    """The state is brought back for it; where that cannot be seen, there is none, and nothing is broken."""
    supply = await start(kept_contexts=0)
    supply.keep_pictures(tmp_path / "pictures")
    _, second = await two_states(supply)
    first = await supply.screen(second)
    assert supply.album is not None
    assert first is not None
    (tmp_path / "pictures" / MARKED / f"{second}.jpg").unlink()
    again = await supply.screen(second)
    assert again is not None
    assert supply.ways.opened["replay"] >= 2
    assert await supply.screen("0" * 64) is None


async def test_a_page_that_waits_for_its_dialog_has_no_picture(start: Start, site: SmallSite, tmp_path: Path) -> None:
    """The browser draws it only once it is answered; that is said at once."""
    site.pages["/asking"] = "<!doctype html><title>Asking</title><button onclick=\"confirm('Sure?')\">Ask</button>"
    supply = await start("/asking")
    supply.keep_pictures(tmp_path / "pictures")
    env = await supply.open()
    await do(env, '"Ask"')
    with pytest.raises(ActionFailed, match="waits for its dialog"):
        await env.screenshot(marks=True)
    kept = await env.snapshot()
    await env.close()
    assert await supply.screen(kept) is None


async def test_pictures_keep_to_their_limit(start: Start, tmp_path: Path) -> None:
    """The oldest go first, also those of an earlier process."""
    supply = await start()
    env = await supply.open()
    await env.observe()
    [branch] = supply._open
    folder = tmp_path / "pictures"
    album = Album(folder, supply.darkroom, supply.veil, small_bytes=1 << 20, marked_bytes=1)
    await album.take("one", branch)
    size = (folder / "one.webp").stat().st_size
    album = Album(folder, supply.darkroom, supply.veil, small_bytes=size * 5 // 2, marked_bytes=1)
    for name in ("two", "three", "four"):
        await album.take(name, branch)
    assert sorted(path.stem for path in folder.iterdir()) == ["four", "three"]
    await env.close()


async def test_a_picture_that_cannot_be_taken_is_done_without(start: Start, tmp_path: Path) -> None:
    """The state is none the worse for it, and the next pictures are taken again."""
    supply = await start()
    supply.keep_pictures(tmp_path / "pictures")
    env = await supply.open()
    await do(env, '"Add"')
    assert supply.darkroom._context is not None
    await supply.darkroom._context.close()
    first = await env.snapshot()
    await env.close()
    env = await supply.open(first)
    await do(env, '"Add"')
    second = await env.snapshot()
    await env.close()
    env = await supply.open(second)
    await env.observe()
    await env.close()
    assert {path.stem for path in (tmp_path / "pictures").iterdir()} == {START, second}
