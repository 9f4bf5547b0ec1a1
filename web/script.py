"""The script that every document of a context gets before its own: it tells pages as text and finds what is acted on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources

_PARTS = ("hooks", "names", "refs", "walk", "act")
_EXPORTED = (
    "settle, observe, seal, adopt, find, locate, reached, alike, begin, valueOf, isChecked, select, scrollIt, search, boxes, elementOf, "
    "refOf, focusOn, focusedRef, lacks, tell, numberOf, boxOf, hush, inked"
)

CALL = "([name, args]) => globalThis[Symbol.for('branchwise.page')][name](...args)"
"""Calls one of the script's functions by name."""
ELEMENT = "(number) => globalThis[Symbol.for('branchwise.page')].elementOf(number)"
"""Returns the element of a reference."""
REFERENCE = "(element) => globalThis[Symbol.for('branchwise.page')].refOf(element)"
"""Returns the number of an element's reference."""
INSET = (
    "(element) => { const box = element.getBoundingClientRect(), style = getComputedStyle(element);"
    " return [box.x + element.clientLeft + parseFloat(style.paddingLeft), box.y + element.clientTop + parseFloat(style.paddingTop)]; }"
)
"""Returns where a frame's contents begin."""


def page_script(*, seed: int | None, ignore: Sequence[str]) -> str:
    """Return the script.

    Args:
        seed: of the pages' `Math.random`, so that a page that is loaded again draws the same; None: left alone.
        ignore: CSS selectors of what changes by itself, such as clocks; no part of a state's fingerprint.
    """
    settings = json.dumps({"seed": seed, "ignore": list(ignore)})
    return (
        "(() => {\n"
        'const KEY = Symbol.for("branchwise.page");\n'
        "if (globalThis[KEY]) return;\n"
        f"const SETTINGS = {settings};\n"
        f"{_source()}\n"
        f"Object.defineProperty(globalThis, KEY, {{ value: Object.freeze({{ {_EXPORTED} }}) }});\n"
        "})();"
    )


@cache
def _source() -> str:
    folder = resources.files(__name__.rpartition(".")[0]) / "page"
    return "\n".join((folder / f"{name}.js").read_text(encoding="utf-8") for name in _PARTS)
