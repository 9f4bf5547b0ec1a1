"""The benchmarks' modules, and the public data that they read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

sys.path.insert(0, str(BENCHMARKS))  # they import each other as the scripts that they are


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of public data."""
    from public_data import DATA

    if not (DATA / "game24_gpt4_tot_log.json").is_file():
        pytest.skip("the public data is not there: benchmarks/game24.py says where to get it")
    return DATA
