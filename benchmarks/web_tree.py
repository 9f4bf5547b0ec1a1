"""Web tasks as trees that searches are let loose on: nodes are real pages, made once and kept as records, however often they are visited.

A node is what a random policy's choices lead to. What a search sees of it is the environment's own reward, with noise; a node that no
search has visited yet is made in the browser, by forking its parent and doing one action. A run that was stopped goes on from the records.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Self, TypeVar

from web_policy import options

from branchwise.core.errors import ActionFailed, ActionHeld, SandboxError
from branchwise.core.events import Expand
from branchwise.core.simulated.steps import Path as Choices
from branchwise.core.simulated.steps import Simulation, StepTree
from branchwise.core.tree import TreeView
from branchwise.core.types import Node, NodeId, Step, Usage, Verdict
from branchwise.web import Observation, WebEnvironment, WebSandboxes
from branchwise.web.tasks import WebTask

T = TypeVar("T")
STOP = -1
"""The choice to end the task here."""


@dataclass(frozen=True, slots=True)
class Reward:
    """What the environment thinks of a state."""

    value: float
    """In [0, 1]."""
    done: bool
    """Whether the task is done, all of it."""
    over: bool = False
    """Whether nothing can be done any more."""


Judge = Callable[[WebEnvironment, Observation], Awaitable[Reward]]


@dataclass(frozen=True)
class Problem:
    """A task with what rewards its states.

    Args:
        task: the task.
        reward: says what a state is worth.
        stops: share of the draws that end the task where it is; 0 where pages end by themselves.
        hinted: share of the draws that go to things whose line shares a word with the goal.
        depth: most actions of a trajectory.
    """

    task: WebTask
    reward: Judge
    stops: float = 0.0
    hinted: float = 0.0
    depth: int = 6


@dataclass(frozen=True, slots=True)
class Record:
    """A page that was made."""

    path: Choices
    shape: tuple[int, ...]
    """For each thing on it, in how many ways something can be done with it."""
    hinted: tuple[int, ...]
    """The things whose line shares a word with the goal."""
    value: float
    done: bool
    over: bool

    def draw(self, rng: Random, problem: Problem) -> int:
        """Return what the policy does here: a number among all that can be done."""
        if rng.random() < problem.stops or not self.shape:
            return STOP
        things = self.hinted if self.hinted and rng.random() < problem.hinted else range(len(self.shape))
        thing = rng.choice(things)
        return sum(self.shape[:thing]) + rng.randrange(self.shape[thing])


class Grove:
    """The pages of one problem: made by the browser where there is no record of them.

    Args:
        problem: the task.
        supply: its pages; None where all that is visited has a record.
        file: where the records are kept, a line for each.
    """

    def __init__(self, problem: Problem, supply: WebSandboxes | None, file: Path) -> None:
        self.problem = problem
        self.made = 0
        """Pages that were made since this began."""
        self.troubles: Counter[str] = Counter()
        """What went wrong on the way, by the name of the error; such a step leads nowhere."""
        self._supply = supply
        self._file = file
        self._refs: dict[Choices, str] = {}
        self._records: dict[Choices, Record] = {}
        if file.is_file():
            for line in file.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                for name in ("path", "shape", "hinted"):
                    row[name] = tuple(row[name])
                self._records[row["path"]] = Record(**row)

    def known(self, path: Choices) -> Record | None:
        """Return the record of a page that was made."""
        if path and path[-1] == STOP:
            before = self._records[path[:-1]]
            return replace(before, path=path, shape=(), over=True)
        return self._records.get(path)

    async def make(self, path: Choices) -> Record:
        """Return a page's record; the page is made where it has none."""
        found = self.known(path)
        if found is not None:
            return found
        try:
            env = await self._at(path)
        except SandboxError as error:
            self.troubles[type(error).__name__] += 1
            return self._keep(
                replace(self._records[path[:-1]], path=path, shape=(), hinted=(), done=False, value=0.0, over=True)
            )
        try:
            record = await self._look(env, path)
        finally:
            await env.close()
        self.made += 1
        return self._keep(record)

    async def _at(self, path: Choices) -> WebEnvironment:
        """Return the pages after some choices, kept as a state."""
        assert self._supply is not None, f"there is no record of {path}"
        if path in self._refs:
            return await self._supply.open(self._refs[path])
        if not path:
            env = await self._supply.open()
            await env.observe()
        else:
            env = await self._at(path[:-1])
            seen = await env.observe()
            action = [one for doing in options(seen, self.problem.task.goal) for one in doing][path[-1]]
            try:
                await env.act(action)
            except (ActionFailed, ActionHeld) as error:
                self.troubles[type(error).__name__] += 1  # the page is as it was, which is what the step led to
        self._refs[path] = await env.snapshot()
        return env

    async def _look(self, env: WebEnvironment, path: Choices) -> Record:
        seen = await env.observe()
        reward = await self.problem.reward(env, seen)
        goal = self.problem.task.goal
        words = {word.lower() for word in goal.replace(".", " ").replace(",", " ").split() if len(word) > 2}
        doing = [] if reward.over else options(seen, goal)
        lines = {ref: line.lower() for line in seen.lines for ref in seen.refs if f"[{ref}]" in line}
        hinted = [
            n
            for n, one in enumerate(doing)
            if words & set(_words(lines.get(str(getattr(one[0], "ref", "")), ""), one[0]))
        ]
        return Record(path, tuple(map(len, doing)), tuple(hinted), reward.value, reward.done, reward.over)

    def _keep(self, record: Record) -> Record:
        self._records[record.path] = record
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(record)) + "\n")
        return record


