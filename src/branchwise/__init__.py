"""Branchwise: agent orchestration with verifier-guided search.

Define an `Agent`, give it tools and verifiers, and say how its trajectories are searched::

    import branchwise as bw

    coder = bw.Agent(
        name="coder",
        instructions="Fix the code so that its tests pass.",
        model="embedded:qwen2.5-coder-1.5b",
        tools=[bw.tools.files],
        verifiers=[bw.verifiers.Tests("python3 -m pytest -q")],
        search=bw.search.BestFirst(width=4, depth=6),
        sandbox=bw.sandboxes.Docker(),
    )
    result = await coder.run("Make the tests pass.", files="./repo", budget=bw.Budget(tokens=50_000, seconds=300))
"""

from typing import TYPE_CHECKING

from branchwise.core.lazy import lazily

if TYPE_CHECKING:
    from branchwise import agents, memory, models, sandboxes, search, tools, verifiers, web
    from branchwise.agents import Agent, Planner, Spawn, variants
    from branchwise.core.budget import Ledger
    from branchwise.core.errors import (
        ActionFailed,
        ActionHeld,
        BranchwiseError,
        BudgetExceeded,
        CatalogError,
        EmptyFrontier,
        JournalError,
        JournalVersionMismatch,
        ModelError,
        ModelOutputInvalid,
        ModelRefused,
        ModelTimeout,
        ModelUnavailable,
        OutputLimitExceeded,
        RewardOutOfRange,
        SandboxError,
        SandboxLost,
        SandboxStartFailed,
        SandboxTimeout,
        SearchError,
        StateDiverged,
        ToolArgumentsInvalid,
        ToolError,
        ToolNotFound,
        UsageError,
        VerifierError,
    )
    from branchwise.core.events import Event, Within
    from branchwise.core.groups import Conclusion, Group
    from branchwise.core.people import Question
    from branchwise.core.protocols import (
        Appraisal,
        Candidate,
        Context,
        Environment,
        Model,
        Process,
        Sandboxes,
        SandboxSpec,
        Selector,
        Strategy,
        Variant,
        Verifier,
    )
    from branchwise.core.tree import Tree, TreeView
    from branchwise.core.types import (
        Budget,
        ExecResult,
        Framing,
        Node,
        Python,
        Result,
        Sampling,
        Step,
        Task,
        Usage,
        Verdict,
    )
    from branchwise.graphs import teams
    from branchwise.tools import Tool, Toolset, tool
    from branchwise.verifiers import verifier
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "agents": "Agent Planner Spawn",
            "core.budget": "Ledger",
            "core.errors": """
                ActionFailed ActionHeld BranchwiseError BudgetExceeded CatalogError EmptyFrontier JournalError
                JournalVersionMismatch ModelError ModelOutputInvalid ModelRefused ModelTimeout ModelUnavailable
                OutputLimitExceeded RewardOutOfRange SandboxError SandboxLost SandboxStartFailed SandboxTimeout SearchError
                StateDiverged ToolArgumentsInvalid ToolError ToolNotFound UsageError VerifierError
            """,
            "core.events": "Event Within",
            "core.groups": "Conclusion Group",
            "core.people": "Question",
            "core.protocols": """
                Appraisal Candidate Context Environment Model Process Sandboxes SandboxSpec Selector Strategy Variant Verifier
            """,
            "core.tree": "Tree TreeView",
            "core.types": "Budget ExecResult Framing Node Python Result Sampling Step Task Usage Verdict",
            "tools": "Tool Toolset tool",
            "verifiers": "verifier",
        },
        modules="agents agents.variants graphs.teams memory models sandboxes search tools verifiers web",
    )

__version__ = "0.1.0"

__all__ = [
    "ActionFailed",
    "ActionHeld",
    "Agent",
    "Appraisal",
    "BranchwiseError",
    "Budget",
    "BudgetExceeded",
    "Candidate",
    "CatalogError",
    "Conclusion",
    "Context",
    "EmptyFrontier",
    "Environment",
    "Event",
    "ExecResult",
    "Framing",
    "Group",
    "JournalError",
    "JournalVersionMismatch",
    "Ledger",
    "Model",
    "ModelError",
    "ModelOutputInvalid",
    "ModelRefused",
    "ModelTimeout",
    "ModelUnavailable",
    "Node",
    "OutputLimitExceeded",
    "Planner",
    "Process",
    "Python",
    "Question",
    "Result",
    "RewardOutOfRange",
    "Sampling",
    "SandboxError",
    "SandboxLost",
    "SandboxSpec",
    "SandboxStartFailed",
    "SandboxTimeout",
    "Sandboxes",
    "SearchError",
    "Selector",
    "Spawn",
    "StateDiverged",
    "Step",
    "Strategy",
    "Task",
    "Tool",
    "ToolArgumentsInvalid",
    "ToolError",
    "ToolNotFound",
    "Toolset",
    "Tree",
    "TreeView",
    "Usage",
    "UsageError",
    "Variant",
    "Verdict",
    "Verifier",
    "VerifierError",
    "Within",
    "agents",
    "memory",
    "models",
    "sandboxes",
    "search",
    "teams",
    "tool",
    "tools",
    "variants",
    "verifier",
    "verifiers",
    "web",
]
