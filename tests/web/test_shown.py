"""What people see of runs over pages: title and action of every node, pictures, a page of it all."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

import branchwise as bw
from branchwise.cli.page import Shown, html
from branchwise.cli.tree_view import draw, steps_of
from branchwise.core.events import Event, Within, decode, encode
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import Node, Place, Result, Task
from branchwise.graphs import LocalRunner, RunStore
from branchwise.web import Browser, Check, Click, Dialog, Drag, Fill, Goto, Press, Scroll, Select, Tab
from branchwise.web.actions import Acting
from branchwise.web.wording import in_words

from .hand import do
from .small_site import SmallSite

HOSTILE = """<!doctype html><title>Sale</title><script>document.title += '\\u001b[2J<img src=x onerror=alert(1)>\\u202e"'</script>
<button onclick="this.textContent += '!'">Go &lt;script&gt;alert(2)&lt;/script&gt;</button>"""


async def run(site: SmallSite, folder: Path, replies: list[dict[str, object]], heard: list[Event]) -> Result:
    """Run an agent that does what it is told on the site."""

    @bw.tool(effects="sandbox")
    async def press(ctx: bw.Context, name: str) -> str:
        """Click the button of a name."""
        return (await do(bw.web.pages(ctx), name)).told

    turns = itertools.chain(replies, itertools.repeat({"tool": "answer", "args": {"text": "done"}}))
    model = ScriptedModel(lambda _: json.dumps({"thought": "so", **next(turns)}), slots=1, native_tools=False)
    agent = bw.Agent("clicker", model, tools=[press], sandbox=Browser(site.url + "/"), slots=1)
    listener: Callable[..., None] = lambda _path, events, _tree: heard.extend(events)  # noqa: E731
    return await LocalRunner(RunStore(folder)).begin(
        agent, Task(prompt="Click."), bw.Budget(nodes=5), seed=1, run_id="r", listener=listener
    )


@pytest.mark.browser
async def test_every_node_says_where_it_is(site: SmallSite, tmp_path: Path) -> None:
    """Title, address and what was done come with the events, survive the journal, and are shown in the tree."""
    heard: list[Event] = []
    result = await run(site, tmp_path, [{"tool": "press", "args": {"name": '"Add"'}}], heard)
    places = [node.place for node in result.tree]
    assert places == [None, Place("Main", site.url + "/", "click button 'Add'"), None]
    assert Within("", heard[0]).event == decode(encode(heard))[0]
    assert '"place":{"title":"Main"' in encode(heard)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(draw(result.tree, title="run"))
    assert "click button 'Add'  on Main" in console.export_text()
    assert f"Main [dim]{site.url}/" in steps_of(result.tree, [*result.tree][-1].id)


@pytest.mark.browser
async def test_a_page_of_a_run_has_its_pictures(site: SmallSite, tmp_path: Path) -> None:
    """One of the start page and one of every state, on the path and at the node; what a page calls itself does nothing there."""
    site.pages["/"] = HOSTILE
    result = await run(site, tmp_path, [{"tool": "press", "args": {"name": '"Go'}}], [])
    kept = RunStore(tmp_path).open("r")
    states = {node.env_ref for node in result.tree if node.env_ref is not None}
    assert {path.stem for path in kept.pictures.iterdir()} == {"start", *states}
    text = html(Shown(kept.load(), result.tree, "accepted", kept.pictures))
    assert text.count('src="data:image/webp;base64,') == 6
    assert "Content-Security-Policy" in text
    for raw in ("<script", "<img src=x", "\x1b", "\u202e"):
        assert raw not in text
    assert "Sale [2J&lt;img src=x onerror=alert(1)&gt;" in text
    assert "click button &#x27;Go &lt;script&gt;" in text


def test_runs_without_pages_have_a_page_too(tmp_path: Path) -> None:
    """Nothing of pictures in it."""
    from branchwise.core.tree import Tree
    from branchwise.core.types import ROOT
    from branchwise.graphs import RunRecord

    record = RunRecord("r", "coder", {"prompt": "a < b"}, {}, 0, "Greedy", model="m")
    text = html(Shown(record, Tree(Node(ROOT, None, None)), "failed", tmp_path / "none"))
    assert "coder: a &lt; b" in text
    assert "<img" not in text


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (Click(ref="e1"), "click button 'Go'"),
        (Click(ref="e1", button="right"), "right-click button 'Go'"),
        (Fill(ref="e1", text="x" * 99, enter=True), f"fill button 'Go' with '{'x' * 59}…' and press Enter"),
        (Fill(ref="e1", secret="password"), "fill button 'Go' with the secret password"),
        (Select(ref="e1", options=("a", "b")), "select 'a', 'b' in button 'Go'"),
        (Check(ref="e1", on=False), "untick button 'Go'"),
        (Press(keys="Enter"), "press Enter"),
        (Scroll(direction="up", ref="e1"), "scroll up in button 'Go'"),
        (Drag(ref="e1", by=(3, -4)), "drag button 'Go' by 3, -4"),
        (Drag(ref="e1", to="e9"), "drag button 'Go' to e9"),
        (Goto(url="https://example.org/"), "go to https://example.org/"),
        (Tab(), "open a tab"),
        (Tab(number=2, close=True), "close tab 2"),
        (Dialog(accept=False), "dismiss the dialog"),
    ],
)
def test_actions_are_told_in_words(action: Acting, words: str) -> None:
    """As a person would say them, with what they were done to and no value of a secret."""
    assert in_words(action, {"e1": {"role": "button", "name": "Go"}}) == words
