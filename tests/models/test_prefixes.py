"""Which slot and which kept state serve a prompt."""

from __future__ import annotations

from itertools import takewhile

from hypothesis import given
from hypothesis import strategies as st

from branchwise.models.prefixes import WORTHWHILE_CHARS, Kept, Prefixes, common_length

LONG = "x" * 3 * WORTHWHILE_CHARS


@given(st.text("ab", max_size=30), st.text("ab", max_size=30))
def test_common_length_is_that_of_the_common_prefix(one: str, other: str) -> None:
    """Compared character by character."""
    assert common_length(one, other) == len(
        [*takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))]
    )


def test_a_prompt_goes_to_the_slot_that_holds_most_of_it() -> None:
    """And the slot is busy then."""
    prefixes = Prefixes(3, 1 << 20)
    prefixes.slots[1].text = LONG
    plan = prefixes.plan(LONG + "more")
    assert (plan.slot.number, plan.covered, plan.restore) == (1, len(LONG), None)
    assert prefixes.plan(LONG).slot.number != 1


def test_a_kept_state_goes_into_the_slot_unused_for_longest() -> None:
    """Where it holds clearly more than any free slot."""
    prefixes = Prefixes(2, 1 << 20)
    prefixes.plan("other").slot.busy = False
    kept = Kept(LONG, 5, 10)
    prefixes.keep(kept)
    plan = prefixes.plan(LONG + "more")
    assert (plan.slot.number, plan.restore, plan.covered) == (1, kept, len(LONG))


def test_a_little_more_is_not_worth_restoring() -> None:
    """Reading a few tokens costs less."""
    prefixes = Prefixes(1, 1 << 20)
    prefixes.slots[0].text = LONG
    prefixes.keep(Kept(LONG + "y" * WORTHWHILE_CHARS, 5, 10))
    assert prefixes.plan(LONG + "y" * WORTHWHILE_CHARS).restore is None


def test_what_would_be_lost_is_saved_first() -> None:
    """Unless a kept state holds it."""
    prefixes = Prefixes(1, 1 << 20)
    prefixes.slots[0].text = LONG
    assert prefixes.plan("other").save_first
    prefixes.slots[0].busy = False
    prefixes.keep(Kept(LONG, 5, 10))
    assert not prefixes.plan("other").save_first


def test_states_unused_for_longest_give_way() -> None:
    """Never one that somebody restores from."""
    prefixes = Prefixes(1, 25)
    first, second, third = (Kept(name, number, 10) for number, name in enumerate("abc"))
    assert prefixes.keep(first) == []
    assert prefixes.keep(second) == []
    first.pins = 1
    assert prefixes.keep(third) == [second]
    assert prefixes.kept == [first, third]
