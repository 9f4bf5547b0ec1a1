"""States within their limit: what is dropped, what is made again, what is refused, what it costs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import branchwise as bw
from branchwise.core.events import Expanded, Failed
from branchwise.core.testing import ScriptedModel
from branchwise.core.tree import Tree
from branchwise.core.types import ROOT, ModelRequest, Node, NodeId, Result, Step, Task, ToolCall, Usage, WorkId
from branchwise.graphs import LocalRunner, RunStore
from branchwise.graphs.journal import read_tree
from branchwise.graphs.retention import Kept, Retention
from branchwise.sandboxes import Store
from branchwise.sandboxes.manifest import Entry

SIZE = 20_000


# --- the policy -------------------------------------------------------------------------------------------------------


def kept(store: Store, name: str) -> str:
    """Keep a state with one file of its own."""
    content = random.Random(name).randbytes(SIZE)
    digest = store.put(content)
    return store.add({"file": Entry("f", 0o644, SIZE, digest)})


def chain(store: Store, parents: dict[int, int], tools: dict[int, str]) -> Tree:
    """A tree whose node n was made by one call of tool `tools[n]` (else "edit") and took n seconds."""
    tree = Tree(Node(ROOT, None, None, kept(store, "0")))
    for number, parent in parents.items():
        call = ToolCall("", tools.get(number, "edit"), {})
        step = Step("tool", "", (call,))
        usage = Usage(sandbox_seconds=float(number))
        ref = kept(store, str(number))
        tree.apply(Expanded(WorkId(number), Node(NodeId(number), NodeId(parent), step, ref, usage=usage)))
    return tree


def retention(store: Store, tree: Tree, *, limit: int = 100 * SIZE, in_use: tuple[str, ...] = ()) -> Retention:
    """The policy over a tree in which the tool "send" cannot be taken back."""
    policy = Retention(store, limit)
    policy.add(search(tree, in_use))
    return policy


def search(tree: Tree, in_use: tuple[str, ...] = ()) -> Kept:
    """A search whose tool "send" cannot be taken back."""
    return Kept(
        tree=lambda: tree,
        strategy=bw.search.BestFirst(width=2, depth=9).fresh(0),
        can_redo=lambda step: all(call.name != "send" for call in step.calls),
        in_use=lambda: in_use,
    )


def numbers(tree: Tree, refs: list[str]) -> list[int]:
    """The nodes that have these states."""
    return [node.id for ref in refs for node in tree if node.env_ref == ref]


def test_only_what_can_be_made_again_is_droppable(tmp_path: Path) -> None:
    """Inner nodes, cheapest first; not the root, not leaves, nothing at or below what cannot be done again."""
    store = Store(tmp_path)
    #   0 - 1 - 2 - 3      0 - 4 (send) - 5 - 6
    tree = chain(store, {1: 0, 2: 1, 3: 2, 4: 0, 5: 4, 6: 5}, {4: "send"})
    policy = retention(store, tree)
    assert numbers(tree, policy.droppable()) == [1, 2]
    assert numbers(tree, retention(store, tree, in_use=(tree[NodeId(1)].env_ref or "",)).droppable()) == [2]


def test_what_frees_nothing_stays(tmp_path: Path) -> None:
    """A state whose files its children still have is worth nothing: dropping it would only cost time later."""
    store = Store(tmp_path)
    tree = chain(store, {1: 0, 2: 1}, {})
    own, both = store.manifest(tree[NodeId(1)].env_ref or ""), store.manifest(tree[NodeId(2)].env_ref or "")
    more = store.add({**both, "inherited": own["file"]})
    tree.apply(Expanded(WorkId(3), Node(NodeId(3), NodeId(2), None, more)))
    assert numbers(tree, retention(store, tree).droppable()) == []


def test_states_that_two_nodes_share(tmp_path: Path) -> None:
    """A state goes only if every node that has it can be brought back."""
    store = Store(tmp_path)
    tree = chain(store, {1: 0, 2: 1, 3: 0, 4: 3}, {})
    twin = Node(NodeId(5), NodeId(0), Step("tool", "", (ToolCall("", "send", {}),)), tree[NodeId(1)].env_ref)
    tree.apply(Expanded(WorkId(5), twin))
    tree.apply(Expanded(WorkId(6), Node(NodeId(6), NodeId(5), Step("thought", ""), kept(store, "6"))))
    assert numbers(tree, retention(store, tree).droppable()) == [3]


def test_room_is_made_up_to_a_share(tmp_path: Path) -> None:
    """As much is dropped as is missing and a fifth of the limit, and what was dropped is remembered."""
    store = Store(tmp_path)
    tree = chain(store, {number: number - 1 for number in range(1, 20)}, {})
    policy = retention(store, tree, limit=20 * SIZE)
    before = store.stored_bytes
    policy.make_room(SIZE)
    assert 5 * SIZE <= before - store.stored_bytes == policy.dropped_bytes < 6.2 * SIZE
    assert sorted(numbers(tree, list(policy.dropped))) == [1, 2, 3, 4, 5]
    first, *_, last = numbers(tree, policy.droppable())
    assert (first, last) == (7, 6), "6 has become dear: it would have to be made from the root"


def test_of_an_ended_search_only_the_choice_stays(tmp_path: Path) -> None:
    """Its other states go first, also leaves; what another search has too is that one's business."""
    store = Store(tmp_path)
    over, going = chain(store, {1: 0, 2: 1, 3: 1}, {}), chain(store, {11: 0, 12: 11}, {})
    going.apply(Expanded(WorkId(13), Node(NodeId(13), NodeId(12), Step("thought", ""), over[NodeId(3)].env_ref)))
    policy, ended = Retention(store, 100 * SIZE), search(over)
    policy.add(ended)
    policy.add(search(going))
    policy.end(ended, over[NodeId(2)].env_ref)
    assert [number for ref in policy.droppable() for number in numbers(over, [ref]) + numbers(going, [ref])] == [
        1,
        11,
        12,
    ]


