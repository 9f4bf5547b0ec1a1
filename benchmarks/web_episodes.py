"""The part `episodes` of `benchmarks/web.py`: many short episodes in one process, and what grows or stays behind.

Every episode has a task, a supply and a state of its own: it looks at the page, takes a few random steps, keeps the state, goes on in a
fork of it, and ends. Memory is what this process and the browser's have for themselves (unique set sizes), every now and then: shares of
what is shared hang on who else has a browser open. The browser's processes and its driver are told apart.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psutil
from rich.progress import Progress
from web_policy import draw, options

from branchwise.core.errors import ActionFailed, StateDiverged
from branchwise.web import Browser
from branchwise.web.chromium import temporary_folders
from branchwise.web.tasks import MiniWoB

TASKS = ("click-test", "enter-text", "click-checkboxes", "click-tab", "use-autocomplete", "email-inbox")
SIDE_BY_SIDE = 2
SAMPLES = 40
_GROUP = 4
"""Of so many samples one after the other the smallest counts: the driver collects its garbage when it sees fit."""
STEPS = 2


@dataclass
class Memory:
    """Memory over time, in bytes."""

    at: list[int] = field(default_factory=list[int])
    """Episodes that had ended."""
    own: list[int] = field(default_factory=list[int])
    browser: list[int] = field(default_factory=list[int])
    kinds: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """Of that, by what a process is for."""
    threads: int = 0
    files: int = 0

    def take(self, episodes: int) -> None:
        """Look."""
        me = psutil.Process()
        self.at.append(episodes)
        self.own.append(_uss(me))
        kinds = Counter[str]()
        for process in me.children(recursive=True):
            kinds[_kind(process)] += _uss(process)
        self.browser.append(kinds.total())
        for kind in {*kinds, *self.kinds}:
            self.kinds.setdefault(kind, [0] * (len(self.at) - 1)).append(kinds[kind])
        self.threads, self.files = me.num_threads(), me.num_fds()


def _uss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().uss)
    except (psutil.Error, OSError):
        return 0  # it has ended meanwhile


def _kind(process: psutil.Process) -> str:
    """Return what a process is for: `driver`, `browser`, or a type of Chromium's."""
    try:
        words = process.cmdline()
    except (psutil.Error, OSError):
        words = []
    typed = next((word.removeprefix("--type=") for word in words if word.startswith("--type=")), None)
    return typed or ("driver" if any("playwright" in word for word in words[:2]) else "browser")


def slope(xs: list[int], ys: list[int]) -> float:
    """Return by how much what stays of `ys` grows per episode, over the last two thirds: at first caches fill."""
    part = len(xs) // 3
    starts = range(part, max(part + 1, len(xs) - _GROUP + 1), _GROUP)
    if len(starts) < 2:
        return statistics.linear_regression(xs[part:], ys[part:]).slope
    lows = [min(zip(ys[start : start + _GROUP], xs[start : start + _GROUP], strict=True)) for start in starts]
    return statistics.linear_regression([x for _, x in lows], [y for y, _ in lows]).slope


async def measure(bar: Progress, episodes: int) -> dict[str, float]:
    """Return the figures.

    Args:
        bar: where to say how far it is.
        episodes: how many, >= 30.
    """
    task = bar.add_task("episodes", total=episodes)
    memory, gate, ended, contexts = Memory(), asyncio.Semaphore(SIDE_BY_SIDE), 0, 0
    before = os.environ.get("TMPDIR")
    with MiniWoB() as family, tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / "tmp"
        own.mkdir()
        os.environ["TMPDIR"] = str(own)  # what the browser leaves there is its own
        try:
            first = await family.task(TASKS[0], 0, goal="")
            standing = await first.browser().start("standing", Path(folder) / "standing")

            async def one(number: int) -> None:
                nonlocal ended, contexts
                async with gate:
                    contexts += await _episode(family, number, Path(folder))
                    ended += 1
                    bar.advance(task)
                    if ended % max(1, episodes // SAMPLES) == 0:
                        memory.take(ended)

            await asyncio.gather(*(one(number) for number in range(episodes)))
            starts = standing.chromium.starts
            await standing.aclose()
            contexts += standing.open_contexts
            left = len(temporary_folders())
        finally:
            os.environ.pop("TMPDIR") if before is None else os.environ.update(TMPDIR=before)
    return {
        "episodes": ended,
        "episodes_own_mib": round(memory.own[-1] / 2**20, 1),
        "episodes_own_kib_per_episode": round(slope(memory.at, memory.own) / 1024, 2),
        "episodes_browser_mib": round(memory.browser[-1] / 2**20, 1),
        "episodes_browser_kib_per_episode": round(slope(memory.at, memory.browser) / 1024, 2),
        **{
            f"episodes_{kind}_kib_per_episode": round(slope(memory.at, sizes) / 1024, 2)
            for kind, sizes in sorted(memory.kinds.items())
            if kind in {"driver", "browser", "utility"}
        },
        "episodes_threads": memory.threads,
        "episodes_open_files": memory.files,
        "episodes_browser_starts": starts,
        "episodes_processes_left": len(psutil.Process().children(recursive=True)),
        "episodes_contexts_left": contexts,
        "episodes_folders_left": left,
    }


async def _episode(family: MiniWoB, number: int, folder: Path) -> int:
    """Have one; return how many contexts it has left."""
    rng = Random(f"episode {number}")
    task = await family.task(TASKS[number % len(TASKS)], number, goal="")
    with tempfile.TemporaryDirectory(dir=folder) as states:
        browser: Browser = task.browser()
        supply = await browser.start(task.name, Path(states))
        try:
            env = await supply.open()
            for step in range(STEPS):
                given = options(await env.observe(), "Ann")
                with suppress(ActionFailed):  # nothing has happened then
                    await env.act(draw(rng, given))
                if step == 0:
                    kept = await env.snapshot()
                    await env.close()
                    env = await supply.open(kept)
            await env.close()
        except StateDiverged:
            pass  # refused, and counted by the part `forks`
        finally:
            await supply.aclose()
        return supply.open_contexts
