"""What searches over pages make of a real small model: the shop's thirty tasks and twenty of MiniWoB++, at equal tokens.

Every way gets the same number of tokens for each task, read ones included and cached ones too. What guides is a judgement of the same
model, whose tokens count like all others; what a task is scored by (the shop's own state, a page's own reward) is looked at when all is
over, at the end of the trajectory that was chosen. Beside that stands whether any trajectory of the run came there: what a better
choice among the same trajectories could win.

Outcomes are kept, so a benchmark that was stopped goes on where it was; figures compare the tasks that all ways have done.

    python benchmarks/web_model.py [--json] [--tasks NAME ...] [--ways NAME ...] [--tokens 12000] [--state FOLDER] [--kept]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import branchwise as bw
from branchwise.core.settings import home
from branchwise.core.types import ROOT, Node, NodeId, Task
from branchwise.graphs import LocalRunner, RunStore
from branchwise.models import connect
from branchwise.web import WebSandboxes
from branchwise.web.tasks import MiniWoB, WebTask

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from shop import TASKS, Shop

MODEL = "embedded:qwen2.5-coder-1.5b"
SLOTS = 2
"""Calls that a run has under way at once."""
RUNS = 4
"""Runs under way at once, on as many slots of the engine: a run leaves a slot idle while its pages act."""
CONTEXT_TOKENS = 6144
SEED = 1
DEPTH = 12
MARGIN = 0.1
"""It judges a state differently by some hundredths from call to call; what it does first of all is mostly what it is best at."""
PATIENCE = 0.02
"""The small model's values of states of a task differ by some hundredths."""

MINIWOB = (
    "click-button", "click-checkboxes", "click-dialog-2", "click-link", "click-option", "click-tab-2", "click-widget", "email-inbox",
    "enter-date", "enter-password", "enter-text-dynamic", "find-word", "focus-text-2", "grid-coordinate", "login-user-popup",
    "multi-layouts", "navigate-tree", "search-engine", "social-media", "use-autocomplete",
)  # fmt: skip
"""Chosen before any was tried: of each kind (clicking, typing, choosing, reading, several steps) some."""

OUTCOMES = "web-outcomes.jsonl"


@dataclass(frozen=True)
class Way:
    """A way to spend the tokens.

    Args:
        search: the strategy.
        judged: what the model's own judgement is asked of: every `state`, to guide, or every `answer`, to choose; None: it is not asked.
        temperature: of the actions.
        distinct: whether trajectories are shown what others did from the same place.
    """

    search: Callable[[], bw.Strategy]
    judged: Literal["state", "answer"] | None = "state"
    temperature: float = 0.7
    distinct: bool = False


WAYS: dict[str, Way] = {
    "one trajectory": Way(lambda: bw.search.BestOfN(n=1, depth=DEPTH), judged=None, temperature=0.0),
    "best-of-n": Way(lambda: bw.search.BestOfN(n=64, depth=DEPTH), judged="answer"),
    "tree search": Way(lambda: bw.search.BestFirst(width=3, depth=DEPTH, patience=PATIENCE, wait=True), distinct=True),
}


@dataclass(frozen=True)
class Outcome:
    """What a way made of a task."""

    task: str
    way: str
    tokens_allowed: int
    done: bool
    """Whether the chosen trajectory did the task."""
    any_done: bool
    """Whether any trajectory did."""
    value: float
    """What the chosen trajectory's end is worth to the task's check, in [0, 1]."""
    tokens: int
    sampled_tokens: int
    calls: int
    steps: int
    seconds: float
    stopped: str


class Bench:
    """Everything that the runs share.

    Args:
        model: the model.
        state: folder of runs and outcomes.
        tokens: for each task and way.
    """

    def __init__(self, model: bw.Model, state: Path, tokens: int) -> None:
        self._model, self._state, self._tokens = model, state, tokens
        self._runner = LocalRunner(RunStore(state / "runs"))
        self.outcomes = kept(state)

    async def measure(self, task: WebTask, name: str) -> Outcome:
        """Let a way work on a task, unless it has done so before."""
        wanted = (task.name, name, self._tokens)
        for known in self.outcomes:
            if (known.task, known.way, known.tokens_allowed) == wanted:
                return known
        way = WAYS[name]
        agent = bw.agents.web(
            task,
            model=self._model,
            verifiers=[bw.verifiers.web_judge(scope=way.judged)] if way.judged else [],
            search=way.search(),
            sampling=bw.Sampling(max_tokens=120, temperature=way.temperature),
            pictures_mb=0,
        )
        select = bw.search.Best(margin=MARGIN) if way.judged else None
        agent = replace(agent, distinct=way.distinct, select=select, slots=SLOTS)
        result = await self._runner.run(agent, Task(prompt=task.goal), bw.Budget(tokens=self._tokens), seed=SEED)
        value, done, any_done = await self._scored(task, result)
        usage = result.usage
        outcome = Outcome(
            task.name,
            name,
            self._tokens,
            done,
            any_done,
            value,
            usage.tokens,
            usage.completion_tokens + usage.cancelled_tokens,
            usage.calls,
            len(result.tree) - 1,
            round(result.seconds, 1),
            result.stop_reason,
        )
        self.outcomes.append(outcome)
        with (self._state / OUTCOMES).open("a") as file:
            file.write(json.dumps(asdict(outcome)) + "\n")
        return outcome

    async def _scored(self, task: WebTask, result: bw.Result) -> tuple[float, bool, bool]:
        """Return what the chosen end is worth, whether it is done, and whether any end is; states are brought back from the run's."""
        marks: dict[NodeId, float] = {}
        store = self._state / "runs" / result.run_id / "snapshots"
        supply = await task.browser(limit_chars=6_000).start(task.name, store)
        try:
            for node in result.tree:
                if node.parent is not None and (node.id == result.node or _is_end(result, node)):
                    marks[node.id] = await self._mark(task, supply, node)
        finally:
            await supply.aclose()
        # Where none was chosen, since none has ended with an answer, that which ended first.
        chosen = min(marks, default=ROOT) if result.node is None else result.node
        value = marks.get(chosen, 0.0)
        return value, value >= 1.0, any(one >= 1.0 for one in marks.values())

    @staticmethod
    async def _mark(task: WebTask, supply: WebSandboxes, node: Node) -> float:
        env = await supply.open(node.env_ref)
        try:
            return (await task.mark(env, node.answer or "")).value
        except (bw.ToolError, bw.SandboxError):
            return 0.0  # a state that cannot be had again is worth nothing
        finally:
            await env.close()


