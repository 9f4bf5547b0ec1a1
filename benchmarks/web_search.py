"""Searching over real pages with the environment's own reward, told with noise, against best-of-n and one trajectory at equal actions.

The policy knows nothing: it draws among the things that an observation shows, then among what can be done with each (`web_policy`). The
reward of a page of MiniWoB++ is its own raw one, between -1 and 1, mapped to [0, 1]; a page that has not ended is worth .5. That of the
shop is how much of its state is as the task's script leaves it: the share of the differences between the beginning and that end which
are gone, less new ones; whoever works there also ends the task where they are, and three quarters of the draws go to things that share a word with
the goal. Strategies are the product's own, each with the same draws at the same page; what they choose by noisy rewards is judged exactly.

The tasks were chosen before anything was searched: `--choose` prints what the rule gives. Of MiniWoB++, `TASKS` drawn by a fixed seed
from those whose script needs two to six actions of kinds that the policy has; of the shop, all that are judged by its state alone and whose
script needs at most six. Pages are kept as records in `--state`, and what was stopped goes on.

    python benchmarks/web_search.py [--json] [--actions 8 16 32] [--repeats 3] [--noise 0 0.1 0.2] [--plot FILE] [--state FOLDER] [--choose]
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, cast

from oracles import ORACLES
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from web_shop import TASKS, Shop, ShopTask, State
from web_tree import Browsing, Grove, Judge, PageTree, Problem, Reward, Searched

import branchwise as bw
from branchwise.cli.chart import chart
from branchwise.core.errors import BranchwiseError
from branchwise.core.protocols import Strategy
from branchwise.core.settings import home
from branchwise.web import Browser, Observation, WebEnvironment
from branchwise.web.actions import Acting
from branchwise.web.tasks import Behind, Hand, MiniWoB, Oracle, WebTask

MINIWOB_TASKS = 20
SCRIPT_ACTIONS = (2, 6)
DEPTH = 6
STOPS, HINTED = 1 / 8, 3 / 4
SEED = 1
MINIWOB = (
    "choose-date-medium",
    "choose-list",
    "click-button-sequence",
    "click-checkboxes-soft",
    "click-collapsible-nodelay",
    "click-scroll-list",
    "click-shades",
    "copy-paste-2",
    "email-inbox-forward",
    "email-inbox-forward-nl",
    "enter-date",
    "find-greatest",
    "login-user-popup",
    "order-food",
    "read-table-2",
    "simple-algebra",
    "social-media-some",
    "text-transform",
    "use-spinner",
    "visual-addition",
)
SHOP = (
    "best-of-garden",
    "cancel-booking",
    "cancel-order",
    "cheapest-headphones",
    "coupon",
    "green-cushion",
    "lamp",
    "last-of-audio",
    "log-in",
    "new-address",
    "report-post",
    "take-out-kettle",
)
"""What `--choose` gave."""
KINDS = frozenset({"click", "fill", "select", "check", "dialog"})
"""What the policy can do."""
SIDE_BY_SIDE = 2
PATIENT = {"action_seconds": 60.0, "load_seconds": 120.0}
"""What a busy machine is slow at must not be taken for what a page does."""

STRATEGIES: dict[str, Callable[[int], Strategy]] = {
    "one trajectory": lambda _: bw.search.BestOfN(n=1, depth=DEPTH),
    "best-of-n": lambda actions: bw.search.BestOfN(n=actions, depth=DEPTH),
    "best-first": lambda _: bw.search.BestFirst(width=4, depth=DEPTH),
    "noise-aware best-first": lambda _: bw.search.NoiseAware(bw.search.BestFirst(width=4, depth=DEPTH)),
    "uct": lambda _: bw.search.UCT(width=6, depth=DEPTH),
    "depth first": lambda _: bw.search.TotDFS(width=3, depth=DEPTH),
}
"""Best-of-n begins a further trajectory as long as there are actions left."""

_ENDED = "() => ({ done: WOB_DONE_GLOBAL, reward: WOB_RAW_REWARD_GLOBAL })"


# --- rewards ----------------------------------------------------------------------------------------------------------


async def own_reward(env: WebEnvironment, seen: Observation) -> Reward:
    """Return what a page of MiniWoB++ thinks of itself."""
    if any("dialog is open" in note for note in seen.notes):
        return Reward(0.5, done=False)
    told = await env.evaluate(_ENDED)
    if not told["done"]:
        return Reward(0.5, done=False)
    reward = max(-1.0, min(1.0, float(told["reward"])))
    return Reward((1 + reward) / 2, done=reward >= 1.0, over=True)


def leaves(data: Any, path: str = "") -> dict[str, Any]:
    """Return what stands in nested data, by its place."""
    inner: list[tuple[str, Any]]
    if isinstance(data, dict):
        inner = [(str(name), one) for name, one in cast("dict[str, Any]", data).items()]
    elif isinstance(data, list):
        inner = [(str(place), one) for place, one in enumerate(cast("list[Any]", data))]
    else:
        return {path: data}
    return {key: value for name, one in inner for key, value in leaves(one, f"{path}/{name}").items()}


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    """Return in how many places two states differ."""
    missing = object()
    return sum(one.get(key, missing) != other.get(key, missing) for key in {**one, **other})


async def _state(env: WebEnvironment) -> State | None:
    """Return the shop's state of a branch; None on other pages."""
    state = getattr(await env.world(), "state", None)
    return state if isinstance(state, State) else None


