"""Searching among configurations under a cost cap: proposals by a model of what was seen, measured on ever more items.

Knows nothing of agents: what a configuration is, and how it is measured on an item, is given.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from pydantic import TypeAdapter

from ...core.budget import LIMITS, Ledger
from ...core.errors import UsageError
from ...core.types import JSON, NO_USAGE, Budget, Usage
from .tuning_study import Study, rungs

if TYPE_CHECKING:
    import optuna

C = TypeVar("C")
C_contra = TypeVar("C_contra", contravariant=True)

PLAINEST = 3
"""How many of the configurations to begin with are compared at the end in any case."""

PATIENCE = 200
"""After so many proposals in a row that were known or not allowed, nothing new is expected any more."""

_USAGE: TypeAdapter[Usage] = TypeAdapter(Usage)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a configuration came to on one item."""

    score: float
    """In [0, 1]; higher is better."""
    usage: Usage = NO_USAGE
    short: bool = False
    """Whether what was left of the cap cut it off: it is paid for and does not count."""


class Measure(Protocol[C_contra]):
    """Measures a configuration on an item. The same item has the same seed for every configuration."""

    async def __call__(self, configuration: C_contra, item: int, budget: Budget, notes: Notes) -> Measured:
        """Return what came of it.

        Args:
            configuration: what is measured.
            item: number of the item.
            budget: what it may spend at most.
            notes: what is noted there is there again after a kill, until the measurement is done.
        """
        ...


