"""The messages that a model sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import branchwise as bw
from branchwise.agents.forms import JsonForm
from branchwise.agents.prompting import Prompter
from branchwise.core.events import Expanded, Judged
from branchwise.core.tree import Tree
from branchwise.core.types import ROOT, Node, NodeId, Observation, Step, ToolCall, Verdict, WorkId

FILES = {"a.py": "A = 1\n", "notes.txt": "remember\n", "src/b.py": "B = 2\n", "src/deep/c.py": "C = 3\n"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A task's files."""
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def shown(context: Any, folder: Path) -> str:
    """The prompts of an agent with this setting."""
    agent = bw.Agent(name="a", model="embedded:m", context=context, sandbox=bw.sandboxes.Auto())
    return agent.explain("Look.", files=folder)


@pytest.mark.parametrize(
    ("context", "contents"),
    [
        ("none", set[str]()),
        ("list", set[str]()),
        ("files", set(FILES)),
        (["*.py"], {"a.py"}),
        (["*.py", "src/*.py"], {"a.py", "src/b.py"}),
        (["src/*/*"], {"src/deep/c.py"}),
    ],
)
def test_context_says_what_of_the_files_is_shown(context: Any, contents: set[str], folder: Path) -> None:
    """Nothing, names, everything, or what patterns match; a `*` stays within its folder."""
    text = shown(context, folder)
    assert {path for path, content in FILES.items() if content.strip() in text} == contents
    assert all(path in text for path in contents)
    assert ("notes.txt" in text) == (context in ("list", "files"))


def test_a_context_that_means_nothing_is_refused(folder: Path) -> None:
    """A pattern that was not put into a list would otherwise be taken letter by letter."""
    with pytest.raises(bw.UsageError, match="allowed are 'none', 'list', 'files' or patterns"):
        shown("*.py", folder)


def test_prompts_are_the_same_every_time(folder: Path) -> None:
    """Siblings and resumed runs send the same bytes, so the server's prefix cache pays."""
    assert shown("files", folder) == shown("files", folder)


def test_verdicts_are_told_once_in_full() -> None:
    """A new state is told in full, one judged before briefly, a step that left the state as it was not at all."""
    tree = Tree(Node(ROOT, None, None, "s0"))
    step = Step("tool", "try", (ToolCall("call", "rewrite", {}),), (Observation("call", "rewrote it"),))
    for number, (state, verdict) in enumerate(
        [
            ("s1", Verdict(0.5, "outcome", "tests", False, "1 of 2 pass\nE boom")),
            ("s1", Verdict(0.5, "outcome", "tests", False, "1 of 2 pass\nE boom", calls=0)),
            ("s0", Verdict(0.0, "outcome", "tests", False, "0 of 2 pass\nE bang", calls=0)),
        ],
        start=1,
    ):
        node = Node(NodeId(number), NodeId(number - 1), step, state, number)
        tree.apply(Expanded(WorkId(number), node))
        tree.apply(Judged(WorkId(number), node.id, (verdict,)))
    prompter = Prompter(bw.Agent(name="a", model="embedded:m"), bw.Task(prompt="x"), JsonForm(), {})
    seen = [m.content for m in prompter.messages(tree.path(NodeId(3)), tree) if m.role == "user"][1:]
    assert seen == [
        "rewrote it\n\n[tests] 1 of 2 pass\nE boom",
        "rewrote it",
        "rewrote it\n\n[tests] As before: 0 of 2 pass",
    ]
