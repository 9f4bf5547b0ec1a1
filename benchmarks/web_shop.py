"""The shop of the examples, for benchmarks: they are scripts, and the examples are no package."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from shop import TASKS, Shop
from shop.state import State
from shop.tasks import ShopTask

__all__ = ["TASKS", "Shop", "ShopTask", "State"]