# --- whole runs -------------------------------------------------------------------------------------------------------


@bw.tool(effects="sandbox")
async def grow(ctx: bw.Context, seed: int) -> str:
    """Replace a file by one whose content follows from the seed."""
    await ctx.sandbox.write("f", random.Random(seed).randbytes(SIZE))
    return "done"


@bw.tool(effects="sandbox")
async def waver(ctx: bw.Context, seed: int) -> str:
    """Write a file that is another one every time."""
    await ctx.sandbox.write(f"f{seed}", os.urandom(SIZE))
    return "done"


@bw.verifier(scope="state")
async def lottery(candidate: bw.Candidate) -> bw.Verdict:
    """Judge by depth and a little chance, but always alike, and read the state, which must be there for it."""
    async with candidate.open(candidate.node.env_ref) as sandbox:
        content = b"".join([await sandbox.read(name) for name in await sandbox.list()])
    value = len(candidate.path) / 40 + hashlib.sha256(content).digest()[0] / 10_000
    return bw.Verdict(value, "value", "lottery")


@dataclass(frozen=True)
class Elsewhere:
    """Sandboxes whose states are kept in a folder of the test's choice."""

    folder: Path

    async def start(self, run_id: str, store: Path) -> bw.Sandboxes:
        """Start the supply; `store` is not used."""
        return await bw.sandboxes.Local().start(run_id, self.folder)


