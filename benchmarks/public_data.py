"""Public data that benchmarks read. Nothing of it is part of this repository: who runs them brings it."""

from __future__ import annotations

import os
from pathlib import Path

DATA = Path(os.environ.get("BRANCHWISE_DATA") or Path(__file__).parent / "data")
"""Folder with the data: BRANCHWISE_DATA, else benchmarks/data."""
