"""From a trajectory to the messages that the model sees.

A pure function of the path, so siblings share their prefix byte for byte (the server's prefix cache pays) and a resumed run
asks exactly what the killed one asked.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ..core.errors import UsageError
from ..core.marks import visible
from ..core.protocols import Variant
from ..core.tree import TreeView
from ..core.turns import begun, text_of, turns
from ..core.types import Framing, Message, Node, NodeId, Step, Task, ToolCall, ToolSpec
from ..verifiers.fence import fenced
from .agent import Agent
from .attempts import framed
from .forms import Form, JsonForm, NativeForm, TextForm, describe, name_files, names_file, say
from .outline import mentioned, outline
from .prompts import fill
from .seeing import show_screen

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
        seed: the run's seed, by which variants of the task are made.
        look: what the sandbox shows before the first step, such as a page.
    """

    agent: Agent
    task: Task
    form: Form
    files: Mapping[str, str]
    seed: int = 0
    look: str = ""

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

    @cached_property
    def _seldom(self) -> frozenset[str]:
        """Names of the tools that a model whose form is enforced is told of only where they can be used."""
        return frozenset(tool.name for tool in self.agent.toolbox if tool.seldom)

    @property
    def _told(self) -> list[ToolSpec]:
        """The tools that the system prompt tells of."""
        return [spec for spec in self.specs if spec.name not in self._seldom]

    def offered(self, path: Sequence[Node], view: TreeView) -> tuple[ToolSpec, ...]:
        """Return the tools as the turn after `path` may use them: where the form is enforced, what can be done with what was shown."""
        tools = self.agent.toolbox
        if isinstance(self.form, NativeForm) or all(tool.narrow is None for tool in tools):
            return self.specs
        seen, tried = self._seen(path), self._tried(path, view)
        if not seen:
            return self.specs
        narrowed = [
            spec
            if tool.narrow is None
            else tool.narrow(spec, seen, [call.arguments for call in tried if call.name == tool.name])
            for tool, spec in zip(tools, self.specs, strict=True)
        ]
        return tuple(spec for spec in narrowed if spec is not None)

    def _tried(self, path: Sequence[Node], view: TreeView) -> list[ToolCall]:
        """Return what other trajectories did next after `path`, each once, where the agent is to do something else."""
        if not self.agent.distinct:
            return []
        steps = [view[child].step for child in view.children(path[-1].id)]
        calls = {repr((c.name, c.arguments)): c for step in steps if step is not None for c in step.calls}
        return list(calls.values())

    def _seen(self, path: Sequence[Node]) -> str:
        """Return what was shown last: since the last call that changed something, or since the beginning."""
        changing = {tool.name for tool in self.agent.toolbox if tool.effects != "pure"}
        shown: list[str] = []
        for _, step in reversed(list(turns(path))):
            shown += [observation.text for observation in step.observations]
            if any(call.name in changing for call in step.calls) and any(one.ok for one in step.observations):
                break
        else:
            shown.append(self.look)
        return "\n".join(shown)

    def messages(self, path: Sequence[Node], view: TreeView, framing: Framing | None = None) -> list[Message]:
        """Return the messages for the turn after `path`, which `framing` adds to.

        A turn at the path's end that is not over is left out: it is what the reply begins with.
        """
        taken = list(turns(path))
        early = 0 if self.agent.window is None else max(0, len(taken) - self.agent.window)
        first = self.first(_notes(view, path[0].id), self.variant(path, framing))
        if self.look and (self.agent.window is None or len(taken) < self.agent.window):
            first = f"{first.rstrip()}\n\n{self.look}\n"
        messages = [Message("system", self.system()), Message("user", first)]
        if self._digests:
            if taken:
                say(messages, fill("done", done="\n".join(_digest(taken, early, view))))
        else:
            for _, step in taken[:early]:
                _add(messages, _early_framing(step), view)
                messages += self.form.write(_briefly(step), "")
            for node, step in taken[early:]:
                _add(messages, step.framing, view)
                messages += self.form.write(step, _notes(view, node.id))
        # The framing of a turn that is under way is that of its first step.
        first_step = unfinished[0].step if (unfinished := begun(path)) else None
        _add(messages, framing if first_step is None else first_step.framing, view)
        if self.agent.window is not None and (taken or self.look):
            # What comes between is long and about other things: a small model has lost sight of its task by then.
            task = self.task if (variant := self.variant(path, framing)) is None else variant.put(self.task, self.seed)
            say(messages, fill("task_again", task=task.prompt))
        if isinstance(self.form, JsonForm) and (
            more := [one for one in self.offered(path, view) if one.name in self._seldom]
        ):
            say(messages, fill("tools_here", tools=describe(more)))
        if tried := self._tried(path, view):
            said = "\n".join(f"{call.name} {json.dumps(dict(call.arguments), ensure_ascii=False)}" for call in tried)
            say(messages, fill("tried", tried=fenced("tried", said)))
        if self.agent.screenshot:
            show_screen(messages, path[-1].env_ref, fill("screenshot"))
        return messages

    @property
    def _digests(self) -> bool:
        """Whether turns are told of in one message, by what came of them, not shown as the model wrote them.

        A small model that sees what it thought before thinks the same again, whatever it sees now.
        """
        return self.agent.window is not None and isinstance(self.form, JsonForm)

    def conversation(self, path: Sequence[Node], view: TreeView) -> list[Message]:
        """Return the messages in which a trajectory came about, what was said of a turn that is not over as the last one."""
        messages = self.messages(path, view)
        text = text_of(begun(path))
        return [*messages, Message("assistant", text)] if text else messages

    def variant(self, path: Sequence[Node], framing: Framing | None) -> Variant | None:
        """Return the variant of the task that a trajectory sees: its first step, or `framing` where that is to be taken, says.

        Raises:
            UsageError: the agent has no such variant.
        """
        first = path[1].step.framing if len(path) > 1 and path[1].step is not None else framing
        if first is None or first.variant is None:
            return None
        if not 0 <= first.variant < len(self.agent.variants):
            raise UsageError(
                f"the strategy asks for variant {first.variant} of the task, and agent {self.agent.name!r} has "
                f"{len(self.agent.variants)}; give it more: Agent(variants=[...])"
            )
        return self.agent.variants[first.variant]

    def system(self) -> str:
        """Return the system prompt. Nothing that a tool or a page said ever gets into it."""
        if isinstance(self.form, TextForm):
            return self.agent.instructions or "You solve tasks."
        instructions = self.agent.instructions or "You solve tasks with the tools that you have."
        if isinstance(self.form, JsonForm):
            return fill(
                "solver_json",
                instructions=instructions,
                thought=self.agent.thought,
                tools=describe(self._told),
                example=self.agent.example,
            )
        return fill("solver_native", instructions=instructions)

    def first(self, feedback: str, variant: Variant | None = None) -> str:
        """Return the first user message: the task, its files, and what the verifiers say at the start."""
        task = self.task if variant is None else variant.put(self.task, self.seed)
        about = mentioned({path: self.files[path] for path in self._shown()}, feedback) if self.agent.outline else []
        hint = "The failing tests mention, the most frequent first: " + ", ".join(
            f"{name} in {visible(path, lines=False)}" for path, name in about
        )
        return fill(
            "task",
            task=task.prompt,
            files=self._files([path for path, _ in about]),
            feedback=f"{feedback}\n\n{hint}" if about else feedback,
        )

    def _files(self, first: Sequence[str] = ()) -> str:
        """Return the files as the context setting wants them, those of `first` before the others."""
        context = self.agent.context
        if not self.files or context == "none":
            return ""
        if context == "list":
            return "Files:\n" + "\n".join(visible(path, lines=False) for path in sorted(self.files))
        shown: list[str] = []
        room = FILES_LIMIT_CHARS
        for path in sorted(self._shown(), key=lambda path: first.index(path) if path in first else len(first)):
            text, name = self.files[path], visible(path, lines=False)
            if self.agent.outline and path.endswith(".py"):
                text = outline(text)
            if len(text) > room:
                shown.append(f"{name} (not shown, {len(text)} characters; read it)")
                continue
            room -= len(text)
            fence = _longer_than_any_in(text)
            shown.append(f"{name}:\n{fence}\n{text.rstrip()}\n{fence}")
        return "\n\n".join(shown)

    def _shown(self) -> list[str]:
        """Paths of the files that the first message is about."""
        context = self.agent.context
        patterns = None if isinstance(context, str) else context
        return [path for path in sorted(self.files) if patterns is None or any(_matches(path, p) for p in patterns)]


