"""Browsers that die, and what is left when all is closed."""

from __future__ import annotations

import asyncio
import gc
import itertools
import re
from pathlib import Path
from typing import Any

import psutil
import pytest

import branchwise as bw
from branchwise.core.errors import SandboxLost
from branchwise.core.types import Task
from branchwise.graphs import LocalRunner, RunStore
from branchwise.web import Browser, parse_action
from branchwise.web.chromium import temporary_folders

from .crosses import clicker
from .hand import do, shown
from .small_site import SmallSite

pytestmark = pytest.mark.browser


def browsers() -> list[psutil.Process]:
    """The main processes of the browsers that this process has started."""
    found: list[psutil.Process] = []
    for child in psutil.Process().children(recursive=True):
        try:
            words = child.cmdline()
        except psutil.Error:
            continue
        if any("--user-data-dir" in word for word in words) and not any("--type=" in word for word in words):
            found.append(child)
    return found


def drivers() -> list[psutil.Process]:
    """The processes of Playwright's driver."""
    return [child for child in psutil.Process().children() if "run-driver" in child.cmdline()]


async def test_a_killed_browser_is_started_again(site: SmallSite, tmp_path: Path) -> None:
    """In the middle of a branch: the state is brought back, the action is done, and references still hold."""
    supply = await Browser(site.url + "/").start("test", tmp_path / "states")
    env, other = await supply.open(), await supply.open()
    await do(env, '"Add"')
    await other.observe()
    seen = await env.observe()
    [browser] = browsers()
    browser.kill()
    add = parse_action({"do": "click", "ref": re.findall(r'\[(e\d+)\] button "Add"', seen.text)[0]})
    assert "xx" in shown(await env.act(add))
    assert "Main" in (await other.observe()).text
    assert supply.chromium.starts == 2
    for one in (env, other):
        await one.close()
    await supply.aclose()


async def test_a_killed_driver_is_started_again(site: SmallSite, tmp_path: Path) -> None:
    """It speaks with the browser for us. Its end is no news when what is left of it is collected."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    supply = await Browser(site.url + "/").start("test", tmp_path / "states")
    env = await supply.open()
    await do(env, '"Add"')
    [driver] = drivers()
    driver.kill()
    assert "xx" in shown(await do(env, '"Add"'))
    await env.close()
    await supply.aclose()
    gc.collect()
    assert complaints == []


async def test_what_was_done_for_good_is_not_repeated(site: SmallSite, tmp_path: Path) -> None:
    """The browser dies while an order is sent: nobody knows whether it was, so it is not sent again."""
    supply = await Browser(site.url + "/sending").start("test", tmp_path / "states")
    env = await supply.open()
    await env.observe()

    site.on_post = browsers()[0].kill
    with pytest.raises((SandboxLost, bw.StateDiverged), match=r"for good|unknown"):
        await do(env, '"Do it"', final=True)
    assert site.asked("POST", "/order") == 1
    await env.close()
    await supply.aclose()


async def test_nothing_is_left(site: SmallSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process, no context, no temporary folder; not after a cancelled action either."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))  # others' browsers have their folders elsewhere
    supply = await Browser(site.url + "/").start("test", tmp_path / "states")
    env = await supply.open()
    await do(env, '"Add"')
    acting = asyncio.create_task(env.act(parse_action({"do": "wait", "seconds": 30})))
    await asyncio.sleep(0)
    assert temporary_folders() != []
    acting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await acting
    await supply.aclose()
    assert supply.open_contexts == 0
    assert (browsers(), drivers()) == ([], [])
    assert temporary_folders() == []


async def test_a_search_over_pages_goes_on_after_a_kill(site: SmallSite, tmp_path: Path) -> None:
    """Whole runs: an agent whose tool clicks, searched best-first; the browser is killed on the way, and the goal is found."""
    clicks = itertools.count()

    async def killing() -> None:
        if next(clicks) == 2:
            browsers()[0].kill()

    runner = LocalRunner(RunStore(tmp_path / "runs"))
    agent = clicker(Browser(site.url + "/"), killing)
    result = await runner.run(agent, Task(prompt="Make three crosses."), bw.Budget(nodes=20), seed=1)
    assert result.answer == "xxx"
    assert result.accepted
    assert max(verdict.value for verdict in result.verdicts) == 1.0
    assert next(clicks) > 3
    assert browsers() == []
