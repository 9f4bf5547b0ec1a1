"""The part `steps` of `benchmarks/web.py`: how long a step takes with settling and a look, a reset, and going back five steps.

Scripts do tasks of MiniWoB++ and of the shop, one after the other, each four times as a run does that tries again. A step is a whole
action with what it sets off and the look at the page afterwards; a reset is the time until a start page is there in a context of its own
and has been looked at, after a trajectory before it, and the first one is that of a run that has just begun; going back is the time
until a state of five steps is there again in a fresh context, with no context that waits for it.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from oracles import ORACLES
from rich.progress import Progress
from web_shop import TASKS, Shop

from branchwise.core.errors import BranchwiseError
from branchwise.web import Browser, WebEnvironment, WebSandboxes
from branchwise.web.actions import Acting
from branchwise.web.tasks import Hand, MiniWoB, Oracle, WebTask

MINIWOB = (
    "book-flight",
    "buy-ticket",
    "choose-date-medium",
    "click-checkboxes-large",
    "click-collapsible-2",
    "click-tab-2-hard",
    "email-inbox-forward",
    "enter-time",
    "form-sequence-3",
    "login-user",
    "navigate-tree",
    "search-engine",
    "social-media",
    "use-autocomplete",
)
SHOP = ("order-as-guest", "wish-list", "complain", "register", "cancel-order", "reply")
DEPTH = 5
TRAJECTORIES = 4


class Timed(Hand):
    """A hand that notes how long each step takes, and keeps the state after five of them."""

    def __init__(self, env: WebEnvironment) -> None:
        super().__init__(env)
        self.steps_ms: list[float] = []
        self.kept: str | None = None

    async def act(self, action: Acting) -> str:
        """Do it."""
        begun = time.perf_counter()
        told = await super().act(action)
        self.steps_ms.append((time.perf_counter() - begun) * 1000)
        if len(self.steps_ms) == DEPTH:
            self.kept = await self.env.snapshot()
        return told


class Times:
    """What was measured, in milliseconds."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.firsts: list[float] = []
        self.resets: list[float] = []
        self.back: list[float] = []

    async def take(self, task: WebTask, oracle: Oracle, folder: Path) -> None:
        """Have a script do a task, go back to what was after five steps, and try again."""
        supply = await task.browser(kept_contexts=0).start(task.name, folder)
        try:
            kept: str | None = None
            for trajectory in range(TRAJECTORIES):
                taken = self.resets if trajectory else self.firsts
                kept = await self._try(supply, oracle, taken) or kept
                if kept is not None and trajectory == 0:
                    await self._go_back(supply, kept)
        finally:
            await supply.aclose()

    async def _try(self, supply: WebSandboxes, oracle: Oracle, taken: list[float]) -> str | None:
        """Have one trajectory, and return its state after five steps."""
        begun = time.perf_counter()
        env = await supply.open()
        await env.observe()
        taken.append((time.perf_counter() - begun) * 1000)
        hand = Timed(env)
        with suppress(BranchwiseError, StopIteration, LookupError):  # lost its way, and has taken steps all the same
            await oracle(hand)
        self.steps += hand.steps_ms
        await env.close()
        return hand.kept

    async def _go_back(self, supply: WebSandboxes, kept: str) -> None:
        begun = time.perf_counter()
        fork = await supply.open(kept)
        await fork.cookies()
        self.back.append((time.perf_counter() - begun) * 1000)
        await fork.close()


async def measure(bar: Progress) -> dict[str, float]:
    """Return the figures."""
    times = Times()
    task = bar.add_task("steps", total=len(MINIWOB) + len(SHOP))
    with MiniWoB() as family, Shop() as shop, tempfile.TemporaryDirectory() as folder:
        standing = await Browser(shop.url).start("standing", Path(folder) / "standing")
        try:
            for name in MINIWOB:
                await times.take(await family.task(name, 1, goal=""), ORACLES[name], Path(folder) / name)
                bar.advance(task)
            for name in SHOP:
                await times.take(TASKS[name].on(shop), TASKS[name].oracle, Path(folder) / name)
                bar.advance(task)
        finally:
            await standing.aclose()
    return {
        "steps": len(times.steps),
        "step_ms_median": round(statistics.median(times.steps), 1),
        "step_ms_p95": round(_part(times.steps, 0.95), 1),
        "steps_per_second": round(1000 / statistics.mean(times.steps), 2),
        "reset_first_ms_median": round(statistics.median(times.firsts), 1),
        "reset_ms_median": round(statistics.median(times.resets), 1),
        "reset_ms_p95": round(_part(times.resets, 0.95), 1),
        "backs": len(times.back),
        f"back_ms_median_depth_{DEPTH}": round(statistics.median(times.back), 1),
        f"back_ms_p95_depth_{DEPTH}": round(_part(times.back, 0.95), 1),
    }


def _part(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]
