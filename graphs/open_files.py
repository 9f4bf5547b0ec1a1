"""Room for the files that runs hold open: a process may have some thousand runs, and by default no more than some thousand files."""

from __future__ import annotations

import resource
from collections.abc import Generator
from contextlib import contextmanager
from itertools import count
from typing import Final

from ..core.errors import UsageError

FILES_PER_RUN: Final = 8
"""Two databases with their logs and indices, and the lock; an agent's sandboxes and models come on top."""

SPARE: Final = 256
"""For everything else of the process."""

_going_on: set[int] = set()
_numbers = count()


@contextmanager
def room_for_a_run() -> Generator[None]:
    """See that one more run can hold its files open while the block runs.

    A process may raise its own limit up to the system's. That is done once it is needed, and stays.

    Raises:
        UsageError: there is no room for so many runs at once.
    """
    number = next(_numbers)
    _going_on.add(number)
    try:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if (limit := wanted(len(_going_on), soft, hard)) > soft:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        yield
    finally:
        _going_on.discard(number)


def wanted(runs: int, soft: int, hard: int) -> int:
    """Return the limit of open files that so many runs need, at least the one that there is.

    Args:
        runs: those that go on at once.
        soft: the process's limit.
        hard: how far it may be raised; below 0 where there is no end.

    Raises:
        UsageError: not far enough.
    """
    needed = SPARE + FILES_PER_RUN * runs
    if needed <= soft or soft < 0:
        return soft
    if 0 <= hard < needed and FILES_PER_RUN * runs > hard:
        raise UsageError(
            f"{runs} runs at once need some {needed} open files, and the system allows {hard}: run fewer at once, or raise the limit "
            "(ulimit -n)"
        )
    return min(2 * needed, hard) if hard >= 0 else 2 * needed
