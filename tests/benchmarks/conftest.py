"""The benchmarks' modules, and the public data that they read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
DATA = Path(__file__).parents[3] / "shared" / "data"

sys.path.insert(0, str(BENCHMARKS))  # they import each other as the scripts that they are


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of public data beside the repository."""
    if not (DATA / "game24_gpt4_tot_log.json").is_file():
        pytest.skip("no public data beside the repository: ../shared/data/game24_gpt4_tot_log.json is not there")
    return DATA
