"""A window to watch: on a display of its own, where there are one and a Chromium that has windows."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
from playwright.async_api import async_playwright

from branchwise.core.errors import SandboxStartFailed
from branchwise.web import Browser
from branchwise.web.chromium import find_chromium

from .hand import do
from .small_site import SmallSite

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A display that nobody sees."""
    server = shutil.which("Xvfb")
    if server is None:
        pytest.skip("there is no Xvfb to show a window on (apt install xvfb: 170 MB)")
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [server, "-displayfd", str(writing), "-screen", "0", "1400x1000x24", "-nolisten", "tcp"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as said:
            number = said.readline().strip()  # it says so once it is ready
        if not number:
            pytest.skip("Xvfb does not start here")
        monkeypatch.setenv("DISPLAY", f":{number}")
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("display")
async def test_work_can_be_watched(site: SmallSite, tmp_path: Path) -> None:
    """The agent's page is in a window; pictures are drawn in a browser without one, or their page would be in front of it."""
    async with async_playwright() as playwright:
        own = playwright.chromium.executable_path
    try:
        executable = find_chromium(None, own, headed=True)
    except SandboxStartFailed:
        pytest.skip("there is no Chromium with windows (apt install chromium: 335 MB), only one without")
    supply = await Browser(site.url + "/", headed=True, executable=executable).start("test", tmp_path / "states")
    async with aclosing(supply):
        supply.keep_pictures(tmp_path / "pictures")
        env = await supply.open()
        await do(env, '"Add"')
        assert await env.evaluate("document.visibilityState") == "visible"
        assert "HeadlessChrome" not in await env.evaluate("navigator.userAgent")
        kept = await env.snapshot()
        await env.close()
        assert await supply.screen(kept) is not None
        [branch] = supply._open
        windows = branch.live.context.browser
        drawing = supply.darkroom._context
        assert windows is not None
        assert drawing is not None
        assert len(windows.contexts) == 1
        assert drawing not in windows.contexts
