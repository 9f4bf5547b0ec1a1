"""When answers are the same."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from branchwise.search.equivalence import equal, final, grouped, is_answer, key, lasting, number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42", 42),
        ("First 3, then 4. The answer is 7.", 7),
        ("it costs 1,000 dollars", 1000),
        ("1e3", 1000),
        ("2000 / 2", 1000),
        ("x = -3.5%", Fraction(-35, 1000)),
        ("so \\boxed{\\frac{1}{2}}, not 7", Fraction(1, 2)),
        ("$1,234.50", Fraction(123450, 100)),
        (".5", Fraction(1, 2)),
        ("between 2-3", 3),
        ("minus: \u22124", -4),
        ("Answer: **12**\nThank you for 99 questions", 12),
    ],
)
def test_the_number_at_the_end(text: str, value: Fraction | int) -> None:
    """The last number of the final answer counts, exactly, however it is written."""
    assert number(text) == value


@pytest.mark.parametrize("text", ["", "none", "a1b2", "v2.1.3", "7 / 0", "9" * 5000 + "x"])
def test_no_number_is_no_answer(text: str) -> None:
    """Where numbers are compared, what has none is no answer; huge ones do no harm."""
    assert number(text) is None or len(text) > 100
    assert is_answer("9" * 5000, "number")


def test_the_final_answer() -> None:
    """The last box, else what follows the last "answer is" to the end of its line, else everything."""
    assert final("I think the answer is 3. No: \\boxed{4}.") == "4"
    assert final("The answer is 3.\nThe answer is: 5\nBye.") == "5"
    assert final("  just this ") == "just this"


def test_three_ways_of_being_the_same() -> None:
    """`exact` looks at the characters, `text` at the words, `number` at the value."""
    answers = ["The answer is (B).", "b", " B ", "B", "", None]
    assert grouped(answers, "exact") == [[0], [1], [2, 3]]
    assert grouped(answers, "text") == [[0, 1, 2, 3]]
    assert grouped(["1/2", "0.5", "50%", "half"], "number") == [[0, 1, 2]]


def test_two_answers() -> None:
    """Two answers are equal where both are answers and the same one; two empty ones are not."""
    assert equal("4", "The answer is 4.", "text")
    assert not equal("4", "5", "text")
    assert not equal("", "", "exact")
    assert not equal(None, "4", "number")
    assert equal("4", "5", lambda _a, _b: True)


def test_a_function_links_by_way_of_others() -> None:
    """Answers that are linked through others are the same; what is empty is in no group."""
    near = ["1", "5", "2", "", "3", "5"]
    assert grouped(near, lambda a, b: abs(int(a) - int(b)) <= 1) == [[0, 2, 4], [1, 5]]
    assert not is_answer(" ", lambda _a, _b: True)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(alphabet="aB1 .-", max_size=4), max_size=8), st.sampled_from(["exact", "text", "number"]))
def test_groups_are_a_partition_of_the_answers(answers: list[str], same: str) -> None:
    """Every answer is in the one group of its key, what is none in no group."""
    groups = grouped(answers, same)
    places = sorted(place for group in groups for place in group)
    assert places == [place for place, answer in enumerate(answers) if is_answer(answer, same)]
    assert all(len({key(answers[place], same) for place in group}) == 1 for group in groups)
    assert len({key(answers[group[0]], same) for group in groups}) == len(groups)


def alike(a: str, b: str) -> bool:
    """A user's own equivalence."""
    return a[:1] == b[:1]


def test_a_function_is_written_alike_in_every_process() -> None:
    """A strategy with a user's function can be resumed: its `repr` has no address."""
    kept = lasting(alike)
    assert repr(kept) == f"{__name__}.alike"
    assert lasting(kept) is kept
    assert lasting(alike) == kept
    assert kept("ab", "ac")
    assert lasting("text") == "text"
