"""Success rates that are too small to be seen in a fixed number of samples: sample until enough succeeded."""

from __future__ import annotations

from ..core.errors import UsageError
from .estimation import Interval, at_most, solve


def success_rate(successes: int, samples: int, *, until: int | None = None, confidence: float = 0.95) -> Interval:
    """Return the rate of success with an exact interval, also where no sample succeeded.

    Sampled `until` so many successes, the number of samples follows the negative binomial law: successes/samples is too high,
    (r-1)/(K-1) is unbiased (Haldane 1945; Hu et al. 2024 predict from such rates what larger models will do, PassUntil). Where
    a cap came first, or the number of samples was fixed (`until` None), it is the binomial law and Clopper & Pearson (1934).

    Args:
        successes: how many succeeded.
        samples: how many there were; the last one succeeded where `until` was reached.
        until: number of successes at which sampling stopped.
        confidence: of the interval.

    Raises:
        UsageError: the counts do not fit each other.
    """
    if not 0 <= successes <= samples or samples < 1 or (until is not None and not max(1, successes) <= until):
        raise UsageError(f"success_rate({successes=}, {samples=}, {until=}): these cannot go together")
    tail = (1 - confidence) / 2
    stopped = until is not None and successes == until
    low = 0.0 if successes == 0 else solve(lambda p: 1 - at_most(successes - 1, samples, p), tail)
    # Of the samples before the last success one fewer succeeded; with a fixed number all of them count.
    trials, most = (samples - 1, successes - 1) if stopped else (samples, successes)
    high = 1.0 if most >= trials else solve(lambda p: 1 - at_most(most, trials, p), 1 - tail)
    estimate = (successes - 1) / (samples - 1) if stopped and successes > 1 else successes / samples
    return Interval(estimate, low, high, confidence)


def samples_needed(rate: float, successes: int) -> int:
    """Return how many samples it takes on average until `successes` of them succeeded.

    Raises:
        UsageError: `rate` is not in (0, 1].
    """
    if not 0 < rate <= 1:
        raise UsageError(f"rate={rate!r} must lie in (0, 1]")
    return -int(-successes // rate)
