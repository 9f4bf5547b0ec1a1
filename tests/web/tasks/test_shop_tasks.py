"""The shop's thirty tasks: their oracles do them, and no check takes nothing or a near miss for done."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from shop import TASKS, Shop, ShopTask

from branchwise.core.errors import BranchwiseError
from branchwise.web import Browser
from branchwise.web.tasks import Behind, Ending, Hand, Mark

IN_BROWSER = {name for name, task in TASKS.items() if task.near_script}


class Unseen:
    """A world that nobody has looked at, for checks of what is behind the pages."""

    def __init__(self, world: Any) -> None:
        self._world = world

    async def world(self) -> Any:
        """Return it."""
        return self._world


async def judged(task: ShopTask, shop: Shop, *, near: bool) -> Mark:
    """What a task's check thinks of a state in which nothing was done, or almost the right thing."""
    world = shop.world(prepare=task.prepare)
    answer = (task.near(world.state) or "") if near else ""
    try:
        return await task.check(Ending(Unseen(world), answer))  # type: ignore[arg-type]  # the part of it that is looked at
    finally:
        await world.close()


def test_there_are_thirty() -> None:
    """Thirty tasks with names and goals of their own, at least two of which are about what the browser keeps."""
    assert len(TASKS) == 30
    assert len({task.goal for task in TASKS.values()}) == 30
    assert len(IN_BROWSER) >= 2


@pytest.mark.parametrize("name", sorted(TASKS.keys() - IN_BROWSER))
async def test_checks_reject(name: str, shop: Shop) -> None:
    """Neither doing nothing nor a near miss counts, and the check says why."""
    for near in (False, True):
        mark = await judged(TASKS[name], shop, near=near)
        assert not mark.done
        assert mark.why


@pytest.mark.browser
async def test_checks_of_the_browser_reject(shop: Shop, tmp_path: Path) -> None:
    """The same for what the browser keeps: that is looked at in the page."""
    supply = await Browser(site=shop.site()).start("near", tmp_path)
    try:
        env = await supply.open()
        for name in sorted(IN_BROWSER):
            task = TASKS[name].on(shop)
            assert not (await task.mark(env)).done, name
            await env.evaluate(TASKS[name].near_script)
            assert not (await task.mark(env)).done, name
        await env.close()
    finally:
        await supply.aclose()


@pytest.mark.browser
async def test_oracles(shop: Shop, tmp_path: Path) -> None:
    """All thirty are done by their oracles, through references that the pages show."""
    failed: dict[str, str] = {}
    gate = asyncio.Semaphore(3)

    async def one(task: ShopTask) -> None:
        async with gate:
            supply = await task.on(shop).browser().start("oracle", tmp_path / task.name)
            try:
                env = await supply.open()
                mark = await task.on(shop).mark(env, await task.oracle(Hand(env)))
                if not mark.done:
                    failed[task.name] = mark.why
                await env.close()
            except BranchwiseError as error:
                failed[task.name] = str(error)
            finally:
                await supply.aclose()

    standing = await Browser(site=shop.site()).start("standing", tmp_path / "standing")  # one browser for all of them
    try:
        await asyncio.gather(*(one(task) for task in TASKS.values()))
    finally:
        await standing.aclose()
    assert not failed
    assert set(shop.worlds) <= {""}  # every world was given back


def test_states_are_looked_at_behind_the_pages() -> None:
    """Most checks ask the server, which no page can talk into anything."""
    assert sum(isinstance(task.check, Behind) for task in TASKS.values()) >= 25
