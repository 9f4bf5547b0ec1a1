"""The part `pictures` of `benchmarks/web.py`: what a run's pictures of its states cost.

Scripts do tasks of the shop as a search does them: after each step the state is kept, left, and gone on with at once, as with a model that
takes no time. A step is the whole of that. It is timed without pictures, with the small ones for people, and with the marked
ones for models beside them, in turns; what pictures take of a step with a real model is less, since they are taken meanwhile.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from rich.progress import Progress
from web_shop import TASKS, Shop
from web_steps import SHOP

from branchwise.core.errors import BranchwiseError
from branchwise.web import WebEnvironment, WebSandboxes
from branchwise.web.actions import Acting
from branchwise.web.pictures import MARKED
from branchwise.web.tasks import Hand, Oracle

MODES = ("none", "small", "marked")
ROUNDS = 2


class Leaving(Hand):
    """A hand that leaves its state after each step and goes on from it, and notes how long that takes."""

    def __init__(self, env: WebEnvironment, supply: WebSandboxes) -> None:
        super().__init__(env)
        self.steps_ms: list[float] = []
        self._supply = supply

    async def act(self, action: Acting) -> str:
        """Do it."""
        begun = time.perf_counter()
        told = await super().act(action)
        kept = await self.env.snapshot()
        await self.env.close()
        self.env = await self._supply.open(kept)
        await self.env.observe()
        self.steps_ms.append((time.perf_counter() - begun) * 1000)
        return told


class Cost:
    """What was measured of one mode."""

    def __init__(self) -> None:
        self.steps_ms: list[float] = []
        self.pictures_ms: list[float] = []
        self.small_bytes: list[int] = []
        self.marked_bytes: list[int] = []

    async def take(self, name: str, mode: str, shop: Shop, oracle: Oracle, folder: Path) -> None:
        """Have a script do a task."""
        supply = (
            await TASKS[name].on(shop).browser(pictures_mb=0 if mode == "none" else 16).start(name, folder / "states")
        )
        try:
            supply.keep_pictures(folder / "pictures")
            if mode == "marked":
                await supply.screen(None)
            hand = Leaving(await supply.open(), supply)
            with suppress(
                BranchwiseError, StopIteration, LookupError
            ):  # lost its way, and has taken steps all the same
                await oracle(hand)
            await hand.env.close()
            self.steps_ms += hand.steps_ms
            if supply.album is not None:
                self.pictures_ms += [seconds * 1000 for seconds in supply.album.seconds]
        finally:
            await supply.aclose()
        self.small_bytes += [path.stat().st_size for path in (folder / "pictures").glob("*.webp")]
        self.marked_bytes += [path.stat().st_size for path in (folder / "pictures" / MARKED).glob("*.jpg")]


async def measure(bar: Progress) -> dict[str, float]:
    """Return the figures."""
    costs = {mode: Cost() for mode in MODES}
    task = bar.add_task("pictures", total=ROUNDS * len(SHOP) * len(MODES))
    with Shop() as shop, tempfile.TemporaryDirectory() as place:
        for number in range(ROUNDS):
            for name in SHOP:
                for mode in MODES:
                    folder = Path(place) / f"{number}-{name}-{mode}"
                    await costs[mode].take(name, mode, shop, TASKS[name].oracle, folder)
                    bar.advance(task)
    without, small, marked = (costs[mode] for mode in MODES)
    steps = {mode: statistics.median(cost.steps_ms) for mode, cost in costs.items()}
    return {
        "picture_steps": len(without.steps_ms),
        "picture_ms_median": round(statistics.median(small.pictures_ms), 1),
        "picture_ms_median_with_marked": round(statistics.median(marked.pictures_ms), 1),
        "picture_bytes_median": statistics.median(small.small_bytes),
        "picture_bytes_median_marked": statistics.median(marked.marked_bytes),
        "picture_step_ms_without": round(steps["none"], 1),
        "picture_step_ms_small": round(steps["small"], 1),
        "picture_step_ms_marked": round(steps["marked"], 1),
        "picture_share_of_step": round(1 - steps["none"] / steps["small"], 3),
        "picture_share_of_step_marked": round(1 - steps["none"] / steps["marked"], 3),
    }
