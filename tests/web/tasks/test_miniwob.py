"""MiniWoB++ as a family of tasks: pages with a seed, and their own reward at the end only."""

from __future__ import annotations

import asyncio
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from branchwise.core.errors import UsageError
from branchwise.web import Click
from branchwise.web.tasks import Hand, MiniWoB

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from oracles import ORACLES

SAMPLE = (
    "click-checkboxes-transfer",
    "click-collapsible-2",
    "login-user",
    "navigate-tree",
    "choose-date-medium",
    "buy-ticket",
    "read-table",
    "use-autocomplete",
)


@pytest.fixture(scope="module")
def family() -> Iterator[MiniWoB]:
    """All tasks."""
    with MiniWoB() as pages:
        yield pages


async def done(family: MiniWoB, name: str, folder: Path) -> tuple[str, Hand]:
    """What a script has not done of a task, and its hand."""
    task = await family.task(name, 1, goal="")
    supply = await task.browser().start(name, folder)
    try:
        env = await supply.open()
        hand = Hand(env)
        await ORACLES[name](hand)
        mark = await task.mark(env)
        await env.close()
    finally:
        await supply.aclose()
    return ("" if mark.done else mark.why), hand


@pytest.mark.browser
async def test_oracles(family: MiniWoB, tmp_path: Path) -> None:
    """A sample of the tasks is done by scripts, through references to whatever they point at."""
    standing = await (await family.task("click-test", goal="")).browser().start("standing", tmp_path / "standing")
    try:
        results = {name: await done(family, name, tmp_path / name) for name in SAMPLE}
    finally:
        await standing.aclose()
    assert {name: why for name, (why, _) in results.items() if why} == {}
    assert [unseen for _, hand in results.values() for unseen in hand.unseen] == []


@pytest.mark.browser
async def test_an_episode(family: MiniWoB, tmp_path: Path) -> None:
    """The goal is the page's own words, nothing is worth anything before the end, and over is over."""
    task = await family.task("click-test-2", 3)
    assert task.goal == "Click button ONE."
    supply = await task.browser().start("episode", tmp_path)
    try:
        env = await supply.open()
        hand = Hand(env)
        page = (await hand.look()).text
        assert "Last reward" not in page
        assert (await task.mark(env)).value == 0
        await hand.click("button", "TWO")
        assert (await task.mark(env)).why == "the page's own reward is -1"
        with pytest.raises(Exception, match="The episode is over|covered|in the way|lies over"):
            await env.act(Click(ref=await hand.ref("button", "ONE")))
        assert (await task.mark(env)).value == 0
        await env.close()
    finally:
        await supply.aclose()


def fetched(url: str) -> str:
    """What is served there."""
    with urllib.request.urlopen(url) as reply:
        return str(reply.read().decode())


async def test_names_and_addresses(family: MiniWoB) -> None:
    """There are 130 tasks; one that is not there is refused; pages without a seed are served as they are."""
    assert len(family.names) == 130
    assert set(ORACLES) <= set(family.names)
    with pytest.raises(UsageError, match="no MiniWoB task 'click-tests'"):
        await family.task("click-tests")
    task = await family.task("click-test", 5, goal="x")
    world = await task.browser().site.open()  # type: ignore[union-attr]  # it has one
    seeded = await asyncio.to_thread(fetched, world.url)
    plain = await asyncio.to_thread(fetched, world.url.partition("?")[0])
    assert 'Math.seedrandom("5")' in seeded
    assert seeded.startswith(plain)
    with pytest.raises(urllib.error.HTTPError):
        await asyncio.to_thread(fetched, world.url.replace("click-test", "nothing"))


def test_other_pages_are_refused(tmp_path: Path) -> None:
    """A folder without them is named."""
    with pytest.raises(UsageError, match="has no pages of MiniWoB"):
        MiniWoB(tmp_path)
