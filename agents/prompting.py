"""From a trajectory to the messages that the model sees.

A pure function of the path, so siblings share their prefix byte for byte (the server's prefix cache pays) and a resumed run
asks exactly what the killed one asked.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..core.tree import TreeView
from ..core.types import Message, Node, NodeId, Task, ToolSpec
from .agent import Agent
from .forms import Form, JsonForm, NativeForm, describe, name_files, names_file
from .outline import mentioned, outline
from .prompts import fill

FILES_LIMIT_CHARS = 24_000
"""At most so much of the task's files is shown in the first message."""


@dataclass(frozen=True)
class Prompter:
    """Renders the messages of one run.

    Args:
        agent: whose instructions and context setting are used.
        task: the task.
        form: the form of a turn.
        files: the task's files that are text, by path.
    """

    agent: Agent
    task: Task
    form: Form
    files: Mapping[str, str]

    @cached_property
    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools as the model is told of them.

        Where the form is enforced and no tool can make files, arguments that name a file admit those shown only.
        """
        tools = self.agent.toolbox
        specs = [tool.spec for tool in tools]
        makes_files = any(tool.effects == "sandbox" and not names_file(tool.spec) for tool in tools)
        offered = [] if makes_files or isinstance(self.form, NativeForm) else self._shown()
        return tuple(name_files(spec, offered) for spec in specs)

    def messages(self, path: Sequence[Node], view: TreeView) -> list[Message]:
        """Return the messages for the turn after `path`."""
        messages = [Message("system", self.system()), Message("user", self.first(_notes(view, path[0].id)))]
        for node in path[1:]:
            if node.step is not None:
                messages += self.form.write(node.step, _notes(view, node.id))
        return messages

    def system(self) -> str:
        """Return the system prompt. Nothing that a tool or a page said ever gets into it."""
        instructions = self.agent.instructions or "You solve tasks with the tools that you have."
        if isinstance(self.form, JsonForm):
            return fill("solver_json", instructions=instructions, tools=describe(self.specs))
        return fill("solver_native", instructions=instructions)

    def first(self, feedback: str) -> str:
        """Return the first user message: the task, its files, and what the verifiers say at the start."""
        about = mentioned({path: self.files[path] for path in self._shown()}, feedback) if self.agent.outline else []
        hint = "The failing tests mention, the most frequent first: " + ", ".join(
            f"{name} in {path}" for path, name in about
        )
        return fill(
            "task",
            task=self.task.prompt,
            files=self._files([path for path, _ in about]),
            feedback=f"{feedback}\n\n{hint}" if about else feedback,
        )

    def _files(self, first: Sequence[str] = ()) -> str:
        """Return the files as the context setting wants them, those of `first` before the others."""
        context = self.agent.context
        if not self.files or context == "none":
            return ""
        if context == "list":
            return "Files:\n" + "\n".join(sorted(self.files))
        shown: list[str] = []
        room = FILES_LIMIT_CHARS
        for path in sorted(self._shown(), key=lambda path: first.index(path) if path in first else len(first)):
            text = self.files[path]
            if self.agent.outline and path.endswith(".py"):
                text = outline(text)
            if len(text) > room:
                shown.append(f"{path} (not shown, {len(text)} characters; read it)")
                continue
            room -= len(text)
            shown.append(f"{path}:\n```\n{text.rstrip()}\n```")
        return "\n\n".join(shown)

    def _shown(self) -> list[str]:
        """Paths of the files that the first message is about."""
        context = self.agent.context
        patterns = None if isinstance(context, str) else context
        return [path for path in sorted(self.files) if patterns is None or any(_matches(path, p) for p in patterns)]


def _matches(path: str, pattern: str) -> bool:
    """Whether a glob pattern matches a path, part by part."""
    parts, patterns = path.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatch.fnmatchcase, parts, patterns))


def _notes(view: TreeView, node: NodeId) -> str:
    """What the verifiers said when they first judged the node; briefly where they had said it of an equal state.

    Nothing where the step left the state as it was: then they had nothing new to judge.
    """
    here = view[node]
    if here.parent is not None and here.env_ref is not None and view[here.parent].env_ref == here.env_ref:
        return ""
    said: dict[str, str] = {}
    for verdict in view.verdicts(node):
        if verdict.feedback:
            told = verdict.feedback if verdict.calls else f"As before: {verdict.feedback.splitlines()[0]}"
            said.setdefault(verdict.verifier, told)
    return "\n\n".join(f"[{name}] {text}" for name, text in said.items())
