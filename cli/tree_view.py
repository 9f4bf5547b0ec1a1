"""The search tree in the terminal."""

from __future__ import annotations

import json

from rich.markup import escape
from rich.text import Text
from rich.tree import Tree as RichTree

from ..core.marks import visible
from ..core.tree import Tree
from ..core.types import ROOT, Node, NodeId, Place, Step


def draw(tree: Tree, *, title: str, most: int | None = None) -> RichTree:
    """Return the tree as rich draws it: actions, verdicts, cost, and the chosen path marked.

    Args:
        tree: the search tree.
        title: label of the root.
        most: show at most so many nodes, those of the best path first, then the newest; None shows all.
    """
    chosen = _chosen(tree)
    shown = _shown(tree, chosen, most)
    drawn: dict[NodeId, RichTree] = {ROOT: RichTree(_label(tree, tree.root, chosen, title), guide_style="dim")}
    stack = [ROOT]
    while stack:
        here = stack.pop()
        children = [child for child in tree.children(here) if child in shown]
        for child in children:
            drawn[child] = drawn[here].add(_label(tree, tree[child], chosen, ""))
            stack.append(child)
        hidden = len(tree.children(here)) - len(children)
        if hidden:
            drawn[here].add(Text(f"… {hidden} more", style="dim"))
    return drawn[ROOT]


def _chosen(tree: Tree) -> set[NodeId]:
    best = tree.selected
    return set() if best is None else {node.id for node in tree.path(best)}


def _shown(tree: Tree, chosen: set[NodeId], most: int | None) -> set[NodeId]:
    everything = [node.id for node in tree]
    if most is None or len(everything) <= most:
        return set(everything)
    shown = set(chosen) | {ROOT}
    for node in reversed(everything):
        if len(shown) >= most:
            break
        shown |= {step.id for step in tree.path(node)}
    return shown


def _label(tree: Tree, node: Node, chosen: set[NodeId], title: str) -> Text:
    label = Text()
    on_path = node.id in chosen
    if node.id == ROOT:
        label.append(title, style="bold")
    else:
        label.append(f"{node.id} ", style="dim")
        label.append(done(node), style="bold" if on_path else "")
        if node.place is not None:
            label.append(f"  on {page(node.place)}", style="cyan")
    _append_verdict(label, tree, node.id)
    if tree.status(node.id) == "pruned":
        label.append(f"  pruned: {tree.pruned_for(node.id)}", style="dim")
    if node.usage.tokens:
        label.append(f"  {node.usage.tokens} tok", style="dim")
    if tree.failures(node.id):
        label.append(f"  {tree.failures(node.id)} failed", style="red")
    if on_path and node.id == tree.selected:
        label.append("  ★", style="yellow")
    return label


def _append_verdict(label: Text, tree: Tree, node: NodeId) -> None:
    value = tree.value(node)
    if value is None:
        return
    passed = tree.passed(node)
    style = "green" if passed else "yellow" if value > 0 else "red"
    label.append(f"  {'✔ ' if passed else ''}{value:.2f}", style=style)


def done(node: Node) -> str:
    """Return what a node's step did in one short line: on a page in the words of the page, else the calls that were made."""
    place = node.place
    return action(node.step) if place is None or not place.action else _line(place.action, 72)


def page(place: Place, width: int = 40) -> str:
    """Return which page is shown in one short line: its title, or its address where it has none."""
    return _line(place.title or place.address, width)


def action(step: Step | None, width: int = 72) -> str:
    """Return a step in one short line."""
    if step is None:
        return ""
    if step.kind == "invalid":
        text = f"unusable turn: {step.observations[0].text if step.observations else ''}"
    elif step.calls:
        text = "; ".join(f"{call.name}({_arguments(dict(call.arguments))})" for call in step.calls)
        if any(not o.ok for o in step.observations):
            text += " → error"
    else:
        text = f"{step.kind}: {step.text}"
    return _line(text, width)


def _line(text: str, width: int) -> str:
    text = visible(" ".join(text.split())[: width + 1])
    return text if len(text) <= width else text[: width - 1] + "…"


def _arguments(arguments: dict[str, object]) -> str:
    return ", ".join(
        v if isinstance(v, str) and k == "path" else json.dumps(v, ensure_ascii=False) for k, v in arguments.items()
    )


def steps_of(tree: Tree, node: NodeId) -> str:
    """Return the whole trajectory to `node` as text with markup: thoughts, calls, observations, verdicts."""
    parts: list[str] = []
    for here in tree.path(node)[1:]:
        step = here.step
        if step is None:
            continue
        usage = here.usage
        cost = f"{usage.tokens} tokens, sandbox {usage.sandbox_seconds:.2f} s, {usage.snapshot_bytes:,} bytes new"
        parts.append(f"[bold]step {here.depth}[/] [dim](node {here.id}, {cost})[/]")
        if here.place is not None:
            parts.append(f"[blue]page[/] {escape(page(here.place, 80))} [dim]{escape(visible(here.place.address))}[/]")
        if step.text:
            parts.append(escape(visible(step.text.strip())))
        parts += [
            f"[cyan]{escape(visible(c.name))}[/] {escape(visible(json.dumps(dict(c.arguments), ensure_ascii=False, indent=1)))}"
            for c in step.calls
        ]
        parts += [f"[{'dim' if o.ok else 'red'}]{escape(visible(o.text))}[/]" for o in step.observations]
        for verdict in tree.verdicts(here.id):
            mark = {True: "accepted", False: "rejected", None: "scored"}[verdict.passed]
            level = f", {verdict.integrity}" if verdict.integrity else ""
            parts.append(f"[magenta]{escape(verdict.verifier)}[/] {mark} {verdict.value:.2f}{level}")
        parts.append("")
    return "\n".join(parts)
