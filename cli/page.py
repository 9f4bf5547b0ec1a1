"""A run as one HTML page: the chosen path, the tree, what was done and said at every node, pictures of web pages."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

from ..core.marks import visible
from ..core.tree import Tree
from ..core.types import ROOT, Node, NodeId, Verdict
from ..graphs import RunRecord
from .tree_view import done, page

_SUFFIX = ".webp"
_START = "start"
"""Name of the picture of the page that a run began at."""
_TEXT_MOST = 20_000
"""Characters of one text of a node."""
_INDENTED_MOST = 40

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --bad: #c0392b; --soft: #8888; --chosen: #b8860b; }
* { box-sizing: border-box } body { font: 14px/1.45 system-ui, sans-serif; margin: 0 auto; padding: 1rem 1.5rem; max-width: 90rem }
h1 { font-size: 1.3rem; margin: 0 0 .3rem } h2 { font-size: 1rem; margin: 1.5rem 0 .5rem } p { margin: .2rem 0 } a { color: inherit }
.soft { color: var(--soft) } .good { color: var(--good) } .bad { color: var(--bad) }
.strip { display: flex; gap: .8rem; overflow-x: auto; padding-bottom: .6rem } figure { margin: 0; flex: 0 0 auto; max-width: 322px }
.strip figure { width: 220px } img { display: block; width: 100%; border: 1px solid var(--line); border-radius: 4px }
figcaption { font-size: .85em; overflow-wrap: anywhere } .node { border-left: 2px solid var(--line); padding: .15rem 0 .15rem .6rem }
.node.chosen { border-color: var(--chosen) } .node:target { background: #fc03 } summary { cursor: pointer; overflow-wrap: anywhere }
details > div { display: flex; gap: 1rem; flex-wrap: wrap; padding: .4rem 0 .6rem 1rem } details > div > section { flex: 1 1 24rem; min-width: 0 }
pre { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 24rem; overflow: auto; margin: .2rem 0; padding: .4rem; border: 1px solid var(--line); border-radius: 4px }
"""
_HEAD = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    'form-action \'none\'; base-uri \'none\'"><meta name="viewport" content="width=device-width">'
)
"""Nothing in the page may run or load anything: titles, texts and pictures of it are strangers'."""


@dataclass(frozen=True)
class Shown:
    """What is shown.

    Args:
        record: the run's.
        tree: its tree.
        status: how it stands.
        pictures: folder of the states' pictures; need not be there.
    """

    record: RunRecord
    tree: Tree
    status: str
    pictures: Path


def html(shown: Shown) -> str:
    """Return the page, complete in itself."""
    record, tree = shown.record, shown.tree
    path = [] if tree.selected is None else tree.path(tree.selected)
    parts = [
        f"{_HEAD}<title>{_text(record.run_id)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{_text(record.agent)}: {_text(str(record.task['prompt'])[:400])}</h1>",
        *_about(shown),
    ]
    if path:
        parts += ["<h2>The chosen path</h2>", '<div class="strip">', *(_still(shown, node) for node in path), "</div>"]
    chosen = {node.id for node in path}
    parts.append("<h2>The tree</h2>")
    parts += [_node(shown, node, chosen) for node in _in_order(tree)]
    return "\n".join([*parts, "</body></html>", ""])


def _about(shown: Shown) -> Iterator[str]:
    record, tree = shown.record, shown.tree
    detail = tree.stopped.detail if tree.stopped is not None else "it did not end"
    begun = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.created))
    usage = tree.usage
    yield f"<p><b>{_text(shown.status)}</b>: {_text(detail)}</p>"
    yield (
        f'<p class="soft">run {_text(record.run_id)}, begun {begun}, model {_text(record.model)}, strategy {_text(record.strategy)}; '
        f"{len(tree) - 1} nodes, {usage.tokens} tokens, {usage.calls} model calls</p>"
    )


def _in_order(tree: Tree) -> Iterator[Node]:
    """Return all nodes, each before its children, without recursion: a tree may be deep."""
    pile = [ROOT]
    while pile:
        here = pile.pop()
        yield tree[here]
        pile += reversed(tree.children(here))


