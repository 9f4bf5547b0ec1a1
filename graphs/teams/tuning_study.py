"""The optimiser behind a search for a configuration, and what it keeps: Optuna's study, in SQLite."""

from __future__ import annotations

import hashlib
import random
import sqlite3
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ...core.errors import UsageError
from ...core.keys import canonical_json, derive_seed
from ...core.types import JSON

if TYPE_CHECKING:
    import optuna

    from .tuning import Row, Tuner

STALE = 3
"""Every so many proposals in a row that were nothing new, one is made by chance."""

REDRAWN = 0.35
"""How much of it is: the share of its choices."""

HALVING = 3
"""One in so many goes on to the next, larger number of items."""


def rungs(items: int) -> list[int]:
    """Return the numbers of items after which a configuration has to be among the best: all, a third, a ninth, ... and at least four."""
    found = [items]
    while found[0] // HALVING >= 4:
        found.insert(0, found[0] // HALVING)
    return found


class Study:
    """The optimiser of a search and its storage.

    Args:
        of: the search.

    Raises:
        UsageError: Optuna is not installed, or another search is kept in this place.
    """

    def __init__(self, of: Tuner[Any]) -> None:
        try:
            import optuna  # an extra, and it takes its time to load
        except ImportError as error:
            raise UsageError("a search for an architecture needs Optuna: pip install 'branchwise[tune]'") from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna
        self.of = of

    def __enter__(self) -> Self:
        of, library = self.of, self._optuna
        self._storage = None
        if of.store is not None:
            of.store.parent.mkdir(parents=True, exist_ok=True)
            self._storage = library.storages.RDBStorage(
                f"sqlite:///{of.store}", engine_kwargs={"creator": partial(_connected, of.store)}
            )
        self.study: optuna.study.Study = library.create_study(
            study_name="archon",
            storage=self._storage,
            load_if_exists=True,
            direction="maximize",
            pruner=library.pruners.SuccessiveHalvingPruner(min_resource=rungs(of.items)[0], reduction_factor=HALVING),
        )
        earlier = self.study.get_trials(deepcopy=False)
        # One that goes on draws on: what it has drawn before it knows.
        seed = derive_seed(of.seed, len(earlier))
        startup = max(10, 2 * len(of.choices))
        self.study.sampler = (
            library.samplers.RandomSampler(seed=seed)
            if of.by == "random"
            else library.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=startup)
        )
        self._same_as_before()
        for trial in earlier:
            if trial.state == library.trial.TrialState.RUNNING:  # a kill cut it off: once more
                self.study.tell(trial.number, state=library.trial.TrialState.FAIL)
                self.study.enqueue_trial(trial.params)
        if not earlier:
            for chosen in of.first:
                self.study.enqueue_trial(dict(chosen))
        return self

    def __exit__(self, *_: object) -> None:
        if self._storage is not None:
            self._storage.remove_session()
            self._storage.engine.dispose()

    def _same_as_before(self) -> None:
        """Refuse to go on with another search than the one that was begun.

        Raises:
            UsageError: it is another.
        """
        of = self.of
        asked = {
            "about": of.about,
            "choices": {name: [*values] for name, values in of.choices.items()},
            "items": of.items,
            "fresh": of.fresh,
            "seed": of.seed,
        }
        mark = hashlib.sha256(canonical_json(asked)).hexdigest()
        if (known := self.study.user_attrs.get("search", mark)) != mark:
            raise UsageError(
                f"{of.store} holds a search among other choices, with other items or another seed ({known[:8]}, this is {mark[:8]}); go on with "
                "the same, or take another place for a new one"
            )
        self.study.set_user_attr("search", mark)

    def ask(self, stale: int) -> tuple[optuna.Trial, dict[str, JSON]]:
        """Return the next proposal.

        Args:
            stale: how many proposals in a row were nothing new: the optimiser has settled, and every third time some of what it settled on
                is drawn anew.
        """
        if stale % STALE == STALE - 1:
            self._stir()
        trial = self.study.ask()
        return trial, {name: trial.suggest_categorical(name, values) for name, values in self.of.choices.items()}

    def _stir(self) -> None:
        """Have the best proposal so far made next with about a third of its choices drawn anew."""
        trials = self.study.get_trials(deepcopy=False)
        rng = random.Random(derive_seed(self.of.seed, f"stir {len(trials)}"))  # noqa: S311 - chance, not secrecy
        known = [trial for trial in trials if trial.state == self._optuna.trial.TrialState.COMPLETE]
        best = max(known, key=lambda trial: trial.value or 0.0).params if known else {}
        self.study.enqueue_trial(
            {
                name: rng.choice(list(values)) if name not in best or rng.random() < REDRAWN else best[name]
                for name, values in self.of.choices.items()
            }
        )

    def tell(self, trial: optuna.Trial, row: Row, *, value: float | None) -> None:
        """Keep what came of a proposal: its value, or the last of those that it reported."""
        state = self._optuna.trial.TrialState
        trial.set_user_attr("row", asdict(row))
        ended = state.COMPLETE if value is not None else state.PRUNED if row.outcome == "halved" else state.FAIL
        self.study.tell(trial, value, state=ended)


def _connected(store: Path) -> sqlite3.Connection:
    """Return a connection that does not wait for the disk: what a process wrote is there when it dies, if not the machine."""
    connection = sqlite3.connect(store)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection
