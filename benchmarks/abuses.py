"""How many of the hostile programs of tests/attacks/abuses escape, in each kind of sandbox.

Each proves that it is in a sandbox before it does anything; what counts as an escape is said in tests/attacks/firing.py.

    python benchmarks/abuses.py [--kind docker|local] [--json]

From other programs: `escaped, abuses = await count("docker")`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from attacks.corpus import load
from attacks.firing import Outcome, firing_range


async def attempt_all(kind: str) -> list[Outcome]:
    """Run every abuse in one kind of sandbox."""
    with tempfile.TemporaryDirectory(prefix="abuses-") as folder:
        async with firing_range(kind, Path(folder)) as arena:
            return [await arena.attempt(abuse) for abuse in load()]


async def count(kind: str) -> tuple[int, int]:
    """Return how many escaped, and how many were tried."""
    outcomes = await attempt_all(kind)
    return sum(outcome.escaped for outcome in outcomes), len(outcomes)


def table(kind: str, outcomes: list[Outcome]) -> Table:
    """The outcomes for people."""
    summaries = {abuse.name: abuse.summary for abuse in load()}
    view = Table(title=f"abuses, sandbox of kind {kind}")
    for heading in ("", "a hostile program", "outcome", "s"):
        view.add_column(heading)
    for outcome in outcomes:
        said = "\n".join(outcome.faults) if outcome.faults else "sandbox replaced" if outcome.lost else "contained"
        if outcome.weaker:
            said = "weaker: " + outcome.weaker[0].partition(" ")[2]
        view.add_row(outcome.name, summaries[outcome.name], said, f"{outcome.seconds:.1f}")
    return view


def main() -> None:
    """Attempt and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=["docker", "local"], default="docker")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    outcomes = asyncio.run(attempt_all(given.kind))
    escaped = [outcome.name for outcome in outcomes if outcome.escaped]
    if given.json:
        weaker = [outcome.name for outcome in outcomes if outcome.weaker]
        print(json.dumps({"escaped": len(escaped), "abuses": len(outcomes), "names": escaped, "weaker": weaker}))
    else:
        Console().print(table(given.kind, outcomes))
    sys.exit(bool(escaped))


if __name__ == "__main__":
    main()
