"""The page of simulated worlds names what there is, and its code runs."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest

from branchwise import Budget, Ledger, search
from branchwise.core import simulated, testing

PAGE = Path(__file__).parents[2] / "docs" / "simulations.md"
ROWS = re.findall(r"^\| `(\w+)\.(\w+)` \|.*\| `([^|]+)` \|$", PAGE.read_text(), re.MULTILINE)
MODULES = sorted(path.stem for path in Path(simulated.__path__[0]).glob("*.py") if path.stem != "__init__")


def names() -> dict[str, Any]:
    """Everything that the page's code may use."""
    found: dict[str, Any] = {"Random": Random, "Budget": Budget, "Ledger": Ledger, **vars(testing), **vars(search)}
    for module in MODULES:
        found.update(vars(importlib.import_module(f"branchwise.core.simulated.{module}")))
    return found


@pytest.mark.parametrize(("module", "name", "code"), ROWS, ids=[name for _, name, _ in ROWS])
def test_the_code_runs(module: str, name: str, code: str) -> None:
    """Each row's code makes something of the world that it names, which is where the page says."""
    place = "branchwise.core" if module == "testing" else "branchwise.core.simulated"
    assert hasattr(importlib.import_module(f"{place}.{module}"), name)
    assert name in code
    assert eval(code, names()) is not None


def test_every_world_is_on_the_page() -> None:
    """No world is left out: whatever draws, expands, judges or makes models."""
    worlds = {
        name
        for module in MODULES
        for name, kind in vars(importlib.import_module(f"branchwise.core.simulated.{module}")).items()
        if inspect.isclass(kind)
        and kind.__module__ == f"branchwise.core.simulated.{module}"
        and not getattr(kind, "_is_protocol", False)
        if any(
            hasattr(kind, part) for part in ("draw", "expand", "model", "run", "fresh", "scores", "score", "__call__")
        )
        if "seed" in inspect.signature(kind).parameters or hasattr(kind, "draw")
    }
    assert len(worlds) >= 15
    assert worlds <= {name for _, name, _ in ROWS}
