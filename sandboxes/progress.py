"""Words for the user while something takes its time."""

from __future__ import annotations

import logging
import sys

_log = logging.getLogger(__name__)


def say(text: str) -> None:
    """Show one line on the terminal, where there is one; everywhere else it is a record of level INFO."""
    if sys.stderr is not None and sys.stderr.isatty():
        sys.stderr.write(f"branchwise: {text}\n")
        sys.stderr.flush()
    else:
        _log.info("%s", text)