def _is_end(result: bw.Result, node: Node) -> bool:
    """Whether a trajectory ended here, well or not."""
    return node.answer is not None or not result.tree.children(node.id)


def kept(state: Path) -> list[Outcome]:
    """Return the outcomes of earlier runs."""
    path = state / OUTCOMES
    return [Outcome(**json.loads(row)) for row in path.read_text().splitlines()] if path.is_file() else []


def finished(outcomes: Sequence[Outcome], ways: Sequence[str], tokens: int) -> list[Outcome]:
    """Return the outcomes of the tasks that all ways have worked on: only these compare."""
    mine = [one for one in outcomes if one.tokens_allowed == tokens and one.way in ways]
    done = [{one.task for one in mine if one.way == way} for way in ways]
    return [one for one in mine if all(one.task in tasks for tasks in done)]


async def collect(chosen: Sequence[str], ways: Sequence[str], tokens: int, state: Path) -> list[Outcome]:
    """Run everything, task by task, and return the outcomes."""
    model = await connect(MODEL, context_tokens=CONTEXT_TOKENS, slots=RUNS)
    bench = Bench(model, state, tokens)
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        shop, family = stack.enter_context(Shop()), stack.enter_context(MiniWoB())
        bar = stack.enter_context(Progress(console=Console(stderr=True), transient=True))
        row = bar.add_task("measuring", total=len(chosen) * len(ways))
        names = iter(chosen)

        async def work() -> None:
            for name in names:
                task = TASKS[name].on(shop) if name in TASKS else await family.task(name, SEED)
                for way in ways:
                    bar.update(row, description=f"{name}, {way}")
                    await bench.measure(task, way)
                    bar.advance(row)

        # One browser for all of them: as long as one leases it, it stays.
        standing = await bw.web.Browser(site=shop.site()).start("standing", Path(folder))
        try:
            await asyncio.gather(*(work() for _ in range(RUNS)))
        finally:
            await standing.aclose()
            await model.aclose()
    return bench.outcomes


def figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return what one way came to."""
    shop = [one for one in outcomes if not one.task.startswith("miniwob-")]
    wob = [one for one in outcomes if one.task.startswith("miniwob-")]
    return {
        "tasks": len(outcomes),
        "done": sum(one.done for one in outcomes),
        "any_done": sum(one.any_done for one in outcomes),
        "shop_tasks": len(shop),
        "shop_done": sum(one.done for one in shop),
        "miniwob_tasks": len(wob),
        "miniwob_done": sum(one.done for one in wob),
        "tokens": sum(one.tokens for one in outcomes),
        "sampled_tokens": sum(one.sampled_tokens for one in outcomes),
        "calls": sum(one.calls for one in outcomes),
        "steps": sum(one.steps for one in outcomes),
    }


def table(rows: dict[str, dict[str, Any]], tokens: int) -> Table:
    """The figures for people."""
    first = next(iter(rows.values()))
    title = (
        f"{first['shop_tasks']} tasks of the shop, {first['miniwob_tasks']} of MiniWoB++, {tokens} tokens each, {MODEL}"
    )
    view = Table(title=title)
    view.add_column("way")
    for heading in ("done", "shop", "MiniWoB++", "any trajectory", "tokens", "sampled", "calls", "steps"):
        view.add_column(heading, justify="right")
    keys = ("done", "shop_done", "miniwob_done", "any_done", "tokens", "sampled_tokens", "calls", "steps")
    for name, row in rows.items():
        view.add_row(name, *(f"{row[key]:,}" for key in keys))
    return view


def main() -> None:
    """Measure and print."""
    known = [name for pair in zip(TASKS, (*MINIWOB, *[""] * len(TASKS)), strict=False) for name in pair if name]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--tasks", nargs="*", default=known, choices=known, metavar="NAME")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--tokens", type=int, default=12_000, help="for each task and way")
    parser.add_argument("--state", type=Path, default=home() / "benchmarks" / "web-model", help="kept to go on later")
    parser.add_argument("--kept", action="store_true", help="run nothing: report on what all ways have done")
    given = parser.parse_args()
    given.state.mkdir(parents=True, exist_ok=True)
    try:
        if given.kept:
            outcomes = kept(given.state)
        else:
            outcomes = asyncio.run(collect(given.tasks, given.ways, given.tokens, given.state))
    except bw.BranchwiseError as error:
        sys.exit(f"bench-web-model: {error}")
    outcomes = finished(outcomes, given.ways, given.tokens)
    if not outcomes:
        sys.exit("bench-web-model: no task has been worked on in all ways yet")
    rows = {name: figures([one for one in outcomes if one.way == name]) for name in given.ways}
    if given.json:
        print(json.dumps({"model": MODEL, "tokens": given.tokens, "ways": rows}))
    else:
        Console(width=max(120, Console().width)).print(table(rows, given.tokens))


if __name__ == "__main__":
    main()
