"""Variants of a task: examples, shuffled options, exchanged symbols; answers mapped back; Medprompt and invariance ensembling."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import branchwise as bw
from branchwise.agents.examples import Example, load_examples, save_examples, solved_examples
from branchwise.agents.variants import FewShot, Shuffled, Together, Transformed, medprompt, relabelled
from branchwise.core.simulated.steps import uniform
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest, Task
from branchwise.search import PerplexityConsistency, SelfConsistency
from branchwise.search.equivalence import final, grouped

CITIES = ["Rome", "Oslo", "Lima", "Cairo"]


def question(texts: list[str]) -> str:
    """Return a multiple-choice task."""
    return "Which one?\n" + "\n".join(f"{'ABCD'[i]}) {text}" for i, text in enumerate(texts))


def told(prompt: str) -> dict[str, str]:
    """Return the options of a prompt by their letters."""
    return dict(re.findall(r"^([A-D])\) (.*)$", prompt, re.MULTILINE))


def majority(answers: list[str]) -> str:
    """Return the answer with the most votes."""
    return answers[max(grouped(answers, "exact"), key=len)[0]]


# --- options ---


@settings(max_examples=50, deadline=None)
@given(st.permutations(CITIES), st.integers(0, 9), st.integers(0, 1000), st.sampled_from("ABCD"))
def test_the_letter_comes_back_as_the_same_option(texts: list[str], number: int, seed: int, letter: str) -> None:
    """Whatever option an answer names in the shuffled task, mapped back it is the same one's letter in the task."""
    task, variant = Task(prompt=question(texts)), Shuffled(number)
    put = variant.put(task, seed)
    assert sorted(told(put.prompt).values()) == sorted(CITIES)
    for said in (letter, f"The answer is ({letter}).", f"A or B? \\boxed{{{letter}}}", f"So I take ({letter})."):
        back = variant.back(said, task, seed)
        (meant,) = re.findall(r"[A-D]", final(back)) if "boxed" in back else re.findall(r"(?<!\w)[A-D](?!\w)", back)
        assert told(task.prompt)[meant] == told(put.prompt)[letter]


def test_shuffles_differ_and_are_repeatable() -> None:
    """Another number or another seed is another order; the same ones are the same."""
    task = Task(prompt=question(CITIES))
    orders = {Shuffled(number).put(task, seed).prompt for number in range(6) for seed in range(6)}
    assert len(orders) > 12
    assert Shuffled(1).put(task, 2) == Shuffled(1).put(task, 2)


def test_only_the_options_move() -> None:
    """Text before, between and after stays; of several lists the last one with two options and more counts."""
    prompt = "A) is no list.\n\nPick:\n(A) one\n(B) two\n(C) three\nMind that B) is short."
    put = Shuffled(1).put(Task(prompt=prompt), 3).prompt
    assert put.startswith("A) is no list.\n\nPick:\n(A) ")
    assert put.endswith("\nMind that B) is short.")
    assert sorted(re.findall(r"one|two|three", put)) == ["one", "three", "two"]


def test_no_options_and_no_letter() -> None:
    """A task without options is refused; an answer without a letter stays as it is."""
    with pytest.raises(bw.UsageError, match="no options to shuffle"):
        Shuffled().put(Task(prompt="How much is 2 + 2?"), 0)
    assert Shuffled().back("I do not know", Task(prompt=question(CITIES)), 0) == "I do not know"


def likes_a(prompt: str, right: str, key: object) -> str:
    """A model that answers A in half of the cases, whatever stands there, and otherwise the right option."""
    letters = {text: label for label, text in told(prompt).items()}
    return "A" if uniform(key, prompt) < 0.5 else letters[right]


def gold_at(place: int) -> list[str]:
    """Return the options with the right one, Oslo, at a place."""
    rest = [city for city in CITIES if city != "Oslo"]
    return [*rest[:place], "Oslo", *rest[place:]]


def right_by_place(members: int, *, shuffled: bool, questions: int = 120) -> list[int]:
    """Return for each place of the right option how many of some questions are answered rightly."""
    counts = [0, 0, 0, 0]
    for place in range(4):
        task = Task(prompt=question(gold_at(place)))
        for number in range(questions):
            answers: list[str] = []
            for member in range(members):
                variant = Shuffled(member)
                put = variant.put(task, number) if shuffled else task
                said = likes_a(put.prompt, "Oslo", (number, member))
                answers.append(variant.back(said, task, number) if shuffled else said)
            counts[place] += majority(answers) == "ABCD"[place]
    return counts


def chi_square(counts: list[int], of: int) -> float:
    """Return the statistic of equal success at every place, of 3 degrees of freedom; 11.3 has probability .01."""
    expected = sum(counts) / len(counts)
    return sum((count - expected) ** 2 / (expected * (1 - expected / of) + 1e-9) for count in counts)


