"""What stands before every attack program: a proof, made inside, that it is in a sandbox.

Attack programs are text. They are never imported, and they call `prove_inside()` first, which nothing but the prelude
below defines: a program that is started by itself ends with a `NameError` before it has done anything. The prelude knows
the namespaces, the paths and the run of the process that sends it, so that neither a marker that somebody left in the
environment nor another machine's sandbox is taken for the one that is meant.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

REFUSED_STATUS = 96
INSIDE = "inside"
"""The first line that a program prints once it has proved where it is."""
FIRST_STATEMENT = "prove_inside()"

_REPOSITORY = Path(__file__).resolve().parents[2]
_PRELUDE = Path(__file__).with_name("prelude.txt")
_NAMESPACES = ("pid", "mnt", "net", "uts", "ipc")


class UnsafeProgram(ValueError):
    """The program does not begin with its proof."""


def guarded(program: str, *, run_id: str, **facts: object) -> str:
    """Return a Python program that proves that it is inside a sandbox of the run `run_id`, and then becomes `program`.

    Args:
        program: what to do inside.
        run_id: the run whose sandbox is meant.
        facts: what else the program finds in its dictionary `HOST`.

    Raises:
        UnsafeProgram: the first statement of `program` is not the proof.
    """
    if first_statement(program) != FIRST_STATEMENT:
        raise UnsafeProgram(f"an attack program must begin with {FIRST_STATEMENT!r}, not {first_statement(program)!r}")
    known = {
        **facts,
        "run": run_id,
        "namespaces": {name: str(Path(f"/proc/self/ns/{name}").readlink()) for name in _NAMESPACES},
        "paths": [str(_REPOSITORY), str(Path(__file__).resolve())],
        "status": REFUSED_STATUS,
        "inside": INSIDE,
    }
    return f"HOST = {json.dumps(known)}\n{_PRELUDE.read_text(encoding='utf-8')}\n{program}"


def first_statement(program: str) -> str:
    """Return the first line that is neither empty nor a comment."""
    lines = (line for line in program.splitlines() if line.strip() and not re.match(r"\s*#", line))
    return next(lines, "").rstrip()
