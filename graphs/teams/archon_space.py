"""The Archons among which an architecture is searched: choices, and how a choice of each becomes layers that are allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...core.errors import UsageError
from ...core.protocols import Model
from ...core.types import JSON
from ...verifiers import Judge, Listwise, WrittenTests
from ...verifiers.ordering import MOST_ORDERED
from .archon import Archon
from .components import (
    Checker,
    Component,
    Critic,
    Fuser,
    Generator,
    Ranker,
    UnitTestEvaluator,
    UnitTestWriter,
)

Choices = Mapping[str, Sequence[JSON]]
"""What is to be chosen, by name: the values there are."""


@dataclass(frozen=True)
class Space:
    """Which Archons are tried (Saad-Falcon et al. 2024, inference-time architecture search: generators, fusers and what stands between).

    A choice of each makes layers in this order: generators, unit tests, checker, critic, ranker, layers of fusers. What makes no
    sense together is repaired before anything is run: somebody makes a candidate, a ranker keeps no more than there are, one candidate is not ranked, several at
    the end are ranked. Repaired choices that come to the same Archon are run once.

    Args:
        models: those of generators, fusers and judges; None is the agent's own.
        samples: candidates from each model; 0 leaves a model out.
        temperatures: of generators; None is the agent's own.
        tests: candidates that unit tests keep; 0 for none.
        checked: whether candidates are checked.
        criticised: whether a critic speaks before the ranker, or before the first fuser.
        ranked: candidates that a ranker keeps; 0 for none.
        fusions: layers of fusers.
        fusers: fusers in each of these layers but the last, which has one.
        written: the unit tests.
        most_calls: searches and calls of an Archon at most; what needs more is not run.

    Raises:
        UsageError: there is nothing to choose from.
    """

    models: Sequence[str | Model | None] = (None,)
    samples: Sequence[int] = (0, 1, 2, 4, 8)
    temperatures: Sequence[float | None] = (None,)
    tests: Sequence[int] = (0, 1, 3)
    checked: Sequence[bool] = (False, True)
    criticised: Sequence[bool] = (False, True)
    ranked: Sequence[int] = (0, 1, 3, 5)
    fusions: Sequence[int] = (0, 1, 2)
    fusers: Sequence[int] = (1, 2, 4)
    written: WrittenTests = field(default_factory=WrittenTests)
    most_calls: int | None = None

    def __post_init__(self) -> None:
        if not self.models or max(self.samples, default=0) < 1:
            raise UsageError(f"Space(models={self.models!r}, samples={self.samples!r}): somebody must make a candidate")
        for name, given in self.choices.items():
            if not given or (name != "temperature" and min(given) < 0):
                raise UsageError(
                    f"Space: of {name!r} there must be something to choose, nothing of it below 0: {given!r}"
                )
        if len(self.models) * max(self.samples) > MOST_ORDERED:
            raise UsageError(
                f"Space(models={len(self.models)} of them, samples={tuple(self.samples)}) makes more than {MOST_ORDERED} candidates, too many "
                "for one prompt; take fewer models or samples"
            )

    @property
    def choices(self) -> Choices:
        """What is to be chosen, one value of each; what there is no choice of is left out by nobody: it has one value."""
        models = range(len(self.models))
        return {
            **{f"samples {self.called(number)}": tuple(self.samples) for number in models},
            "temperature": tuple(self.temperatures),
            "tests": tuple(self.tests),
            "checked": tuple(self.checked),
            "criticised": tuple(self.criticised),
            "ranked": tuple(self.ranked),
            "fusions": tuple(self.fusions),
            "fusers": tuple(self.fusers),
            "fuser": tuple(models),
            "judge": tuple(models),
        }

    @property
    def size(self) -> int:
        """How many combinations of choices there are; repaired ones coincide."""
        total = 1
        for values in self.choices.values():
            total *= len(values)
        return total

    def called(self, number: int) -> str:
        """Return how views call a model."""
        model = self.models[number]
        name = "own" if model is None else model if isinstance(model, str) else model.name
        return name if [self.models[place] for place in range(number)].count(model) == 0 else f"{name} {number + 1}"

    def archon(self, chosen: Mapping[str, JSON]) -> Archon:
        """Return the Archon that a choice of each comes to.

        Raises:
            UsageError: it needs too many calls.
        """
        generators = self._generators(chosen)
        count = sum(generator.samples for generator in generators)
        archon = Archon([generators, *(self._between(chosen, count) if count > 1 else []), *self._fusions(chosen)])
        if self.most_calls is not None and archon.calls > self.most_calls:
            raise UsageError(f"{archon.calls} calls are more than most_calls={self.most_calls}")
        return archon

    def single_layers(self) -> list[dict[str, JSON]]:
        """Return the plainest choices, which any other has to beat: one generation of each model, and many with each one way to choose."""
        plain: dict[str, JSON] = {name: min(values, key=_plainness) for name, values in self.choices.items()}
        found: list[dict[str, JSON]] = []
        for number in range(len(self.models)):
            alone = {**plain, **{f"samples {self.called(n)}": 0 for n in range(len(self.models))}}
            mine = f"samples {self.called(number)}"
            alone |= {"fuser": number, "judge": number}
            found.append({**alone, mine: self._fewest})
            many = {**alone, mine: max(self.samples)}
            found += [
                {**many, name: value}
                for name, value in (("ranked", 1), ("tests", 1), ("fusions", 1))
                if value in self.choices[name]
            ]
        return [
            {name: value if value in self.choices[name] else self.choices[name][0] for name, value in one.items()}
            for one in found
        ]

    # --- layers ---

    def _generators(self, chosen: Mapping[str, JSON]) -> list[Generator]:
        temperature = chosen["temperature"]
        samples = [chosen[f"samples {self.called(number)}"] for number in range(len(self.models))]
        if not any(samples):
            samples[0] = self._fewest
        return [
            Generator(model, count, temperature) for model, count in zip(self.models, samples, strict=True) if count
        ]

    @property
    def _fewest(self) -> int:
        """The smallest number of samples that makes a candidate."""
        return min(count for count in self.samples if count > 0)

    def _between(self, chosen: Mapping[str, JSON], count: int) -> list[Component]:
        """Return what chooses among several candidates."""
        judge = self.models[int(chosen["judge"])]
        layers: list[Component] = []
        fused, ranked = bool(chosen["fusions"]), int(chosen["ranked"])
        if chosen["tests"]:
            count = min(count, chosen["tests"])
            # Where nothing comes after, one is left.
            count = count if fused or ranked or chosen["checked"] else 1
            layers += [UnitTestWriter(replace(self.written, model=judge)), UnitTestEvaluator(top=count)]
        if chosen["checked"] and count > 1:
            layers.append(Checker(Judge(argue=True, accept=0.5, model=judge)))
        ranks = count > 1 and (ranked > 0 or not fused)
        if chosen["criticised"] and (ranks or fused):
            layers.append(Critic(judge))
        if ranks:
            by = Listwise(form="order", k=1, said=True, model=judge)
            layers.append(Ranker(min(ranked, count) if fused else 1, by))
        return layers

    def _fusions(self, chosen: Mapping[str, JSON]) -> list[Component]:
        model = self.models[int(chosen["fuser"])]
        layers = int(chosen["fusions"])
        return [Fuser(model, chosen["fusers"] if layer < layers else 1) for layer in range(1, layers + 1)]


def _plainness(value: Any) -> tuple[bool, float]:
    """The order of values from the plainest on: nothing, then the fewest."""
    return value is not None, 0.0 if value is None else float(value)
