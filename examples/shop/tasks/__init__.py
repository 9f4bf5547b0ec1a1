"""Thirty tasks in the shop, each with what tells that it was done and a script that does it."""

from .accounts import TASKS as ACCOUNTS
from .base import ShopTask
from .board import TASKS as BOARD
from .buying import TASKS as BUYING
from .looking import TASKS as LOOKING
from .workshops import TASKS as WORKSHOPS

TASKS: dict[str, ShopTask] = {task.name: task for task in (*LOOKING, *BUYING, *ACCOUNTS, *WORKSHOPS, *BOARD)}

__all__ = ["TASKS", "ShopTask"]