def test_shuffling_cures_a_bias_for_a_place() -> None:
    """With shuffles success does not depend on where the right option stands (chi-square, p > .01), without them it does."""
    shuffled, plain = right_by_place(5, shuffled=True), right_by_place(5, shuffled=False)
    assert chi_square(shuffled, 120) < 11.3
    assert chi_square(plain, 120) > 30
    assert sum(shuffled) > sum(plain) + 60


# --- symbols and other transformations ---


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet="123x. a\n", min_size=1), st.integers(0, 5), st.integers(0, 99))
def test_exchanged_digits_come_back(text: str, number: int, seed: int) -> None:
    """Digits of a puzzle are exchanged everywhere and back."""
    variant = relabelled("123", number)
    assert variant.back(variant.put(Task(prompt=f"p{text}"), seed).prompt, Task(prompt="x"), seed) == f"p{text}"


def test_words_are_exchanged_as_wholes() -> None:
    """Names within other words stay."""
    variant = relabelled(["Ann", "Bob"], 1)
    put = {variant.put(Task(prompt="Ann met Bob and Annabel."), seed).prompt for seed in range(8)}
    assert put == {"Ann met Bob and Annabel.", "Bob met Ann and Annabel."}
    with pytest.raises(bw.UsageError, match="at least two, each once"):
        relabelled(["a", "a"])


def test_what_cannot_be_undone_is_refused() -> None:
    """A transformation that loses something is found out on the first task, before an answer is believed."""
    lossy = Transformed("lower case", lambda text, _: text.lower(), lambda text, _: text.capitalize())
    assert lossy.put(Task(prompt="Fine so far"), 0).prompt == "fine so far"
    with pytest.raises(bw.UsageError, match="'lower case' cannot be undone.*character 4.*'NASA'"):
        lossy.put(Task(prompt="Ask NASA"), 0)


def test_an_answer_may_have_a_way_back_of_its_own() -> None:
    """Where answers are not written like tasks, `answer` maps them."""
    turned = Transformed("reversed", lambda t, _: t[::-1], lambda t, _: t[::-1], answer=lambda a, _: a.upper())
    assert turned.back("ab", Task(prompt="x"), 0) == "AB"


def solve(surface: str, right: str, wrong: str, trap: float) -> str:
    """A solver that a form of the puzzle traps with probability `trap`, every time it sees that form."""
    return wrong if uniform("trap", surface) < trap else right


