"""Independent trajectories, the best of which is chosen: best-of-n; with n = 1 a plain agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .common import within
from .trajectories import Trajectories


@dataclass
class BestOfN(Trajectories):
    """Run `n` trajectories side by side, each until it answers or is `depth` steps long.

    Args:
        n: number of trajectories, >= 1.
        depth: longest trajectory in steps, >= 1.
        repeats: a trajectory that takes the same action so many times in a row goes in circles and is over, >= 2.
    """

    name: ClassVar[str] = "best-of-n"
    n: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        within("n", self.n, 1)

    @property
    def speculative(self) -> bool:
        """One trajectory is never thrown away."""
        return self.n > 1

    def trajectories(self) -> int:
        """All at once."""
        return self.n
