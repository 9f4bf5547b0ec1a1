"""A run that begins at a node of another one: what it takes over from there.

The trajectory to the node and the files of the run are copied when the run is forked, so it needs its source no more. What had
been paid for is taken over and not paid again; the new run's budget is for what comes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from ..agents.agent import Agent
from ..agents.forking import Fork
from ..agents.past import Past
from ..agents.solver import Solver
from ..core.errors import JournalError, UsageError
from ..core.events import Expanded, Judged, decode, encode
from ..core.tree import Tree, TreeView
from ..core.types import JSON, NO_USAGE, Node, NodeId, Step, Usage, WorkId
from .journal import Run, RunRecord, root_of
from .stored import events_of_file

_FILE: Final = "fork.json"
_STEP = TypeAdapter(Step)
_NONE = WorkId(0)
_EDITED = NodeId(-1)
"""The node that a changed action leads to."""

FIRST_SEARCHES: Final = ("", "try1")
"""Paths of the search that goes on from the fork: the run's own, or the first attempt of the stages around it."""


@dataclass
class Beginning:
    """What a forked run begins with; kept in its folder.

    Args:
        folder: of the run.
        fork: from where, and what is changed.
        nodes: the trajectory, and what its prompts showed of others, with ids below 0; the first root first.
        verdicts: what was said of them.
        last: the last node of the trajectory.
        edited: an action that is still to be done there.
    """

    folder: Path
    fork: Fork
    nodes: Sequence[Node]
    verdicts: Sequence[Judged]
    last: NodeId
    edited: Step | None

    @property
    def past(self) -> Past:
        """The trajectory, as the search sees it."""
        return Past(_tree(self.nodes, self.verdicts), self.last)

    @property
    def ref(self) -> str | None:
        """State of the sandbox that the search begins with."""
        return next(node.env_ref for node in self.nodes if node.id == self.last)

    @property
    def disguised(self) -> bool:
        """Whether the trajectory saw one of the agent's variants of the task."""
        framings = [node.step.framing for node in self.nodes if node.step is not None]
        return any(framing is not None and framing.variant is not None for framing in framings)

    @property
    def spent(self) -> Usage:
        """What doing the changed action has cost."""
        return next((node.usage for node in self.nodes if node.id == _EDITED), NO_USAGE)

    async def settled(self, solver: Solver) -> Past:
        """Return the trajectory, its changed action done. That is done once, also where a process dies after it."""
        if self.edited is not None:
            node = await solver.redone(_EDITED, self.edited, self.past.tree.path(self.last))
            self.nodes, self.last, self.edited = [*self.nodes, node], node.id, None
            self.save()
        return self.past

    def save(self) -> None:
        """Write it into the run's folder, whole or not at all.

        Raises:
            JournalError: it cannot be written.
        """
        first, *others = self.nodes
        row: dict[str, JSON] = {
            "fork": self.fork.to_json(),
            "first": [first.id, first.env_ref],
            "events": encode([*(Expanded(_NONE, node) for node in others), *self.verdicts]),
            "last": self.last,
            "edited": None if self.edited is None else _STEP.dump_python(self.edited, mode="json"),
        }
        draft = self.folder / f".{_FILE}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(row))
            draft.replace(self.folder / _FILE)
        except OSError as error:
            raise JournalError(f"cannot write {draft}: {error.strerror}") from error

    @classmethod
    def load(cls, run: Run, agent: Agent | None = None) -> Beginning | None:
        """Return what a run begins with; None where it was not forked.

        Args:
            run: the run.
            agent: with which it is to be resumed; None where it is only looked at.

        Raises:
            JournalVersionMismatch: it was forked with a model that the agent has not.
        """
        if not (run.folder / _FILE).is_file():
            return None
        row: Mapping[str, JSON] = json.loads((run.folder / _FILE).read_text())
        number, ref = row["first"]
        events = decode(row["events"])
        return cls(
            run.folder,
            Fork.from_json(row["fork"], agent),
            [Node(NodeId(number), None, None, ref), *(e.node for e in events if isinstance(e, Expanded))],
            [e for e in events if isinstance(e, Judged)],
            NodeId(row["last"]),
            None if row["edited"] is None else _STEP.validate_python(row["edited"]),
        )


