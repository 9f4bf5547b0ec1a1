"""Packages whose names are loaded when they are first asked for (PEP 562).

Whoever needs one name of a package should not wait for all of its modules, and for the libraries that these need.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def lazily(
    package: str, names: Mapping[str, str], *, modules: str = ""
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return a package's `__getattr__` and `__dir__`.

    Type checkers do not see through this: beside it the package imports the same names under `TYPE_CHECKING`.

    Args:
        package: its `__name__`.
        names: its public names, blanks between them, by the module that has them, seen from the package.
        modules: those that are public names themselves: `agents.variants` is the package's `variants`.
    """
    homes = {name: home for home, held in names.items() for name in held.split()}
    whole = {path.rpartition(".")[2]: path for path in modules.split()}

    def get(name: str) -> object:
        if name in whole:
            found: object = import_module(f".{whole[name]}", package)
        elif name in homes:
            found = getattr(import_module(f".{homes[name]}", package), name)
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(sys.modules[package], name, found)  # asked for once
        return found

    def known() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes, *whole})

    return get, known