def towards(task: WebTask, begun: State, ended: State) -> Judge:
    """Return what says how much of the shop's state is as a script leaves it."""
    wanted = leaves(ended.to_json())
    whole = max(1, differences(leaves(begun.to_json()), wanted))

    async def reward(env: WebEnvironment, _: Observation) -> Reward:
        state = await _state(env)
        assert state is not None
        if (await task.mark(env)).done:
            return Reward(1.0, done=True)
        return Reward(min(0.95, max(0.0, 1 - differences(leaves(state.to_json()), wanted) / whole)), done=False)

    return reward


# --- problems ---------------------------------------------------------------------------------------------------------


class Counting(Hand):
    """A hand that notes what it does."""

    def __init__(self, env: WebEnvironment) -> None:
        super().__init__(env)
        self.did: list[str] = []

    async def act(self, action: Acting) -> str:
        """Do it."""
        self.did.append(action.do)
        return await super().act(action)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a script did, and what became of the shop."""

    did: tuple[str, ...]
    done: bool
    began: State | None = None
    ended: State | None = None

    @property
    def fits(self) -> bool:
        """Whether it is a task for the policy, by how it is done and not by how well anything does."""
        least, most = SCRIPT_ACTIONS
        return self.done and least <= len(self.did) <= most and KINDS.issuperset(self.did)


async def shown(task: WebTask, oracle: Oracle) -> Shown:
    """Have a script do a task."""
    with tempfile.TemporaryDirectory() as folder:
        supply = await task.browser().start(task.name, Path(folder))
        try:
            env = await supply.open()
            hand = Counting(env)
            await hand.look()
            began = copy.deepcopy(await _state(env))
            try:
                answer = await oracle(hand)
                done = (await task.mark(env, answer)).done
            except (BranchwiseError, AssertionError, StopIteration, LookupError, ValueError, TypeError):
                done = False
            result = Shown(tuple(hand.did), done, began, await _state(env))
            await env.close()
            return result
        finally:
            await supply.aclose()


async def choose(family: MiniWoB, shop: Shop) -> tuple[list[str], list[str]]:
    """Return the names of the tasks that the rule gives."""
    fitting = [
        name for name in sorted(ORACLES) if (await shown(await family.task(name, SEED, goal=""), ORACLES[name])).fits
    ]
    drawn = Random("tasks").sample(fitting, MINIWOB_TASKS)
    own = [
        name
        for name in sorted(TASKS)
        if _by_state(TASKS[name]) and (await shown(TASKS[name].on(shop), TASKS[name].oracle)).fits
    ]
    return sorted(drawn), own


def _by_state(task: ShopTask) -> bool:
    """Whether a task is judged by the shop's state alone: an answer that says nothing does not matter."""
    return isinstance(task.check, Behind) and "?" not in task.goal


async def problem(name: str, family: MiniWoB, shop: Shop) -> Problem:
    """Return a task with its reward."""
    if name in TASKS:
        task = TASKS[name].on(shop)
        model = await shown(task, TASKS[name].oracle)
        assert model.began is not None
        assert model.ended is not None
        return Problem(task, towards(task, model.began, model.ended), stops=STOPS, hinted=HINTED, depth=DEPTH)
    return Problem(await family.task(name, SEED), own_reward, depth=DEPTH)


# --- searching --------------------------------------------------------------------------------------------------------


@dataclass
class Results:
    """What came of all searches: by family, strategy, noise and number of actions, how often the task was done."""

    done: dict[tuple[str, str, float, int], list[bool]] = field(
        default_factory=dict[tuple[str, str, float, int], list[bool]]
    )
    pages: int = 0
    troubles: dict[str, int] = field(default_factory=dict[str, int])

    def share(self, family: str, strategy: str, noise: float, actions: int) -> float:
        """Return the share of tasks done."""
        return statistics.mean(self.done[family, strategy, noise, actions])


