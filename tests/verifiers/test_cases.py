"""Settings of `InputOutput` and its cases."""

from __future__ import annotations

import pytest

import branchwise as bw
from branchwise.verifiers import Case, InputOutput
from branchwise.verifiers.answers import code_of
from branchwise.verifiers.cases import judge_text, judge_value

CASES = [Case((1, 2), 3)]


def test_settings_that_cannot_work() -> None:
    """Each is refused with what to do."""
    with pytest.raises(bw.UsageError, match="at least one Case"):
        InputOutput([], "f")
    with pytest.raises(bw.UsageError, match="not both"):
        InputOutput(CASES, "f", command=("x",))
    with pytest.raises(bw.UsageError, match="above 0"):
        InputOutput(CASES, "f", timeout_seconds=0)
    with pytest.raises(bw.UsageError, match="in the work space"):
        InputOutput(CASES, "f", file="../x.py")
    with pytest.raises(bw.UsageError, match="a case is made of"):
        Case((object(),), 1)


def test_code_of_an_answer() -> None:
    """The last Python block counts, else the last block, else everything."""
    assert code_of("```py\na\n```\n```\nb\n```") == "a\n"
    assert code_of("```\na\n```\n```sh\nb\n```") == "b\n"
    assert code_of("return 1") == "return 1"
    assert code_of("```python\nunfinished") == "```python\nunfinished"


def test_values_of_unknown_origin() -> None:
    """A value that cannot be decoded or shown is a failed case with a reason, never an error."""
    assert judge_value(CASES[0], ["i", "f" * 8000], check=None, tolerance=None).got == "(int too large to show)"
    for wire in (["x"], ["d", [1]], {"a": 1}, ["s", ["l"]]):
        for tolerance in (None, 0.1):
            assert not judge_value(CASES[0], wire, check=None, tolerance=tolerance).passed
    assert not judge_value(CASES[0], ["s", ["l"]], check=lambda _case, _value: True, tolerance=None).passed


def test_texts_are_compared_by_lines_or_words() -> None:
    """White space at the ends does not count, within lines it does; with a tolerance numbers may differ."""
    case = Case(expected="a  b\n1.0\n")
    assert judge_text(case, "a  b \n1.0", check=None, tolerance=None).passed
    assert not judge_text(case, "a b\n1.0", check=None, tolerance=None).passed
    assert judge_text(case, "a b 1.0001", check=None, tolerance=0.01).passed
    assert not judge_text(case, "a c 1.0001", check=None, tolerance=0.01).passed
    assert not judge_text(case, "a b nan", check=None, tolerance=0.01).passed
    with pytest.raises(bw.UsageError, match="a text"):
        judge_text(Case(expected=1), "1", check=None, tolerance=None)
