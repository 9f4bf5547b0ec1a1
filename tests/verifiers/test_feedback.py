"""What a model is told of a failed test run."""

from __future__ import annotations

from branchwise.core.types import ExecResult
from branchwise.verifiers.suite_output import feedback_of

RUN = """\
F.FFF                                                     [100%]
=================================== FAILURES ===================================
____________________________ test_one[4-IV] ____________________________
tests/test_x.py:5: in test_one
    assert f(number) == text
E   AssertionError: assert 'IIII' == 'IV'
E
_________ test_two _________
E   NameError: name 'g'
_________ test_three _________
E   ValueError
_________ test_four _________
E   ValueError
=========================== short test summary info ============================
FAILED tests/test_x.py::test_one
4 failed, 1 passed in 0.02s
"""


def test_the_first_failures_are_shown_and_the_rest_named() -> None:
    """Three failures at length without pytest's decoration, the names of the others."""
    told = feedback_of(ExecResult(1, RUN), 1, 5, accepted=False)
    assert told == (
        "1 of 5 tests pass\n"
        "test_one[4-IV]:\n"
        "tests/test_x.py:5: in test_one\n"
        "    assert f(number) == text\n"
        "E   AssertionError: assert 'IIII' == 'IV'\n"
        "\n"
        "test_two:\n"
        "E   NameError: name 'g'\n"
        "\n"
        "test_three:\n"
        "E   ValueError\n"
        "\n"
        "These fail too: test_four"
    )


def test_other_output_is_shown_up_to_a_limit() -> None:
    """Output without pytest's headings is shown, its middle left out where it is long."""
    assert feedback_of(ExecResult(2, "oh\n\n====\nno\n"), 0, None, accepted=False) == "exit code 2\noh\nno"
    told = feedback_of(ExecResult(1, "x" * 5000), 0, None, accepted=False)
    assert "[...]" in told
    assert len(told) < 1600
    assert feedback_of(ExecResult(-9, "", timed_out=True, seconds=2.2), 0, None, accepted=False).startswith(
        "stopped after 2 s"
    )
    assert feedback_of(ExecResult(0, "3 passed in 0.1s"), 3, 3, accepted=True) == "3 of 3 tests pass"