def taken_from(source: Run, record: RunRecord, fork: Fork, folder: Path) -> Beginning:
    """Return what a run that is forked from another one begins with.

    Args:
        source: the run that it is forked from; it may be going on.
        record: of that run.
        fork: from where, and what is changed.
        folder: of the new run.

    Raises:
        UsageError: there is no such node, or nothing can follow on it.
    """
    search, number = fork.place
    thread = f"{record.run_id}/{search}" if search else record.run_id
    tree = Tree.fold(root_of(record), events_of_file(source.folder / "journal.sqlite", thread))
    node = tree.selected if number is None else NodeId(number)
    if node is None or node not in tree or (search and len(tree) == 1):
        raise UsageError(
            f"run {record.run_id} has no node {fork.node if fork.node is not None else 'that it chose'}; "
            f"`branchwise view {record.run_id}` shows them"
        )
    view, path = _with_its_past(source, tree, search, tree.path(node))
    edited: Step | None = None
    if fork.action is not None:
        if path[-1].step is None:
            raise UsageError("nothing was done at the root, so there is no action to be changed; give another node")
        edited, path = fork.edited(path[-1].step), path[:-1]
    elif path[-1].answer is not None or (path[-1].step is not None and path[-1].step.held):
        raise UsageError(f"the trajectory ends with node {node}; fork the one before it, or change its action")
    nodes, verdicts, last = _renumbered(path, view)
    return Beginning(folder, fork, nodes, verdicts, last, edited)


def _with_its_past(source: Run, tree: Tree, search: str, path: Sequence[Node]) -> tuple[TreeView, list[Node]]:
    """Return a tree and a path of a run with what came before, where that run was forked itself."""
    earlier = Beginning.load(source) if search in FIRST_SEARCHES else None
    return (tree, list(path)) if earlier is None else (earlier.past.view(tree), earlier.past.whole(path))


def _renumbered(path: Sequence[Node], view: TreeView) -> tuple[list[Node], list[Judged], NodeId]:
    """Return the nodes of a path, those that its prompts showed, and what was said of them, by ids from -2 downwards."""
    parents: dict[NodeId, NodeId | None] = {}
    nodes: list[Node] = []
    waiting = [list(path)]
    while waiting:
        parent: NodeId | None = None
        for node in waiting.pop():
            if node.id not in parents:
                parents[node.id] = parent
                nodes.append(node)
                if node.step is not None and node.step.framing is not None:
                    waiting += [view.path(shown) for shown in node.step.framing.shown]
            parent = node.id
    ids = {node.id: NodeId(place - len(nodes) - 1) for place, node in enumerate(nodes)}
    moved: list[Node] = []
    for node in nodes:
        above, step = parents[node.id], node.step
        if step is not None and step.framing is not None:
            shown = tuple(ids[other] for other in step.framing.shown)
            step = replace(step, framing=replace(step.framing, shown=shown))
        moved.append(replace(node, id=ids[node.id], parent=None if above is None else ids[above], step=step))
    said = [(ids[n.id], tuple(v for v in view.verdicts(n.id) if v.ranking is None)) for n in nodes]
    return moved, [Judged(_NONE, node, verdicts) for node, verdicts in said if verdicts], ids[path[-1].id]


def _tree(nodes: Sequence[Node], verdicts: Sequence[Judged]) -> Tree:
    first, *others = nodes
    return Tree.fold(first, [*(Expanded(_NONE, node) for node in others), *verdicts])


def share_states(source: Path, target: Path) -> None:
    """Give a run the states of another one. Contents never change, so both have the same files; where that is not possible, copies."""

    def take(old: str, new: str) -> None:
        if Path(old).name.startswith("."):
            return  # on its way
        # Dropped meanwhile: it can be made again by its actions. There already: a process that did this was killed.
        with suppress(FileNotFoundError, FileExistsError):
            try:
                os.link(old, new)
            except (FileNotFoundError, FileExistsError):
                raise
            except OSError:
                shutil.copyfile(old, new)

    if source.is_dir():
        # A manifest comes after the contents that it names, also in a run that goes on.
        states = [path.name for path in (source / "manifests").iterdir()]
        shutil.copytree(source / "contents", target / "contents", copy_function=take, dirs_exist_ok=True)
        (target / "manifests").mkdir(exist_ok=True)
        for name in states:
            take(str(source / "manifests" / name), str(target / "manifests" / name))