@dataclass(frozen=True)
class Notes:
    """What a measurement has noted for the case that it is cut off."""

    known: str | None
    """What an earlier process noted."""
    note: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One configuration in the log of a search."""

    number: int
    """Of the proposal."""
    configuration: str
    """`repr`; empty where it was not allowed."""
    score: float | None
    """Mean over the items that it was measured on; None where it was not."""
    items: int
    outcome: Literal["whole", "halved", "known", "refused", "short"]
    """Measured on all items; stopped early for being worse than others; known from before; not allowed; cut off by the cap."""
    spent: float
    """What had been spent by then, of the cap's tightest limit, in [0, 1]; without a cap in measurements."""
    best: float | None
    """Highest mean over all items so far."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Finalist(Generic[C]):
    """One of the best configurations, measured once more on items that nobody had chosen it by."""

    configuration: C
    score: float
    """Mean over the items of the search: too good, since it was chosen for it."""
    fresh: float | None
    """Mean over fresh items; None where there were none, or nothing was left to spend."""
    fresh_items: int
    usage: Usage
    """Mean over all its measurements."""


@dataclass(frozen=True)
class Tuned(Generic[C]):
    """What a search came to."""

    best: C
    finalists: Sequence[Finalist[C]]
    """The best first, by fresh items."""
    rows: Sequence[Row]
    usage: Usage
    detail: str
    """Why it ended."""


@dataclass
class Tuner(Generic[C]):
    """Proposes configurations, measures them, and gives the best.

    Proposals are made by a tree-structured Parzen estimator over all choices together (Bergstra et al. 2011; Falkner et al. 2018), once there are
    enough random ones to learn from; the paper's Gaussian process needs a tensor library and did no better here. Each is measured
    on ever more items, and goes on only if it is among the best third of those that came so far (asynchronous successive halving,
    Li et al. 2020); those to begin with are measured whole. At the end the best few, and the
    best three of those to begin with, are measured on fresh items: the highest of many means is too high.

    Args:
        choices: what is to be chosen.
        build: makes a configuration of a choice of each; a `UsageError` says why there is none. Two that have the same `repr` are the same.
        measure: measures one.
        items: number of items to search by, >= 1.
        fresh: number of further items for the last comparison, >= 0.
        budget: cap over all measurements.
        trials: proposals at most; None for as many as the cap allows.
        first: choices to begin with, the plainest: measured on all items, for they are what others have to beat.
        finalists: how many are compared at the end, >= 1.
        reserve: part of the cap that is kept for them, in [0, 1).
        at_once: measurements in progress at once, >= 1.
        by: who proposes: `tpe`, or `random` to compare with.
        seed: of the proposals.
        store: SQLite file in which the search is kept, to go on with it; None forgets.
        listener: told every row.
        about: what else has to be the same when a search that is kept goes on.
    """

    choices: Mapping[str, Sequence[JSON]]
    build: Callable[[Mapping[str, JSON]], C]
    measure: Measure[C]
    items: int
    fresh: int = 0
    budget: Budget = field(default_factory=Budget)
    trials: int | None = None
    first: Sequence[Mapping[str, JSON]] = ()
    finalists: int = 5
    reserve: float = 0.3
    at_once: int = 4
    by: Literal["tpe", "random"] = "tpe"
    seed: int = 0
    store: Path | None = None
    listener: Callable[[Row], None] = lambda _row: None
    about: JSON = None

    def __post_init__(self) -> None:
        if min(self.items, self.at_once, self.finalists) < 1 or self.fresh < 0 or not 0 <= self.reserve < 1:
            raise UsageError(
                f"items={self.items}, at_once={self.at_once}, finalists={self.finalists} must be at least 1, fresh={self.fresh} at least 0, "
                f"reserve={self.reserve} in [0, 1)"
            )
        if self.trials is None and not any(getattr(self.budget, name) for name in LIMITS):
            raise UsageError(
                "a search for an architecture needs an end: give trials=, or a budget in tokens, calls or usd"
            )

    async def run(self) -> Tuned[C]:
        """Search until the cap is reached, the trials are made, or nothing new is proposed."""
        with Study(self) as study:
            return await _Run(self, study).whole()


class _Run(Generic[C]):
    """One process's part of a search."""

    def __init__(self, of: Tuner[C], study: Study) -> None:
        self.of = of
        self.study = study
        self.attrs: dict[str, Any] = study.study.user_attrs
        self.rows = [
            Row(**trial.user_attrs["row"])
            for trial in study.study.get_trials(deepcopy=False)
            if "row" in trial.user_attrs
        ]
        self.ledger = Ledger(of.budget)
        self.usage = NO_USAGE
        self.measured = 0
        for name, kept in self.attrs.items():
            if name.startswith("item "):
                self._charge(_USAGE.validate_python(kept["usage"]))
        self.known: dict[str, C] = {}
        self.first = {repr(one) for chosen in of.first if not isinstance(one := self._build(chosen), str)}
        self.values: dict[str, float] = {}
        """Means over all items, by configuration."""
        for row in self.rows:
            if row.outcome == "whole" and row.score is not None:
                self.values[row.configuration] = row.score

    def _charge(self, usage: Usage) -> None:
        self.ledger.charge(usage)
        self.usage += usage
        self.measured += 1

    # --- measuring ---

    async def _measured(self, configuration: C, item: int, part: float) -> Measured:
        """Return what a configuration comes to on an item; measured once, with a part of what is left."""
        digest = hashlib.sha256(repr(configuration).encode()).hexdigest()[:16]
        name, running = f"item {digest} {item}", f"running {digest} {item}"
        if (kept := self.attrs.get(name)) is not None and not kept["short"]:
            return Measured(kept["score"], _USAGE.validate_python(kept["usage"]))
        budget = self.ledger.share(part)
        notes = Notes(self.attrs.get(running), lambda text: self._keep(running, text))
        found = await self.of.measure(configuration, item, budget, notes)
        before = NO_USAGE if kept is None else _USAGE.validate_python(kept["usage"])
        self._charge(found.usage)
        usage = {field: value for field, value in asdict(found.usage + before).items() if value}
        self._keep(name, {"score": found.score, "usage": usage, "short": found.short})
        return found

    def _keep(self, name: str, value: JSON) -> None:
        self.attrs[name] = value
        self.study.study.set_user_attr(name, value)

    async def _scores(self, wanted: Sequence[tuple[C, int]]) -> list[Measured]:
        """Return what configurations come to on items, a few at once; not all of them where the cap cuts one off."""
        found: list[Measured] = []
        for begin in range(0, len(wanted), self.of.at_once):
            batch = wanted[begin : begin + self.of.at_once]
            found += await asyncio.gather(*(self._measured(one, item, 1 / len(batch)) for one, item in batch))
            if any(one.short for one in found):
                break
        return found

    # --- searching ---

    async def whole(self) -> Tuned[C]:
        """Search, then compare the best on fresh items."""
        detail = await self._search()
        ranked = sorted(self.values, key=lambda key: -self.values[key])
        if not ranked:
            raise UsageError(
                f"no configuration was measured on all {self.of.items} items ({detail}); give a larger budget, fewer items, or a space with cheaper ones"
            )
        finalists = await self._finals([key for key in ranked if key in self.known])
        return Tuned(finalists[0].configuration, finalists, self.rows, self.usage, detail)

    async def _search(self) -> str:
        """Measure proposals until there is an end; return why."""
        for chosen in self._earlier():
            self._build(chosen)
        stale = 0
        while True:
            if (left := self.ledger.share_left) is not None and left <= self.of.reserve:
                return (
                    "the cap was reached"
                    if self.of.reserve == 0
                    else "the cap was reached but for what is kept for the last comparison"
                )
            if self.of.trials is not None and len(self.rows) >= self.of.trials:
                return f"{self.of.trials} proposals were made"
            if stale >= PATIENCE:
                return f"{PATIENCE} proposals in a row were nothing new"
            trial, chosen = self.study.ask(stale)
            row, value = await self._tried(trial, chosen)
            self.study.tell(trial, row, value=value)
            self.rows.append(row)
            self.of.listener(row)
            stale = stale + 1 if row.outcome in {"known", "refused"} else 0

    def _earlier(self) -> list[dict[str, JSON]]:
        return [trial.params for trial in self.study.study.get_trials(deepcopy=False) if "row" in trial.user_attrs]

    def _build(self, chosen: Mapping[str, JSON]) -> C | str:
        """Return the configuration that a choice comes to, or why there is none."""
        try:
            configuration = self.of.build(chosen)
        except UsageError as error:
            return str(error)
        return self.known.setdefault(repr(configuration), configuration)

    async def _tried(self, trial: optuna.Trial, chosen: Mapping[str, JSON]) -> tuple[Row, float | None]:
        """Measure a proposal; return its row, and its value where it was measured on all items."""
        configuration = self._build(chosen)
        if isinstance(configuration, str):
            return self._row("", None, 0, "refused", why=configuration), None
        key = repr(configuration)
        if (known := self.values.get(key)) is not None:
            return self._row(key, known, self.of.items, "known"), known
        scores: list[float] = []
        for rung in rungs(self.of.items):
            found = await self._scores([(configuration, item) for item in range(len(scores), rung)])
            if any(one.short for one in found):
                return self._row(key, None, len(scores), "short"), None
            scores += [one.score for one in found]
            trial.report(fmean(scores), rung)
            if rung < self.of.items and trial.should_prune() and key not in self.first:
                return self._row(key, fmean(scores), rung, "halved"), None
        self.values[key] = fmean(scores)
        return self._row(key, fmean(scores), self.of.items, "whole"), fmean(scores)

    def _row(self, key: str, score: float | None, items: int, outcome: Any, *, why: str = "") -> Row:
        left = self.ledger.share_left
        spent = float(self.measured) if left is None else 1 - left
        return Row(len(self.rows) + 1, key, score, items, outcome, spent, max(self.values.values(), default=None), why)

    # --- the end ---

    async def _finals(self, ranked: Sequence[str]) -> list[Finalist[C]]:
        """Compare the best on fresh items, all of them item by item, so that a cap that ends it cuts all alike."""
        plainest = [key for key in ranked if key in self.first][:PLAINEST]
        chosen = list(ranked[: self.of.finalists])
        chosen += [key for key in plainest if key not in chosen]
        scores: dict[str, list[float]] = {key: [] for key in chosen}
        for item in range(self.of.items, self.of.items + self.of.fresh):
            if self.ledger.share_left == 0.0:
                break
            found = await self._scores([(self.known[key], item) for key in chosen])
            if any(measured.short for measured in found):
                break
            for key, measured in zip(chosen, found, strict=True):
                scores[key].append(measured.score)
        finalists = {key: self._finalist(key, scores[key]) for key in chosen}
        order = sorted(chosen, key=lambda key: _merit(finalists[key]))
        # The best of the plainest, by all that is known of each, has to be beaten where nobody was chosen for luck, by more than a
        # standard error (Breiman et al. 1984).
        plain = max(plainest, key=lambda key: self._mean(key, scores[key]), default=None)
        if plain is not None and not _beats(scores[order[0]], scores[plain]):
            order = [plain, *(key for key in order if key != plain)]
        return [finalists[key] for key in order]

    def _mean(self, key: str, fresh: Sequence[float]) -> float:
        """Return the mean over all items, those of the search and fresh ones."""
        return (self.values[key] * self.of.items + sum(fresh)) / (self.of.items + len(fresh))

    def _finalist(self, key: str, fresh: Sequence[float]) -> Finalist[C]:
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]
        kept = [
            _USAGE.validate_python(value["usage"])
            for name, value in self.attrs.items()
            if name.startswith(f"item {digest} ")
        ]
        mean = Usage(**{name: _mean(value, len(kept)) for name, value in asdict(sum(kept, NO_USAGE)).items()})
        return Finalist(self.known[key], self.values[key], fmean(fresh) if fresh else None, len(fresh), mean)


def _mean(total: float, count: int) -> Any:
    """Return a mean of what a ledger counts, whole numbers staying whole."""
    mean = total / max(1, count)
    return round(mean) if isinstance(total, int) else mean


def _merit(one: Finalist[Any]) -> tuple[float, float, int]:
    """The order of finalists, the best first: by fresh items, then by those of the search, then the cheaper."""
    return -(one.score if one.fresh is None else one.fresh), -one.score, one.usage.tokens


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether scores on the same items are higher by more than a standard error; without items nobody knows, and it counts as so."""
    gains = [a - b for a, b in zip(one, other, strict=True)]
    if len(gains) < 2:
        return not gains or gains[0] > 0
    return fmean(gains) > stdev(gains) / sqrt(len(gains))
