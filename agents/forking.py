"""Going on from a node of an earlier run with something changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from ..core.errors import JournalVersionMismatch, UsageError
from ..core.protocols import Model
from ..core.types import JSON, Step, Task, ToolCall

if TYPE_CHECKING:
    from .agent import Agent


@dataclass(frozen=True)
class Fork:
    """From where a new run begins, and what is different in it.

    Args:
        run_id: the run that it is forked from, or a unique beginning of its id.
        node: where; the chosen node unless given. A node of a search within the run is written as its path and its number,
            for example "try1/3".
        instructions: the agent's, from here on.
        model: the agent's, from here on.
        prompt: the task's, as if it had been so from the beginning.
        action: done at the node in place of what the model did there: `{"tool": ..., "arguments": {...}}`.
    """

    run_id: str
    node: int | str | None = None
    instructions: str | None = None
    model: str | Model | None = None
    prompt: str | None = None
    action: Mapping[str, JSON] | None = None

    def __post_init__(self) -> None:
        if self.prompt is not None and not self.prompt.strip():
            raise UsageError("the prompt is empty; say what is to be done")
        if self.action is not None:
            known = isinstance(self.action.get("tool"), str) and isinstance(self.action.get("arguments", {}), Mapping)
            if not known or self.action.keys() - {"tool", "arguments"}:
                raise UsageError(f'{self.action!r} is no action; write {{"tool": "name", "arguments": {{...}}}}')

    @property
    def place(self) -> tuple[str, int | None]:
        """Path of the search within the run, and the number of the node in it; None for the chosen one.

        Raises:
            UsageError: `node` is neither a number nor a path and a number.
        """
        if self.node is None or isinstance(self.node, int):
            return "", self.node
        path, _, number = self.node.rpartition("/")
        if not number.isdigit():
            raise UsageError(f"{self.node!r} is no node; write its number, or the path of its search and its number")
        return path, int(number)

    def agent(self, agent: Agent) -> Agent:
        """Return the agent as it is from here on.

        There is nothing more to be planned, and no team begins anew: a fork goes on with one trajectory.

        Raises:
            UsageError: it has no such tool.
        """
        if self.action is not None and self.action["tool"] not in (known := [tool.name for tool in agent.toolbox]):
            raise UsageError(
                f"agent {agent.name!r} has no tool {self.action['tool']!r}; it has: {', '.join(known) or 'none'}"
            )
        changed = replace(agent, plan=None, team=None)
        if self.instructions is not None:
            changed = replace(changed, instructions=self.instructions)
        return changed if self.model is None else replace(changed, model=self.model)

    def task(self, task: Task) -> Task:
        """Return the task as it is from here on."""
        return task if self.prompt is None else task.model_copy(update={"prompt": self.prompt})

    def edited(self, step: Step) -> Step:
        """Return a step whose action is the changed one, not done yet."""
        assert self.action is not None
        number = step.calls[0].id if step.calls else "edited"
        call = ToolCall(number, str(self.action["tool"]), dict(self.action.get("arguments", {})))
        return replace(step, kind="tool", calls=(call,), observations=(), held=False, logprob=None)

    def to_json(self) -> dict[str, JSON]:
        """What is kept of it, in the new run; a model by its name."""
        model = self.model if self.model is None or isinstance(self.model, str) else self.model.name
        row = asdict(replace(self, model=None)) | {"model": model, "own_model": not isinstance(self.model, str | None)}
        return {name: value for name, value in row.items() if value not in (None, False)}

    @classmethod
    def from_json(cls, row: Mapping[str, JSON], agent: Agent | None) -> Fork:
        """Return what `to_json` wrote, for the agent with which the run is resumed; None where it is only looked at.

        Raises:
            JournalVersionMismatch: it was forked with a model object, and the agent has another model.
        """
        fields = dict(row)
        if not fields.pop("own_model", False):
            return cls(**fields)
        wanted = fields.pop("model")
        if agent is None:
            return cls(**fields)
        if isinstance(agent.model, str) or agent.model.name != wanted:
            raise JournalVersionMismatch(
                f"the run was forked with a model object called {wanted!r}; resume it with an agent that has it"
            )
        return cls(**fields, model=agent.model)