def _words(line: str, action: Any) -> list[str]:
    """Return the words on a line that belong to a thing: from its reference to the next one."""
    ref = f"[{getattr(action, 'ref', '')}]"
    _, _, rest = line.partition(ref)
    own = rest.partition("[e")[0]
    return "".join(letter if letter.isalnum() else " " for letter in own).split()


class Browsing:
    """An event loop in a thread of its own, for searches that know nothing of pages."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="browsing", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it there, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


@dataclass(frozen=True, kw_only=True)
class PageTree(StepTree):
    """A problem's pages as a world to be searched.

    The k-th draw at a page is the same in every search with this `seed`, so what differs between searches is where they go, not luck.
    """

    grove: Grove
    browsing: Browsing
    _drawn: Counter[Choices] = field(default_factory=Counter[Choices], repr=False, hash=False)

    def record(self, path: Choices) -> Record:
        """Return a page's record."""
        return self.grove.known(path) or self.browsing.run(self.grove.make(path))

    def expand(self, work: Expand, view: TreeView, seed: int) -> Node:
        """Return where the policy's next draw at this node leads."""
        parent = view[work.node]
        before = self.path(parent)
        self._drawn[before] += 1
        rng = Random(f"{self.grove.problem.task.name} {seed} {before} {self._drawn[before]}")
        path = (*before, self.record(before).draw(rng, self.grove.problem))
        record = self.record(path)
        where = ".".join(map(str, path))
        ends = record.over or (self.grove.problem.stops > 0 and len(path) >= self.grove.problem.depth)
        answer = where if ends else None
        step = Step("thought" if answer is None else "answer", where)
        return Node(NodeId(work.id), parent.id, step, where, parent.depth + 1, Usage(nodes=1), answer)


@dataclass
class Searched(Simulation):
    """A search over pages with so many actions.

    Args:
        noise: standard deviation of what the environment's reward is told with, drawn anew each time it is asked.
        actions: how many.
    """

    noise: float = 0.0
    actions: int = 32
    judged: int = field(default=0, init=False)

    def verdict(self, node: NodeId) -> Verdict:
        """Return the reward of a node, with noise."""
        assert isinstance(self.world, PageTree)
        self.judged += 1
        rng = Random(f"{self.seed} {self.judged} {self.tree[node].env_ref}")
        true = self.world.record(self.world.path(self.tree[node])).value
        return Verdict(min(1.0, max(0.0, true + rng.gauss(0.0, self.noise))), "value", "reward")

    def search(self) -> bool:
        """Search, and return whether what is chosen in the end has the task done."""
        while (spent := len(self.tree) - 1) < self.actions and self.judged < 4 * self.actions:
            self.tree.share_left = 1 - spent / self.actions
            self.fill()
            if not self.tree.in_flight:
                break
            self.finish(next(iter(self.tree.in_flight)))
        for number in list(self.tree.in_flight):
            self.finish(number, "cancelled")
        chosen = self.strategy.select(self.tree)
        assert isinstance(self.world, PageTree)
        return chosen is not None and self.world.record(self.world.path(self.tree[NodeId(chosen)])).done
