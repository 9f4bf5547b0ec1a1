"""The nodes that may be right, the likeliest first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from branchwise.core.types import NodeId, Verdict
from branchwise.search.belief import Belief
from branchwise.search.contenders import Contenders, probability_right


def test_probability_by_hand() -> None:
    """Half of the belief lies above its mean; what lies beyond 1 is left out."""
    assert probability_right(0.5, 0.1, 0.5) == pytest.approx(0.5, abs=1e-6)
    assert probability_right(1.0, 0.1, 0.9) == pytest.approx(0.6827, abs=1e-3)
    assert probability_right(0.2, 0.05, 0.9) < 1e-9


@given(st.floats(-3, 4), st.floats(0.001, 1.0), st.floats(0.05, 0.99))
def test_is_a_probability_that_rises_with_the_mean(mean: float, spread: float, right: float) -> None:
    """However far out a belief lies: within [0, 1], and not smaller for a larger mean."""
    here, above = probability_right(mean, spread, right), probability_right(mean + 0.01, spread, right)
    assert 0.0 <= here <= 1.0
    assert above >= here - 1e-9


def test_likeliest_first_and_only_those_with_hope() -> None:
    """Nodes come by probability and change places with what is heard of them; hopeless ones are left out."""
    belief, contenders = Belief(), Contenders(0.8)
    for node, value in ((1, 0.1), (2, 0.75), (3, 0.9)):
        belief.grow(NodeId(node), None)
        contenders.update(belief.observe(NodeId(node), [Verdict(value, "value", "judge")]), belief)
    assert list(contenders) == [3, 2]
    for value in (0.5, 0.45, 0.52):
        contenders.update(belief.observe(NodeId(3), [Verdict(value, "value", "judge")]), belief)
    assert next(iter(contenders)) == 2