def _still(shown: Shown, node: Node) -> str:
    """Return a node of the chosen path: its picture and what was done."""
    words = "start" if node.id == ROOT else f"{node.id} {done(node)}"
    title = "" if node.place is None else f"<br>{_text(page(node.place))}"
    return (
        f'<figure><a href="#node-{node.id}">{_picture(shown, node)}</a>'
        f'<figcaption>{_text(words)}<span class="soft">{title}</span> {_value(shown.tree, node.id)}</figcaption></figure>'
    )


def _node(shown: Shown, node: Node, chosen: set[NodeId]) -> str:
    """Return a node: a line, and behind it all that is known of it."""
    tree = shown.tree
    words = "start" if node.id == ROOT else done(node)
    where = "" if node.place is None else f' <span class="soft">on {_text(page(node.place))}</span>'
    notes = "".join(
        f' <span class="{kind}">{_text(text)}</span>'
        for kind, text in (
            ("soft", f"pruned: {tree.pruned_for(node.id)}" if tree.status(node.id) == "pruned" else ""),
            ("soft", f"{node.usage.tokens} tokens" if node.usage.tokens else ""),
            ("bad", f"{tree.failures(node.id)} failed" if tree.failures(node.id) else ""),
        )
        if text
    )
    star = " ★" if node.id == tree.selected else ""
    indent = 1.2 * min(node.depth, _INDENTED_MOST)
    return (
        f'<div id="node-{node.id}" class="node{" chosen" if node.id in chosen else ""}" style="margin-left:{indent:.1f}rem">'
        f'<details><summary><span class="soft">{node.id}</span> {_text(words)}{where} {_value(tree, node.id)}{star}{notes}</summary>'
        f"<div>{_figure(shown, node)}<section>{''.join(_told(tree, node))}</section></div></details></div>"
    )


def _told(tree: Tree, node: Node) -> Iterator[str]:
    """Return what a node's step said, did and saw, and what was thought of it."""
    if node.place is not None and node.place.address:
        yield f'<p class="soft">{_text(node.place.address)}</p>'
    step = node.step
    if step is not None:
        if step.text.strip():
            yield _block(step.text.strip())
        for call in step.calls:
            yield _block(f"{call.name} {json.dumps(dict(call.arguments), ensure_ascii=False, indent=1)}")
        for seen in step.observations:
            yield _block(seen.text, "" if seen.ok else "bad")
    if node.answer is not None:
        yield f"<p><b>answer</b></p>{_block(node.answer)}"
    yield from _verdicts(tree.verdicts(node.id))


def _verdicts(verdicts: Iterable[Verdict]) -> Iterator[str]:
    for verdict in verdicts:
        kind, word = {True: ("good", "accepted"), False: ("bad", "rejected"), None: ("", "scored")}[verdict.passed]
        yield f'<p><b>{_text(verdict.verifier)}</b> <span class="{kind}">{word} {verdict.value:.2f}</span></p>'
        if verdict.feedback:
            yield _block(verdict.feedback)


def _value(tree: Tree, node: NodeId) -> str:
    value = tree.value(node)
    if value is None:
        return ""
    accepted = tree.passed(node)
    return f'<b class="{"good" if accepted else ""}">{"✔ " if accepted else ""}{value:.2f}</b>'


def _figure(shown: Shown, node: Node) -> str:
    picture = _picture(shown, node)
    return f"<figure>{picture}</figure>" if picture else ""


def _picture(shown: Shown, node: Node) -> str:
    """Return the picture of a node's state; nothing where there is none."""
    name = _START if node.id == ROOT else node.env_ref
    try:
        data = (shown.pictures / f"{name}{_SUFFIX}").read_bytes()
    except OSError:
        return ""
    title = "the start page" if node.place is None else page(node.place)
    return f'<img loading="lazy" alt="{_text(title)}" src="data:image/webp;base64,{base64.b64encode(data).decode()}">'


def _block(text: str, kind: str = "") -> str:
    cut = text if len(text) <= _TEXT_MOST else f"{text[:_TEXT_MOST]}… ({len(text) - _TEXT_MOST} more characters)"
    return f'<pre class="{kind}">{_text(cut)}</pre>'


def _text(text: str) -> str:
    return escape(visible(text))
