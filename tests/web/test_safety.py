"""Nothing leaves the allow-list, whatever a page tries; counted where it would arrive."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from branchwise.core.errors import ActionFailed
from branchwise.sandboxes import Allow
from branchwise.web import Goto

from .attack import ARRIVING, try_all
from .conftest import Start
from .hand import do
from .small_site import SmallSite

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


async def test_nothing_leaves_the_allow_list(start: Start, site: SmallSite, datagrams: socket.socket) -> None:
    """Not one request reaches the other server, not one datagram the other socket; the page itself was served."""
    await try_all(start, site, datagrams.getsockname()[1])
    assert site.strayed == []
    with pytest.raises(BlockingIOError):
        datagrams.recv(100)
    assert site.asked("GET", "/ways") == 1
    assert site.asked("GET", "/away") >= 3, "redirects were followed as far as the proxy"


async def test_with_the_other_allowed_the_same_page_reaches_it(
    start: Start, site: SmallSite, datagrams: socket.socket
) -> None:
    """So the tries are real ones, and it is the allow-list that stops them; datagrams and service workers stay stopped."""
    hosts = [f"127.0.0.{n}:{site.port}" for n in (1, 2)]
    await try_all(start, site, datagrams.getsockname()[1], ARRIVING, allow=Allow(*hosts))
    assert ARRIVING | {"/stolen", "/popup", "/blank", "/left", "/asked"} <= {hit[2] for hit in site.strayed}
    with pytest.raises(BlockingIOError):
        datagrams.recv(100)
    assert site.asked("GET", "/worker.js") == 0


async def test_files_of_this_machine_stay_unread(start: Start, tmp_path: Path) -> None:
    """A page from a file sees the files beside it, and no others, by no link either."""
    place = tmp_path / "pages"
    place.mkdir()
    (tmp_path / "secret.html").write_text("treasure")
    (place / "beside.html").write_text("neighbour")
    (place / "link.html").symlink_to(tmp_path / "secret.html")
    frames = "".join(f"<iframe src='{name}'></iframe>" for name in ("beside.html", "../secret.html", "link.html"))
    (place / "a.html").write_text(f"<!doctype html><title>A</title>{frames}")
    env = await (await start((place / "a.html").as_uri())).open()
    text = (await env.observe()).text
    assert "neighbour" in text
    assert "treasure" not in text
    with pytest.raises(ActionFailed, match="not among the files"):
        await env.act(Goto(url=(tmp_path / "secret.html").as_uri()))
    await env.close()


async def test_pages_of_a_site_see_no_files(start: Start, site: SmallSite, tmp_path: Path) -> None:
    """Neither in a frame, nor by a link, nor asked for by the agent."""
    (tmp_path / "secret.html").write_text("treasure")
    address = (tmp_path / "secret.html").as_uri()
    site.pages["/peek"] = (
        f"<!doctype html><title>Peek</title><iframe src='{address}'></iframe><a href='{address}'>File</a>"
    )
    env = await (await start("/peek")).open()
    outcome = await do(env, '"File"')
    assert "treasure" not in outcome.told
    with pytest.raises(ActionFailed, match="not among the files"):
        await env.act(Goto(url=address))
    await env.close()
