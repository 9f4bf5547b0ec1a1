"""Whether runs are traced.

They are where the program has set up OpenTelemetry for itself, or where `BRANCHWISE_TRACING=1` (`branchwise run --trace`) has
Branchwise set it up from the standard variables `OTEL_*`. `BRANCHWISE_TRACING=0` turns it off in any case.
"""

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import version
from importlib.util import find_spec

from ..core.errors import UsageError
from ..core.observing import UNOBSERVED, Observer

logger = logging.getLogger(__name__)

VARIABLE = "BRANCHWISE_TRACING"
INSTALL = "pip install 'branchwise[tracing]'"


def turn_on() -> None:
    """Have all runs of this process traced, as `BRANCHWISE_TRACING=1` does.

    Raises:
        UsageError: what it takes is not installed.
    """
    os.environ[VARIABLE] = "1"
    observer()


def observer() -> Observer:
    """Return what looks on at a run that begins now.

    Raises:
        UsageError: tracing was asked for, and what it takes is not installed, or `OTEL_*` names what is not there.
    """
    asked = os.environ.get(VARIABLE, "").strip().lower()
    if asked in {"0", "false", "no", "off"}:
        return UNOBSERVED
    if asked in {"1", "true", "yes", "on"}:
        return _from_environment()
    if asked:
        raise UsageError(f"{VARIABLE}={asked!r}; allowed are 1 and 0, or leave it unset")
    return _from_program()


def _from_environment() -> Observer:
    if not _installed():
        raise UsageError(f"tracing was asked for, and OpenTelemetry is not installed: {INSTALL}")
    from .export import set_up

    set_up()
    return _tracing()


def _from_program() -> Observer:
    """Look whether the program has set up OpenTelemetry: then it was imported."""
    if "opentelemetry.trace" not in sys.modules and "opentelemetry.metrics" not in sys.modules:
        return UNOBSERVED
    from .export import is_set_up  # needs nothing that is not there

    if not is_set_up():
        return UNOBSERVED
    if not _installed():
        logger.info("OpenTelemetry is set up, but runs are not traced: %s", INSTALL)
        return UNOBSERVED
    return _tracing()


def _installed() -> bool:
    try:
        return find_spec("opentelemetry.util.genai") is not None and find_spec("opentelemetry.sdk") is not None
    except ModuleNotFoundError:
        return False


def _tracing() -> Observer:
    from .spans import Tracing

    return Tracing(version=version("branchwise"))
