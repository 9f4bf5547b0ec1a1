"""Combinations of agent, strategy and task that cannot work, refused before anything is started."""

from __future__ import annotations

from ..agents.agent import Agent
from ..agents.seeing import pageless
from ..core.errors import UsageError
from ..core.protocols import AsksModels, Committing, Recalling, Segmenting, Strategy, blind
from ..core.types import Task
from ..models.registry import may_see
from .judges import all_parts
from .task_files import files_of


def check(agent: Agent, strategy: Strategy, task: Task) -> None:
    """Refuse combinations that cannot work, before anything is started.

    Raises:
        UsageError: with what to change.
    """
    if isinstance(strategy, Recalling) and strategy.recalls and agent.memory is None:
        raise UsageError(
            f"{strategy.name} looks things up in the agent's memory, and agent {agent.name!r} has none; give it one: "
            "Agent(memory=bw.memory.Store('memory.sqlite'))"
        )
    if (
        isinstance(strategy, Segmenting)
        and strategy.in_segments
        and (agent.toolbox or agent.form not in ("text", "native"))
    ):
        raise UsageError(
            f"{strategy.name} samples turns in segments, which only turns in plain text can be, and agent {agent.name!r} has "
            f"{'tools' if agent.toolbox else f'form={agent.form!r}'}; give it form='text' and no tools, or take whole turns"
        )
    commits = isinstance(strategy, Committing) and strategy.commits
    if (
        strategy.speculative
        and not commits
        and (external := [t.name for t in agent.toolbox if t.effects == "external"])
    ):
        raise UsageError(
            f"tool {external[0]!r} has external effects, and {strategy.name} runs branches that it may throw away; use it "
            "without search, with one that commits itself (search.CommitSearch), or split the action off"
        )
    if agent.sandbox is None:
        needy = [t.name for t in agent.toolbox if t.wants_context and t.effects == "sandbox"]
        needy += [v.name for v in all_parts(agent.verifiers) if v.scope == "state" and not isinstance(v, AsksModels)]
        if needy:
            raise UsageError(
                f"{needy[0]!r} works in a sandbox and agent {agent.name!r} has none; give it one: "
                "Agent(sandbox=bw.sandboxes.Docker())"
            )
        if task.files is not None:
            raise UsageError(f"the task has files but agent {agent.name!r} has no sandbox to put them into")
    if agent.select is not None and (sets := [v.name for v in agent.verifiers if v.scope == "set"]):
        raise UsageError(
            f"verifier {sets[0]!r} compares the answers and chooses among them, and so does select={agent.select!r}; leave one out"
        )
    _check_sight(agent)
    if (files := files_of(task)) is not None and not files.exists():
        raise UsageError(f"files={task.files!r} is no folder or archive")


def _check_sight(agent: Agent) -> None:
    """Refuse pictures for models that take none, and pictures of pages where there are none."""
    shown = [agent.model] if agent.screenshot else []
    for verifier in all_parts([*agent.verifiers, *agent.final]):
        if getattr(verifier, "screenshot", False) and isinstance(verifier, AsksModels):
            shown += verifier.own_models or [agent.model]
    for model in shown:
        if not may_see(model):
            raise blind(model if isinstance(model, str) else model.name)
    if shown and agent.sandbox is None:
        raise pageless(f"agent {agent.name!r}")
