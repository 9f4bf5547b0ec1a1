"""Other ways of putting a task: examples before it, its options shuffled, its symbols exchanged. Answers are mapped back.

An agent's `variants` are used by strategies that ask in several ways and take what the answers agree on, for example
`SelfConsistency(n=5, variants=5)`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..core.errors import UsageError
from ..core.protocols import Variant
from ..core.types import Task
from ..search.bayes_risk import Likeness, similarity
from .examples import Example, load_examples, save_examples, solved_examples
from .prompts import fill

__all__ = [
    "Example",
    "FewShot",
    "Shuffled",
    "Together",
    "Transformed",
    "load_examples",
    "medprompt",
    "relabelled",
    "save_examples",
    "solved_examples",
]

_OPTION = re.compile(r"^(?P<before>[ \t]*\(?)(?P<label>[A-Z])(?P<after>[).:][ \t]+)(?P<text>\S.*)$", re.MULTILINE)

_LETTERS = [
    re.compile(r"\\boxed\s*\{\s*\(?([A-Z])\b"),
    re.compile(r"\b(?i:answer)\s*(?:is|:|=)[\s*:(]*([A-Z])\b"),
    re.compile(r"\(([A-Z])\)"),
    re.compile(r"(?<![\w'])([A-Z])(?![\w'])"),
]
"""Where an answer names its letter, the surest first; the last match of the first that matches counts."""


@dataclass(frozen=True)
class FewShot:
    """Put the `k` examples before the task that are most like it: nearest neighbours, the nearest last.

    Brown et al. (2020); with examples that the model solved itself (`solved_examples`) and chosen by similarity it is the first
    half of Medprompt (Nori et al. 2023). Models that reason by themselves get worse by examples: leave it out for them.

    Args:
        examples: what to choose from; the task itself is never shown as its own example.
        k: how many are shown, >= 1.
        how: how alike two prompts are; a function, for example of embeddings, tells more than words do.
    """

    examples: Sequence[Example]
    k: int = 5
    how: Likeness = "words"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"k={self.k!r}; show at least 1 example")
        if not self.examples:
            raise UsageError("no examples to choose from; solved_examples(agent, tasks) makes some")

    @property
    def name(self) -> str:
        """How many."""
        return f"{self.k} examples"

    def nearest(self, prompt: str) -> list[Example]:
        """Return the examples that are most like a prompt, the nearest last."""
        words = sorted(prompt.split())  # in whatever order its options stand
        others = [example for example in self.examples if sorted(example.prompt.split()) != words]
        ranked = sorted(others, key=lambda example: -similarity(self.how, example.prompt, prompt))
        return ranked[: self.k][::-1]

    def put(self, task: Task, seed: int) -> Task:  # noqa: ARG002 - nothing is drawn
        """Return the task with examples before it."""
        shown = "\n\n".join(example.shown() for example in self.nearest(task.prompt))
        return task.model_copy(update={"prompt": fill("examples", examples=shown, task=task.prompt)}) if shown else task

    def back(self, answer: str, task: Task, seed: int) -> str:  # noqa: ARG002 - the protocol's signature
        """Return the answer: it means what it says."""
        return answer


@dataclass(frozen=True)
class Shuffled:
    """Shuffle the options of a multiple-choice task, and map the answer's letter back: a model that likes A is cured of it.

    Options are lines such as "A) ...", "(B) ..." or "C. ...", in the order of the alphabet. In the answer the letter counts
    that it names last, in a box, after "answer is", in brackets, or alone; the words before it are left as they are.

    Args:
        number: which shuffle; give every variant another.
    """

    number: int = 0

    @property
    def name(self) -> str:
        """Which one."""
        return f"shuffle {self.number}"

    def put(self, task: Task, seed: int) -> Task:
        """Return the task with its options in another order.

        Raises:
            UsageError: it has no options.
        """
        options, order = _options(task.prompt), self._order(task, seed)
        texts = iter([options[place]["text"] for place in order])
        lines = {match.start(): f"{match['before']}{match['label']}{match['after']}{next(texts)}" for match in options}
        prompt = _OPTION.sub(lambda match: lines.get(match.start(), match[0]), task.prompt)
        return task.model_copy(update={"prompt": prompt})

    def back(self, answer: str, task: Task, seed: int) -> str:
        """Return the answer with the letter of the option as the task has it; as it is where it names none."""
        labels = [match["label"] for match in _options(task.prompt)]
        found = _letter(answer, labels)
        if found is None:
            return answer
        start, letter = found
        return answer[:start] + labels[self._order(task, seed)[labels.index(letter)]] + answer[start + 1 :]

    def _order(self, task: Task, seed: int) -> list[int]:
        """Which of the task's options stands at each place."""
        order = list(range(len(_options(task.prompt))))
        random.Random(f"{seed} shuffle {self.number}").shuffle(order)  # noqa: S311 - no secret
        return order


