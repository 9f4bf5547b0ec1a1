"""What searches make of a real small model: HumanEval, with tests that the model wrote itself as the only verifier.

Every method gets the same number of model calls for each problem. The hidden tests decide what is solved, and nothing else. Replies
are kept, so a benchmark that was stopped goes on where it was, and methods that make the same call share one reply; each is
charged for it in full: tokens, and the seconds that the engine was busy with it.

    python benchmarks/model.py [--json] [--problems 32] [--methods best-of-n ...] [--calls 4] [--data FILE] [--state FOLDER]
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from humaneval import FILE, OwnTests, Problem, ask_for_tests, cases_of, closed, passes, problems
from metered import Clocked, Used
from public_data import DATA
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import branchwise as bw
from branchwise.core.settings import home
from branchwise.graphs import LocalRunner
from branchwise.graphs.journal import RunStore
from branchwise.models import RecordedModel, connect
from branchwise.verifiers.answers import code_of

MODEL = "embedded:qwen2.5-coder-1.5b"

AT_ONCE = 4
"""Problems side by side: as many as the engine has slots."""

WRITE = (
    "You write Python functions. Reply with the complete function in one ```python block and nothing else: no docstring, no comments, "
    "no tests, no explanation."
)

REWRITE = (
    f"The file {FILE} has the signature and docstring of a Python function. Write the function, complete and correct, with the tool "
    "`rewrite`; where tests fail, write it anew. No docstring, no comments, single quotes. `thought` has at most eight words."
)

STOP = ("\n```\n", "\nassert ", "\nprint(", "\n# ", "\nif __name__")
"""Where a reply that goes on after the function is cut off. What opens a block after some words is no end: it has a language."""


@dataclass(frozen=True)
class Method:
    """A way to spend the calls.

    Args:
        search: the strategy, by the number of calls.
        tests: whether the model's own tests judge.
        in_file: whether attempts are states of a file, which can be mended, rather than answers.
    """

    search: Callable[[int], bw.Strategy]
    tests: bool = True
    in_file: bool = False


def repair(calls: int) -> bw.search.BestFirst:
    """Return a search that begins with half of the calls and mends the best attempts with the rest."""
    return bw.search.BestFirst(width=max(1, calls // 2), depth=max(2, calls))


def same_program(one: str, other: str) -> bool:
    """Whether two answers are the same program: comments, docstrings and layout do not count."""
    return bare(one) == bare(other)


def bare(answer: str) -> str:
    """Return an answer's code without comments, docstrings and layout; what is no Python as it stands."""
    try:
        tree = ast.parse(code_of(closed(answer)))
    except (SyntaxError, ValueError):
        return answer
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


