"""Recordings of how a state was reached."""

from __future__ import annotations

import json
import shutil
import zipfile
from contextlib import aclosing
from pathlib import Path

import playwright
import pytest

import branchwise as bw
from branchwise.core.errors import UsageError
from branchwise.web.finding import find_chromium

from .conftest import Start
from .hand import do
from .small_site import SmallSite

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

SECRET = "lantern & forty-two"
LOGIN = """<!doctype html><title>Login</title><form action="/second"><label>Word <input name="word"></label><button>Go</button></form>"""


def titles(trace: Path) -> list[str]:
    """Return the names of the groups of actions in a trace."""
    with zipfile.ZipFile(trace) as archive:
        lines = archive.read("trace.trace").decode().splitlines()
    rows = [json.loads(line) for line in lines]
    return [str(row["title"]) for row in rows if row.get("type") == "before" and row.get("method") == "tracingGroup"]


async def test_a_trace_has_every_step_by_name(start: Start, tmp_path: Path) -> None:
    """What led to the state is done again, and told as people would say it."""
    supply = await start(kept_contexts=0)
    env = await supply.open()
    await do(env, '"Name"', "fill", text="Ann")
    await do(env, '"Add"')
    kept = await env.snapshot()
    await env.close()
    assert await bw.web.film(supply, kept, tmp_path / "trace.zip") == 2
    assert titles(tmp_path / "trace.zip") == ["start", "1. fill textbox 'Name' with 'Ann'", "2. click button 'Add'"]
    assert supply.open_contexts == 0


async def test_a_trace_holds_no_secret(start: Start, site: SmallSite, tmp_path: Path) -> None:
    """Not in actions, pages, requests or pictures, in no way of writing it; a video of it is refused."""
    site.pages["/login"] = LOGIN
    supply = await start("/login", secrets={"word": SECRET})
    env = await supply.open()
    await do(env, '"Word"', "fill", secret="word")
    await do(env, '"Go"')
    kept = await env.snapshot()
    await env.close()
    await bw.web.film(supply, kept, tmp_path / "trace.zip")
    with zipfile.ZipFile(tmp_path / "trace.zip") as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    everything = b"\n".join(contents.values())
    for written in (b"lantern & forty", b"lantern+%26+forty", b"lantern%20%26%20forty"):
        assert written not in everything
    assert b"[secret word]" in everything
    assert not [name for name, data in contents.items() if data[:2] == b"\xff\xd8"]
    with pytest.raises(UsageError, match="which a video would show"):
        await bw.web.film(supply, kept, tmp_path / "trace.zip", tmp_path / "video.webm")


async def test_what_was_done_for_good_is_not_filmed(start: Start, site: SmallSite, tmp_path: Path) -> None:
    """It would be done a second time."""
    supply = await start("/sending")
    env = await supply.open()
    await do(env, '"Do it"', final=True)
    kept = await env.snapshot()
    with pytest.raises(bw.StateDiverged, match="done for good"):
        await bw.web.film(supply, kept, tmp_path / "trace.zip")
    assert site.asked("POST", "/order") == 1
    await env.close()


async def test_a_path_that_leads_elsewhere_is_said_to(start: Start, site: SmallSite, tmp_path: Path) -> None:
    """At the step where it does; what there is of the trace is kept."""
    supply = await start()
    env = await supply.open()
    await do(env, '"Add"')
    kept = await env.snapshot()
    await env.close()
    site.pages["/"] = site.pages["/"].replace(">Add<", ">Subtract<")
    with pytest.raises(bw.StateDiverged, match=r"step 1 of 1 \(click\)"):
        await bw.web.film(supply, kept, tmp_path / "trace.zip")
    assert titles(tmp_path / "trace.zip") == ["start", "1. click button 'Add'"]


async def test_recordings_are_written_into_folders_that_are_there(start: Start, tmp_path: Path) -> None:
    """Nothing is started for one that cannot be written."""
    supply = await start()
    env = await supply.open()
    await env.observe()
    with pytest.raises(UsageError, match="there is no folder"):
        await bw.web.film(supply, await env.snapshot(), tmp_path / "none" / "trace.zip")
    await env.close()


ENCODER = """#!/bin/sh
for last; do :; done
cat > "$last"
"""
"""Keeps what it is given as it is: Playwright's own is not on every machine."""


@pytest.mark.parametrize("place", ["own", "system", None])
async def test_a_video_needs_an_encoder(
    site: SmallSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str | None
) -> None:
    """Playwright's own or the system's, which is lent and taken back; without one it is said how to get it.

    In a browser of its own: it has to look anew.
    """
    own, system = tmp_path / f"browsers/ffmpeg-{_revision()}" / "ffmpeg-linux", tmp_path / "bin" / "ffmpeg"
    program = {"own": own, "system": system}.get(place or "")
    if program is not None:
        program.parent.mkdir(parents=True)
        program.write_text(ENCODER)
        program.chmod(0o755)
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "browsers"))
    # A launch unlike others has a driver of its own, which reads the variable.
    executable = find_chromium(None, "", headed=False)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{_without_ffmpeg(tmp_path)}")
    supply = await bw.web.Browser(site.url + "/", executable=executable).start("test", tmp_path / "states")
    async with aclosing(supply):
        env = await supply.open()
        await do(env, '"Add"')
        kept = await env.snapshot()
        await env.close()
        video = tmp_path / "video.webm"
        if place is None:
            with pytest.raises(UsageError, match="playwright install ffmpeg.*apt install ffmpeg"):
                await bw.web.film(supply, kept, tmp_path / "trace.zip", video)
            return
        assert await bw.web.film(supply, kept, tmp_path / "trace.zip", video) == 1
        assert titles(tmp_path / "trace.zip")[-1] == "1. click button 'Add'"
        assert video.stat().st_size > 1000
    assert own.exists() == (place == "own")


def _without_ffmpeg(tmp_path: Path) -> str:
    """Return a PATH on which there are a shell and `cat`, and no encoder of the machine's own."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("sh", "cat", "node"):
        if (found := shutil.which(name)) is not None:
            (folder / name).symlink_to(found)
    return str(folder)


def _revision() -> str:
    """Return which encoder this version of Playwright looks for."""
    listed = json.loads((Path(playwright.__file__).parent / "driver/package/browsers.json").read_text())
    return next(str(one["revision"]) for one in listed["browsers"] if one["name"] == "ffmpeg")
