"""Where Branchwise keeps its files."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_data_path


def home() -> Path:
    """Return the folder of models and runs: `BRANCHWISE_HOME`, else the user's data folder. Not created here."""
    override = os.environ.get("BRANCHWISE_HOME")
    return Path(override).expanduser() if override else user_data_path("branchwise")