def grower(tool: str = "grow", search: bw.Strategy | None = None, sandbox: bw.SandboxSpec | None = None) -> bw.Agent:
    """An agent whose every step replaces a file."""

    def turn(request: ModelRequest) -> str:
        return json.dumps({"thought": "", "tool": tool, "args": {"seed": request.sampling.seed}})

    model = ScriptedModel(turn, slots=2, native_tools=False)
    return bw.Agent(
        name="grower", model=model, tools=[grow, waver], verifiers=[lottery], sandbox=sandbox or bw.sandboxes.Local(),
        search=search or bw.search.BestFirst(width=2, depth=20), form="json",
    )  # fmt: skip


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner whose runs live in the test's own folder."""
    return LocalRunner(RunStore(tmp_path / "runs"))


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """A task with one file."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "start").write_text("x")
    return Task(prompt="grow", files=str(tmp_path / "files"))


async def failures(runner: LocalRunner, result: Result) -> list[Failed]:
    """The failed work of a run."""
    run = runner.store.open(result.run_id)
    _, events = await read_tree(run, run.load())
    return [event for event in events if isinstance(event, Failed)]


async def test_a_search_stays_within_its_limit(runner: LocalRunner, task: Task) -> None:
    """States are dropped on the way; the tree and the outcome are those of a run with all the room."""
    path = bw.search.BestOfN(n=1, depth=30)  # one work item after the other: both runs are alike
    free = await runner.run(grower(search=path), task, bw.Budget(nodes=20), seed=3)
    tight = await runner.run(grower(search=path), task, bw.Budget(nodes=20, snapshot_bytes=8 * SIZE), seed=3)
    assert free.states.dropped == 0
    assert free.usage.snapshot_bytes == free.states.new_bytes == 20 * SIZE
    assert tight.states.dropped >= 12
    assert tight.states.stored_bytes <= 8 * SIZE
    assert not await failures(runner, tight)
    assert (len(tight.tree), tight.node, tight.files) == (len(free.tree), free.node, free.files)


async def test_dropped_states_are_made_again_after_a_resume(runner: LocalRunner, task: Task) -> None:
    """All states are removed: the run goes on from the task's files and its actions, and gives the chosen files.

    Files that have changed since are noticed.
    """
    first = await runner.run(grower(), task, bw.Budget(nodes=6), seed=4)
    shutil.rmtree(runner.store.open(first.run_id).snapshots)
    again = await runner.resume(grower(), first.run_id, budget=bw.Budget(nodes=9))
    assert again.states.replayed > 0
    assert not await failures(runner, again)
    assert len(again.tree) == 10
    assert again.files
    assert again.usage.sandbox_seconds > first.usage.sandbox_seconds
    shutil.rmtree(runner.store.open(first.run_id).snapshots)
    await asyncio.to_thread(Path(task.files or "", "start").write_text, "changed")
    with pytest.raises(bw.JournalError, match="have changed since it began"):
        await runner.resume(grower(), first.run_id, budget=bw.Budget(nodes=12))


async def test_what_comes_out_differently_is_not_searched_on(runner: LocalRunner, task: Task) -> None:
    """A tool that does something else every time: its state is gone, the branch fails and says so, the run ends scored."""
    first = await runner.run(grower("waver"), task, bw.Budget(nodes=5), seed=5)
    store = Store(runner.store.open(first.run_id).snapshots)
    store.drop([ref for ref in store.refs() if ref != first.tree.root.env_ref])
    again = await runner.resume(grower("waver"), first.run_id, budget=bw.Budget(nodes=9))
    told = await failures(runner, again)
    assert told
    assert all("led to another state" in event.message or "cannot be done again" in event.message for event in told)
    assert again.node is not None


async def test_no_room_at_all_is_a_spent_budget(runner: LocalRunner, task: Task) -> None:
    """Where nothing can be dropped the search ends with the best so far and says which limit it was."""
    result = await runner.run(grower(), task, bw.Budget(nodes=30, snapshot_bytes=4 * SIZE), seed=6)
    assert result.stop_reason == "budget"
    assert "snapshot_bytes" in result.stop_detail
    assert result.node is not None
    assert result.states.stored_bytes <= 4 * SIZE


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_full_disk_ends_in_a_scored_result(runner: LocalRunner, task: Task, small_disk: Path) -> None:
    """Where the disk for states is full, steps fail with words that say so; the best node so far is the result."""
    result = await runner.run(grower(sandbox=Elsewhere(small_disk)), task, bw.Budget(nodes=30), seed=9)
    told = await failures(runner, result)
    assert told
    assert all("the disk is full" in event.message for event in told)
    assert result.node is not None
    assert result.verdicts
    assert result.files


async def test_time_of_states_is_sandbox_time(runner: LocalRunner, task: Task) -> None:
    """Keeping and opening states is charged to the nodes and to the run; with the budget spent no state is opened."""
    result = await runner.run(grower(), task, bw.Budget(nodes=5), seed=7)
    assert result.states.kept >= 5
    assert result.states.opened > result.states.kept
    assert 0 < result.states.keep_ms < 5000
    assert result.usage.sandbox_seconds > 0
    grown = [node for node in result.tree if node.step is not None]
    assert all(node.usage.snapshot_bytes == SIZE and node.usage.sandbox_seconds > 0 for node in grown)
    poor = await runner.run(grower(), task, bw.Budget(nodes=5, sandbox_seconds=1e-4), seed=7)
    assert (poor.stop_reason, len(poor.tree)) == ("budget", 1)


async def test_patch_and_files_of_a_result(runner: LocalRunner, task: Task, tmp_path: Path) -> None:
    """A result gives its changes as a patch and all its files as a folder or an archive; archives go in as tasks."""
    result = await runner.run(grower(), task, bw.Budget(nodes=3), seed=8)
    assert result.patch().count("GIT binary patch") == len(result.files) > 0
    result.save(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"start", *result.files}
    result.save(tmp_path / "out.tar.gz")
    packed = Task(prompt="grow", files=str(tmp_path / "out.tar.gz"))
    again = await runner.run(grower(), packed, bw.Budget(nodes=1), seed=8)
    again.save(str(tmp_path / "again"))
    assert {path.name for path in (tmp_path / "again").iterdir()} >= {"start", *result.files}
    (tmp_path / "bad.tar").write_bytes(b"no archive")
    with pytest.raises(bw.UsageError, match="cannot be read"):
        await runner.run(grower(), Task(prompt="x", files=str(tmp_path / "bad.tar")), bw.Budget(), seed=1)