def _briefly(step: Step) -> Step:
    """Return a step with the first lines of what it saw."""
    return replace(
        step, observations=tuple(replace(one, text=one.text.partition("\n")[0]) for one in step.observations)
    )


def _early_framing(step: Step) -> Framing | None:
    """Return what framed a step that is over, without what the memory said of what was seen then."""
    return None if step.framing is None else replace(step.framing, recalled=())


def _digest(taken: Sequence[tuple[Node, Step]], early: int, view: TreeView) -> Iterator[str]:
    """Yield what turns did, a line each, those from `early` on with all that they saw and what was said of it."""
    for place, (node, step) in enumerate(taken):
        framing = _early_framing(step)
        if framing is not None and (text := framed(framing, view)):
            yield text
        seen = [one.text.partition("\n") for one in step.observations]
        marks = ["" if one.ok else "FAILED: " for one in step.observations]
        did = [f"{mark}{line}" for mark, (line, _, _) in zip(marks, seen, strict=True)]
        yield from (f"- {line}" for line in did or [f"answer: {node.answer}" if node.answer is not None else step.text])
        if place >= early:
            yield from ("", *(rest for _, _, rest in seen if rest))
            if notes := _notes(view, node.id):
                yield f"\n{notes}"


def _add(messages: list[Message], framing: Framing | None, view: TreeView) -> None:
    """Say what a framing says, where it says anything."""
    if framing is not None and (text := framed(framing, view)):
        say(messages, text)


def _longer_than_any_in(text: str) -> str:
    """Return a fence of backticks that does not occur in a text, so that the text cannot end it."""
    return "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))


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
        if verdict.feedback and verdict.ranking is None:
            told = verdict.feedback if verdict.calls else f"As before: {verdict.feedback.splitlines()[0]}"
            said.setdefault(verdict.verifier, told)
    return "\n\n".join(f"[{name}] {text}" for name, text in said.items())