METHODS: dict[str, Method] = {
    "one sample": Method(lambda _calls: bw.search.BestOfN(n=1), tests=False),
    "best-of-n": Method(lambda calls: bw.search.BestOfN(n=calls)),
    "self-consistency": Method(lambda calls: bw.search.SelfConsistency(n=calls, same=same_program), tests=False),
    "iterative decoding": Method(
        lambda calls: bw.search.IterativeDecoding(attempts=calls, first=max(1, calls // 2), looks=0)
    ),
    "best-first": Method(repair, in_file=True),
    "the default: noise-aware best-first": Method(lambda calls: bw.search.NoiseAware(repair(calls)), in_file=True),
}


@dataclass(frozen=True)
class Outcome:
    """How a method fared on a problem."""

    task_id: str
    method: str
    calls: int
    """Calls that were allowed."""
    solved: bool
    accepted: bool
    """Whether the model's own tests accepted the answer."""
    tokens: int
    sampled_tokens: int
    seconds: float
    confidence: float | None


OUTCOMES = "outcomes.jsonl"


def kept(state: Path) -> list[Outcome]:
    """Return the outcomes of earlier runs."""
    file = state / OUTCOMES
    return [Outcome(**json.loads(row)) for row in file.read_text().splitlines()] if file.exists() else []


def finished(outcomes: Sequence[Outcome], methods: Sequence[str], calls: int) -> list[Outcome]:
    """Return the outcomes of problems that all methods have worked on: only these compare."""
    done = [{o.task_id for o in outcomes if (o.method, o.calls) == (name, calls)} for name in methods]
    common = {o.task_id for o in outcomes if all(o.task_id in tasks for tasks in done)}
    return [o for o in outcomes if o.task_id in common and o.method in methods and o.calls == calls]


class Bench:
    """Everything that the runs share.

    Args:
        model: with kept replies.
        clock: knows what each reply took.
        state: folder of runs and outcomes.
        supply: sandboxes for the score.
        calls: model calls for each problem and method.
        pace_seconds: how long every reply takes at least.
    """

    def __init__(
        self,
        model: RecordedModel,
        clock: Clocked,
        state: Path,
        supply: bw.Sandboxes,
        *,
        calls: int,
        pace_seconds: float = 0.5,
    ) -> None:
        self._model, self._clock, self._supply, self._calls = model, clock, supply, calls
        self._pace_seconds = pace_seconds
        self._runner = LocalRunner(RunStore(state / "runs"))
        self._file = state / OUTCOMES
        self.outcomes = kept(state)

    def known(self, problem: Problem, method: str) -> Outcome | None:
        """Return the outcome of an earlier run."""
        wanted = (problem.task_id, method, self._calls)
        return next((o for o in self.outcomes if (o.task_id, o.method, o.calls) == wanted), None)

    async def measure(self, problem: Problem, name: str) -> Outcome:
        """Let a method work on a problem, unless it has done so before."""
        if (known := self.known(problem, name)) is not None:
            return known
        method = METHODS[name]
        model = Used(self._model, self._pace_seconds)
        cost = bw.Usage()
        cases: list[bw.verifiers.Case] = []
        if method.tests:
            written = await self._run(self._tester(model), ask_for_tests(problem), bw.Budget())
            cost += written.usage
            cases = cases_of(written.answer or "", problem.entry_point)
        verifiers = [OwnTests(problem, cases, in_file=method.in_file)] if cases else []
        result = await self._solve(problem, method, model, verifiers)
        cost += result.usage
        program = result.files.get(FILE, b"").decode() if method.in_file else problem.program(result.answer or "")
        outcome = Outcome(
            problem.task_id,
            name,
            self._calls,
            bool(program) and await passes(problem, program, self._supply),
            result.accepted,
            cost.tokens,
            cost.completion_tokens + cost.cancelled_tokens,
            round(sum(self._clock.seconds[key] for key in model.keys), 2),
            result.confidence,
        )
        self.outcomes.append(outcome)
        with self._file.open("a") as file:
            file.write(json.dumps(asdict(outcome)) + "\n")
        return outcome

    async def _solve(self, problem: Problem, method: Method, model: Used, verifiers: Sequence[OwnTests]) -> bw.Result:
        strategy, budget = method.search(self._calls), bw.Budget(calls=self._calls)
        if not method.in_file:
            agent = bw.Agent(
                name="writer",
                instructions=WRITE,
                model=model,
                form="native",
                verifiers=verifiers,
                sandbox=bw.sandboxes.Auto() if verifiers else None,
                sampling=bw.Sampling(max_tokens=320, temperature=0.8, stop=STOP),
                search=strategy,
                slots=1,
            )
            return await self._run(agent, f"```python\n{problem.prompt.rstrip()}\n```", budget)
        agent = bw.Agent(
            name="repairer",
            instructions=REWRITE,
            model=model,
            form="json",
            tools=[bw.tools.rewrite],
            verifiers=verifiers,
            sandbox=bw.sandboxes.Auto(),
            sampling=bw.Sampling(max_tokens=400, temperature=0.8),
            context=["*.py"],
            search=strategy,
            slots=1,
        )
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / FILE).write_text(problem.prompt)
            return await self._run(agent, f"Write {problem.entry_point}.", budget, files=folder)

    @staticmethod
    def _tester(model: Used) -> bw.Agent:
        return bw.Agent(
            name="tester",
            instructions="You write tests for Python functions.",
            model=model,
            form="native",
            sampling=bw.Sampling(max_tokens=240, temperature=0.0, stop=STOP[:1]),
        )

    async def _run(self, agent: bw.Agent, prompt: str, budget: bw.Budget, files: str | None = None) -> bw.Result:
        return await self._runner.run(agent, bw.Task(prompt=prompt, files=files), budget, seed=1)


async def collect(chosen: Sequence[Problem], methods: Sequence[str], calls: int, state: Path) -> list[Outcome]:
    """Run everything, a few problems side by side, and return the outcomes."""
    clock = Clocked(await connect(MODEL, context_tokens=3072, slots=AT_ONCE), state / "seconds.jsonl")
    model = RecordedModel(state / "replies.jsonl", clock)
    supply = await bw.sandboxes.Auto().start("bench-model", state / "snapshots")
    bench = Bench(model, clock, state, supply, calls=calls)
    places = asyncio.Semaphore(AT_ONCE)
    found: list[Outcome] = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("measuring", total=len(chosen) * len(methods))

        async def work(problem: Problem) -> None:
            async with places:
                for method in methods:
                    found.append(await bench.measure(problem, method))
                    progress.advance(bar)

        try:
            async with asyncio.TaskGroup() as group:
                for problem in chosen:
                    group.create_task(work(problem))
        finally:
            await supply.aclose()
            await model.aclose()
    return found


# --- putting it together ----------------------------------------------------------------------------------------------


def figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return what one method came to; the cost of a pass counts what failures cost, too."""
    tokens = bw.search.cost_of_pass([(o.tokens, o.solved) for o in outcomes])
    seconds = bw.search.cost_of_pass([(o.seconds, o.solved) for o in outcomes])
    accepted = [o for o in outcomes if o.accepted]
    return {
        "problems": len(outcomes),
        "solved": sum(o.solved for o in outcomes),
        "accepted": len(accepted),
        "accepted_right": sum(o.solved for o in accepted),
        "tokens": sum(o.tokens for o in outcomes),
        "sampled_tokens": sum(o.sampled_tokens for o in outcomes),
        "seconds": round(sum(o.seconds for o in outcomes), 1),
        "cost_of_pass_tokens": round(tokens) if math.isfinite(tokens) else None,
        "cost_of_pass_seconds": round(seconds, 1) if math.isfinite(seconds) else None,
    }


def table(rows: dict[str, dict[str, Any]], calls: int) -> Table:
    """The figures for people, with what did not pay."""
    base = next(iter(rows))
    dear = [
        name
        for name, row in rows.items()
        if name != base and (row["cost_of_pass_tokens"] or float("inf")) > (rows[base]["cost_of_pass_tokens"] or 0)
    ]
    weak = [name for name in dear if rows[name]["solved"] <= rows[base]["solved"]]
    view = Table(
        title=f"{rows[base]['problems']} problems, {calls} calls each, {MODEL}",
        caption=f"A solved problem costs more tokens than by {base}: {', '.join(dear) or 'none'}. "
        f"Of these solve no more than it, and do not pay: {', '.join(weak) or 'none'}.",
    )
    view.add_column("method")
    for title in (
        "solved",
        "accepted",
        "of them right",
        "tokens",
        "sampled",
        "seconds",
        "tokens a pass",
        "seconds a pass",
    ):
        view.add_column(title, justify="right")
    keys = ("solved", "accepted", "accepted_right", "tokens", "sampled_tokens", "seconds", "cost_of_pass_tokens",
            "cost_of_pass_seconds")  # fmt: skip
    for name, row in rows.items():
        view.add_row(name, *("-" if row[key] is None else f"{row[key]:,}" for key in keys))
    return view


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--problems", type=int, default=32)
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument(
        "--calls", type=int, default=4, help="model calls for each problem and method, beside those for tests"
    )
    parser.add_argument(
        "--data", type=Path, default=DATA / "humaneval_dev.jsonl", help="HumanEval problems, JSON lines"
    )
    parser.add_argument(
        "--state", type=Path, default=home() / "benchmarks" / "model", help="what is kept to go on later"
    )
    parser.add_argument("--again", action="store_true", help="forget the outcomes, not the replies")
    parser.add_argument(
        "--kept", action="store_true", help="run nothing: report on the problems that all methods have done"
    )
    given = parser.parse_args()
    try:
        chosen = [] if given.kept else problems(given.data)[: given.problems]
        given.state.mkdir(parents=True, exist_ok=True)
        if given.again:
            (given.state / OUTCOMES).unlink(missing_ok=True)
        outcomes = (
            asyncio.run(collect(chosen, given.methods, given.calls, given.state)) if chosen else kept(given.state)
        )
    except (FileNotFoundError, bw.BranchwiseError) as error:
        sys.exit(f"bench-model: {error}")
    outcomes = finished(outcomes, given.methods, given.calls)
    if not outcomes:
        sys.exit("bench-model: no problem has been worked on by all methods yet")
    rows = {name: figures([o for o in outcomes if o.method == name]) for name in given.methods}
    if given.json:
        print(json.dumps({"model": MODEL, "calls": given.calls, "methods": rows}))
    else:
        Console(width=max(130, Console().width)).print(table(rows, given.calls))


if __name__ == "__main__":
    main()