@pytest.mark.parametrize("varied", [True, False], ids=["nine forms", "one form"])
def test_votes_over_forms_follow_the_binomial_tail(varied: bool) -> None:
    """Nine forms with traps of probability .3 are solved with 1 - B(9, .3) = .901; nine times the same form with .7."""
    trap, forms, puzzles = 0.3, 9, 400
    solved = 0
    for puzzle in range(puzzles):
        task = Task(prompt=f"puzzle {puzzle} 123456789")
        answers: list[str] = []
        for form in range(forms):
            variant = relabelled("123456789", form if varied else 0)
            forth = lambda text, v=variant: v.change(text, puzzle)  # noqa: B023, E731 - used at once
            said = solve(variant.put(task, puzzle).prompt, forth("1 right"), forth("2 wrong"), trap)
            answers.append(variant.back(said, task, puzzle))
        solved += majority(answers) == "1 right"
    tail = sum(math.comb(forms, k) * trap**k * (1 - trap) ** (forms - k) for k in range(forms // 2 + 1))
    expected = tail if varied else 1 - trap
    assert tail == pytest.approx(0.901, abs=0.001)
    assert abs(solved / puzzles - expected) < 4 * math.sqrt(expected * (1 - expected) / puzzles)


# --- examples ---

EXAMPLES = [
    Example("How many legs has a cat?", "Cats are mammals. 4", "4"),
    Example("How many legs has a spider?", "Spiders are no insects. 8", "8"),
    Example("What is the capital of Peru?", "Lima", "Lima"),
]


def test_the_nearest_examples_come_last() -> None:
    """The examples most like the task are shown, the nearest last, the task's own never."""
    few = FewShot(EXAMPLES, k=2)
    assert [e.answer for e in few.nearest("How many legs has a tiny spider?")] == ["4", "8"]
    assert EXAMPLES[0] not in few.nearest(EXAMPLES[0].prompt)
    assert EXAMPLES[0] not in few.nearest("a cat? How many legs has")
    prompt = few.put(Task(prompt="How many legs has a dog?"), 0).prompt
    assert "Spiders are no insects. 8" in prompt
    assert prompt.endswith("How many legs has a dog?")
    assert "Peru" not in prompt
    assert few.back("4", Task(prompt="x"), 0) == "4"


def test_variants_one_after_the_other() -> None:
    """Put in order, undone in reverse: the letter comes back through examples that have letters themselves."""
    task = Task(prompt=question(CITIES))
    both = Together((Shuffled(2), FewShot([Example(question(["x", "y"]), "The answer is B", "B")])))
    put = both.put(task, 5).prompt
    assert "The answer is B" in put
    letter = next(label for label, text in told(put.split("Now the task:")[1]).items() if text == "Cairo")
    assert both.back(f"The answer is {letter}", task, 5) == "The answer is D"
    assert both.name == "shuffle 2, 5 examples"


def test_medprompt_is_examples_and_shuffles() -> None:
    """As many variants as the ensemble has; without examples where the model reasons by itself."""
    assert [variant.name for variant in medprompt(EXAMPLES, ensemble=2, k=3)] == [
        "shuffle 0, 3 examples",
        "shuffle 1, 3 examples",
    ]
    assert medprompt([], ensemble=2, reasons=True) == (Shuffled(0), Shuffled(1))
    with pytest.raises(bw.UsageError, match="ensemble"):
        medprompt(EXAMPLES, ensemble=0)
    with pytest.raises(bw.UsageError, match="no examples"):
        FewShot([])
    with pytest.raises(bw.UsageError, match="k=0"):
        FewShot(EXAMPLES, k=0)


def agent(script: Any, **options: Any) -> bw.Agent:
    """Return an agent without tools on a scripted model."""
    return bw.Agent(name="quiz", model=ScriptedModel(script), **options)


async def test_only_what_was_right_becomes_an_example(tmp_path: Path) -> None:
    """Of four tasks the two with right answers are kept, with the model's own words; they survive a file."""
    right = {"one": "1", "two": "2", "three": "3", "four": "4"}

    def script(request: ModelRequest) -> str:
        """Right about one and four, wrong about two, silent about three."""
        task = request.messages[-1].content
        return {"one": "Easy. The answer is 1.", "two": "I guess 7", "three": "", "four": "4"}[task]

    found = await solved_examples(agent(script), right.items(), same="number", seed=1)
    assert [(e.prompt, e.answer) for e in found] == [("one", "Easy. The answer is 1."), ("four", "4")]
    assert found[0].solution == "Easy. The answer is 1."
    save_examples(found, tmp_path / "examples.jsonl")
    assert load_examples(tmp_path / "examples.jsonl") == found
    (tmp_path / "examples.jsonl").write_text('{"prompt": "p"}\n')
    with pytest.raises(bw.UsageError, match="line 1 is no example"):
        load_examples(tmp_path / "examples.jsonl")
    with pytest.raises(bw.UsageError, match="at_once"):
        await solved_examples(agent(script), [], at_once=0)


async def test_a_task_that_fails_is_no_example() -> None:
    """A task that the model cannot do is left out; an agent that cannot work at all is an error."""

    def script(request: ModelRequest) -> Any:
        """Fail at one of two."""
        hard = request.messages[-1].content == "hard"
        return bw.ModelError("no") if hard else "2"

    found = await solved_examples(agent(script), [("hard", "1"), ("easy", "2")], seed=1)
    assert [example.prompt for example in found] == ["easy"]
    needy = bw.Agent(name="needy", model=ScriptedModel(script), tools=[bw.tools.files])
    with pytest.raises(bw.UsageError, match="sandbox"):
        await solved_examples(needy, [("easy", "2")])


async def test_an_agent_votes_over_its_variants() -> None:
    """From the task to the result: five shuffles, letters mapped back, the vote's share as the confidence."""
    task = question(gold_at(3))

    def script(request: ModelRequest) -> str:
        """Answer A twice as often as what is right."""
        prompt = request.messages[-1].content
        return f"The answer is {likes_a(prompt, 'Oslo', 4)}."

    quiz = agent(script, variants=medprompt(EXAMPLES, ensemble=7, k=1), search=SelfConsistency(n=7, variants=7))
    result = await quiz.run(task, seed=3)
    assert final(str(result.answer)) == "D."
    assert result.confidence is not None
    assert 0.4 < result.confidence <= 1.0
    assert "share of 7 answers" in result.confidence_source
    shown = {node.step.framing.variant for node in result.tree if node.step is not None}
    assert shown == set(range(7))


def test_an_agent_is_told_what_it_lacks() -> None:
    """Variants and log-probabilities that a strategy or selector needs must be there before anything starts."""
    with pytest.raises(bw.UsageError, match="asks for 3 variants"):
        agent(lambda _: "", variants=[Shuffled()], search=SelfConsistency(variants=3))
    with pytest.raises(bw.UsageError, match="needs log-probabilities"):
        agent(lambda _: "", select=PerplexityConsistency())
    agent(lambda _: "", select=PerplexityConsistency(), sampling=bw.Sampling(logprobs=0))
