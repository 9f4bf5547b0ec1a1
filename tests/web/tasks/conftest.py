"""The shop, which is an example, and a supply of browsers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"

sys.path.insert(0, str(EXAMPLES))

if TYPE_CHECKING:
    from shop import Shop


@pytest.fixture(scope="session")
def shop() -> Iterator[Shop]:
    """The shop's server."""
    from shop import Shop

    with Shop() as server:
        yield server
