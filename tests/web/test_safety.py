"""Nothing leaves the allow-list, whatever a page tries; counted where it would arrive."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest

from branchwise.core.errors import ActionFailed
from branchwise.sandboxes import Allow
from branchwise.web import Goto, Policy, Tab, Wait

from .attack import WAYS
from .conftest import Start
from .hand import do
from .small_site import SmallSite

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

SENDING = Policy(words="", methods=None)

_NAMES = """
    css import font img srcset image preload modulepreload script module input poster video audio embed object table background
    svg-image frame from-data fetch-data from-srcdoc from-blob fetch-blob from-javascript fetch xhr keepalive beacon ping socket
    events worker imported shared form post refresh list.csv
"""
ARRIVING = frozenset(f"/{name}" for name in _NAMES.split())
"""Where the page gets to by itself if it may."""


@pytest.fixture
def datagrams() -> object:
    """A socket that notes whether datagrams come in."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.2", 0))
        listening.setblocking(False)
        yield listening


async def try_all(
    start: Start, site: SmallSite, port: int, arriving: frozenset[str] = frozenset(), **settings: object
) -> None:
    """Open the page, wait until it has tried everything, then leave by a click and by the agent's own wish.

    Args:
        start: starts a supply.
        site: serves the page.
        port: where datagrams are waited for.
        arriving: what has to have arrived at the other address before the page is left.
        **settings: of the browser.
    """
    site.pages["/ways"] = WAYS.replace("OUT", site.elsewhere).replace("UDP", str(port))
    env = await (await start("/ways", policy=SENDING, settle_seconds=0.5, **settings)).open()
    await env.observe()
    for _ in range(50):
        if await env.evaluate("document.title") == "Tried" and arriving <= {hit[2] for hit in site.strayed}:
            break
        await env.act(Wait(seconds=0.1))
    for way in ('"Pop"', '"Blank"'):
        await do(env, way)
        while len((await env.observe()).tabs) > 1:
            await env.act(Tab(number=2, close=True))
    await do(env, '"Leave"')
    with contextlib.suppress(ActionFailed):
        await env.act(Goto(url=site.elsewhere + "/asked"))
    await env.close()


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