@dataclass(frozen=True)
class Transformed:
    """Put the task through a function of its text that another undoes: rotated grids, renamed variables, clauses in another order.

    A mistake that hangs on the surface of a task is made in some forms of it and not in others (the ensembling of puzzles
    under symmetries goes back to Krizhevsky et al. 2012 and before).

    Args:
        name: what views call it.
        change: from the task's text to the changed one; also given a seed.
        undo: from the changed text to the original; also given the seed. Every task is checked for that.
        answer: from an answer to the changed task to one of the task; `undo` unless given.
    """

    name: str
    change: Callable[[str, int], str]
    undo: Callable[[str, int], str]
    answer: Callable[[str, int], str] | None = None

    def put(self, task: Task, seed: int) -> Task:
        """Return the changed task.

        Raises:
            UsageError: `undo` does not give the task back, so answers could not be trusted either.
        """
        changed = self.change(task.prompt, seed)
        if (again := self.undo(changed, seed)) != task.prompt:
            place = next((i for i, (a, b) in enumerate(zip(again, task.prompt, strict=False)) if a != b), len(again))
            raise UsageError(
                f"variant {self.name!r} cannot be undone: from character {place} on the task reads {task.prompt[place : place + 40]!r} "
                f"and comes back as {again[place : place + 40]!r}"
            )
        return task.model_copy(update={"prompt": changed})

    def back(self, answer: str, task: Task, seed: int) -> str:  # noqa: ARG002 - the protocol's signature
        """Return the answer as one to the task."""
        return (self.answer or self.undo)(answer, seed)


def relabelled(symbols: Sequence[str], number: int = 0) -> Transformed:
    """Return a variant that exchanges symbols for each other, in the task and back in the answer.

    Args:
        symbols: what is exchanged: words, as wholes, or single characters that are no words (digits of a puzzle), everywhere.
        number: which exchange; give every variant another.

    Raises:
        UsageError: fewer than two symbols, or one twice.
    """
    if len(symbols) < 2 or len(set(symbols)) < len(symbols) or not all(symbols):
        raise UsageError(f"symbols={symbols!r}; give at least two, each once")
    single = all(len(symbol) == 1 and not symbol.isalpha() for symbol in symbols)
    either = "|".join(re.escape(symbol) for symbol in sorted(symbols, key=len, reverse=True))
    pattern = re.compile(either if single else rf"(?<!\w)(?:{either})(?!\w)")

    def exchange(text: str, seed: int, *, undo: bool) -> str:
        others = list(symbols)
        random.Random(f"{seed} relabel {number}").shuffle(others)  # noqa: S311 - no secret
        pairs = zip(others, symbols, strict=True) if undo else zip(symbols, others, strict=True)
        table = dict(pairs)
        return pattern.sub(lambda match: table[match[0]], text)

    return Transformed(
        f"relabelled {number}",
        lambda text, seed: exchange(text, seed, undo=False),
        lambda text, seed: exchange(text, seed, undo=True),
    )


@dataclass(frozen=True)
class Together:
    """Several variants one after the other.

    Args:
        variants: the first is applied first.
    """

    variants: Sequence[Variant]

    @property
    def name(self) -> str:
        """All of them."""
        return ", ".join(variant.name for variant in self.variants)

    def put(self, task: Task, seed: int) -> Task:
        """Return the task as all of them put it."""
        return self._stages(task, seed)[-1]

    def back(self, answer: str, task: Task, seed: int) -> str:
        """Return the answer as one to the task, the last variant undone first."""
        for variant, before in reversed(list(zip(self.variants, self._stages(task, seed), strict=False))):
            answer = variant.back(answer, before, seed)
        return answer

    def _stages(self, task: Task, seed: int) -> list[Task]:
        stages = [task]
        for variant in self.variants:
            stages.append(variant.put(stages[-1], seed))
        return stages


def medprompt(
    examples: Sequence[Example], *, ensemble: int = 5, k: int = 5, how: Likeness = "words", reasons: bool = False
) -> tuple[Variant, ...]:
    """Return the variants of Medprompt (Nori et al. 2023): similar solved examples, and shuffled options, `ensemble` times.

    `Agent(variants=medprompt(examples), search=SelfConsistency(n=5, variants=5), ...)`.

    Args:
        examples: solved by the model itself (`solved_examples`).
        ensemble: number of shuffles, >= 1.
        k: examples that are shown.
        how: how alike two prompts are.
        reasons: the model reasons by itself: no examples then, they make such models worse (Nori et al. 2024); the shuffles stay.
    """
    if ensemble < 1:
        raise UsageError(f"ensemble={ensemble!r}; at least 1 variant is needed")
    if reasons:
        return tuple(Shuffled(number) for number in range(ensemble))
    few = FewShot(examples, k, how)
    return tuple(Together((Shuffled(number), few)) for number in range(ensemble))


def _options(prompt: str) -> list[re.Match[str]]:
    """Return the options of a task: the last run of lines labelled A, B, C, and so on.

    Raises:
        UsageError: there are fewer than two.
    """
    run: list[re.Match[str]] = []
    best: list[re.Match[str]] = []
    for match in _OPTION.finditer(prompt):
        if match["label"] == "A":
            run = []
        if match["label"] == chr(ord("A") + len(run)):
            run.append(match)
            best = run
    if len(best) < 2:
        raise UsageError(
            "the task has no options to shuffle; write them as lines such as 'A) ...', 'B) ...', or leave Shuffled out"
        )
    return best


def _letter(answer: str, labels: Sequence[str]) -> tuple[int, str] | None:
    """Return where an answer names its letter, and which."""
    for pattern in _LETTERS:
        found = [(match.start(1), match[1]) for match in pattern.finditer(answer) if match[1] in labels]
        if found:
            return found[-1]
    return None
