"""A small shop to try web agents on: every visitor has a world of their own, which is the same at the beginning.

`python -m shop` from the folder `examples` serves it for a person to look at; `Shop` has it for programs.
"""

from .server import Shop, ShopWorld
from .state import State
from .tasks import TASKS, ShopTask

__all__ = ["TASKS", "Shop", "ShopTask", "ShopWorld", "State"]