def search_all(grove: Grove, browsing: Browsing, given: argparse.Namespace, family: str, results: Results) -> None:
    """Let every strategy search a problem, with every noise and number of actions."""
    for repeat in range(given.repeats):
        for noise in given.noise:
            for actions in given.actions:
                for name, make in STRATEGIES.items():
                    tree = PageTree(grove=grove, browsing=browsing)
                    search = Searched(
                        make(actions).fresh(repeat), tree, slots=1, seed=repeat, noise=noise, actions=actions
                    )
                    results.done.setdefault((family, name, noise, actions), []).append(search.search())
    results.pages += grove.made
    for error, count in grove.troubles.items():
        results.troubles[error] = results.troubles.get(error, 0) + count


def measure(bar: Progress, given: argparse.Namespace) -> Results:
    """Search everything."""
    results = Results()
    given.state.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        browsing = stack.enter_context(Browsing())
        family, shop = stack.enter_context(MiniWoB()), stack.enter_context(Shop())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        names = [*given.miniwob, *given.shop]
        task = bar.add_task("tasks", total=len(names))
        standing = browsing.run(Browser(shop.url).start("standing", folder / "standing"))
        stack.callback(lambda: browsing.run(standing.aclose()))

        def one(name: str) -> None:
            posed = browsing.run(problem(name, family, shop))
            supply = browsing.run(posed.task.browser(kept_contexts=2, **PATIENT).start(name, folder / name))
            try:
                grove = Grove(posed, supply, given.state / f"{name}.jsonl")
                search_all(grove, browsing, given, "shop" if name in TASKS else "miniwob", results)
            finally:
                browsing.run(supply.aclose())
            bar.advance(task)

        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            list(pool.map(one, names))
    return results


# --- telling ----------------------------------------------------------------------------------------------------------


def to_json(results: Results) -> dict[str, Any]:
    """The figures for programs."""
    rows = [
        {
            "family": family,
            "strategy": name,
            "noise": noise,
            "actions": actions,
            "share_done": statistics.mean(done),
            "searches": len(done),
        }
        for (family, name, noise, actions), done in sorted(results.done.items())
    ]
    return {"rows": rows, "pages_made": results.pages, "troubles": results.troubles}


def table(results: Results, given: argparse.Namespace, family: str) -> Table:
    """The figures for people."""
    most = max(given.actions)
    view = Table(title=f"{family}: share of tasks done, by actions and noise of the reward")
    view.add_column("strategy")
    for noise in given.noise:
        for actions in given.actions:
            view.add_column(f"{noise:g}\n{actions}", justify="right", style="bold" if actions == most else None)
    for name in STRATEGIES:
        view.add_row(
            name, *(f"{results.share(family, name, noise, n):.3f}" for noise in given.noise for n in given.actions)
        )
    return view


def plot(results: Results, given: argparse.Namespace, families: Sequence[str]) -> list[Path]:
    """Write a chart for each family and noise; return the files."""
    given.plot.parent.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    for family in families:
        for noise in given.noise:
            lines = {name: [(n, results.share(family, name, noise, n)) for n in given.actions] for name in STRATEGIES}
            file = given.plot.with_name(f"{given.plot.stem}-{family}-{noise:g}.svg")
            title = f"{'MiniWoB++' if family == 'miniwob' else 'The shop'}, reward with noise {noise:g}"
            file.write_text(chart(title, "actions", "share of tasks done", lines), encoding="utf-8")
            files.append(file)
    return files


def main() -> None:
    """Measure, print and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--actions", type=int, nargs="+", default=[8, 16, 32], help="actions of a search")
    parser.add_argument("--repeats", type=int, default=3, help="searches of a task with other draws")
    parser.add_argument(
        "--noise", type=float, nargs="+", default=[0.0, 0.1, 0.2], help="standard deviations of the reward"
    )
    parser.add_argument("--miniwob", nargs="*", default=list(MINIWOB), help="tasks of MiniWoB++")
    parser.add_argument("--shop", nargs="*", default=list(SHOP), help="tasks of the shop")
    parser.add_argument("--plot", type=Path, default=Path("build/web-search.svg"), help="name of the charts")
    parser.add_argument(
        "--state", type=Path, default=home() / "bench-web-search", help="folder of the records of pages"
    )
    parser.add_argument("--choose", action="store_true", help="print the tasks that the rule gives, and end")
    given = parser.parse_args()
    if given.choose:
        with MiniWoB() as family, Shop() as shop:
            print(json.dumps(asyncio.run(choose(family, shop))))
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        results = measure(bar, given)
    families = [name for name, tasks in (("miniwob", given.miniwob), ("shop", given.shop)) if tasks]
    files = plot(results, given, families)
    if given.json:
        print(json.dumps({**to_json(results), "plots": [str(file) for file in files]}))
        return
    for name in families:
        Console(width=150).print(table(results, given, name))
    print("pages made:", results.pages, "troubles:", results.troubles, "charts:", *files, file=sys.stderr)


if __name__ == "__main__":
    main()
