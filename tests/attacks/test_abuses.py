"""What hostile programs try against the host, other branches and the next user, in both kinds of sandbox."""

from __future__ import annotations

import pytest

from .corpus import Abuse, load
from .firing import Range

pytestmark = pytest.mark.asyncio(loop_scope="module")

ABUSES = load()


@pytest.mark.parametrize("abuse", ABUSES, ids=lambda abuse: abuse.name)
async def test_abuse_is_contained(arena: Range, abuse: Abuse) -> None:
    """It escapes nothing, returns in time, leaves no process; neighbours, the next user and the host notice nothing."""
    outcome = await arena.attempt(abuse)
    assert outcome.faults == []
    # What is documented as weaker must still be so, else the documentation is wrong.
    assert bool(outcome.weaker) == (arena.kind == "local" and bool(abuse.local)), outcome.weaker
