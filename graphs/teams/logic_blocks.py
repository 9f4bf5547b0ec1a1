# LangGraph's signatures are partly untyped.
# pyright: reportUnknownMemberType=false
"""Logic blocks: a navigator looks at what the model says of its own work, and says which kind of step comes next.

START -> assess -+-> reason    -+-> assess
+-> decompose -+
+-> debate    -+
+-> refine    -+
+-> terminate -> END
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict, cast

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from ...agents.prompts import fill
from ...core.errors import BranchwiseError, BudgetExceeded, ModelError, UsageError
from ...core.keys import derive_seed
from ...core.protocols import Model, Verifier
from ...core.schemas import form_of_object
from ...core.types import JSON, Result, Task
from ...search.navigation import ASPECTS, BLOCKS, BlockRules, BlockScores, BlockSituation, Navigator
from ...verifiers.fence import fenced
from ..stage import Stage, state_after
from .components import described

FINAL = "final answer:"
"""Begins the line that has the answer, in small letters."""

MIDDLING = (2,) * len(ASPECTS)
"""The marks where a model gives none."""

_STEP: dict[str, JSON] = {"type": "string", "maxLength": 400}


class BlocksState(TypedDict, total=False):
    """What LangGraph checkpoints; plain data."""

    work: list[str]
    """The steps so far."""
    origin: str | None
    """State of the sandbox that the last step left."""
    blocks: list[dict[str, JSON]]
    """One row for each block: the marks and the situation it was chosen in, its `name`, what process verifiers made of it (`value`)
    and whether it `changed` anything."""


@dataclass(frozen=True, repr=False)
class LogicBlocks:
    """Reason by blocks that a navigator chooses: `Agent(team=LogicBlocks())`.

    RL of Thoughts (2025). Before each block the model judges its own work in one call: seven marks from 1 to 3. By these the
    navigator has it reason one step, decompose what is left into parts, debate several proposals for the next step, refine the last
    one, or terminate. It never terminates before there is an answer, decomposes once, and does not refine again what it had just
    left as it was. The last search puts the answer down; the agent's verifiers judge that one.

    The navigator is a table of rules unless given. One that was learned from runs is `search.BlockTable.fit(episodes)`, where an
    episode is `search.block_episode(result.report["blocks"], outcome)` of a run with `navigator=search.WanderingBlocks(share=0.5)`.

    Args:
        navigator: chooses the blocks.
        blocks: at most so many, >= 1; then it terminates.
        proposals: of a debate, >= 2.
        parts: of a decomposition at most, >= 2.
        process: verifiers of single steps; they guide the searches of the blocks, and say what a block was worth to whoever
            learns a navigator.
        model: judges the work, divides it, and picks in debates; the agent's own unless given.

    Raises:
        UsageError: an option is out of range.
    """

    navigator: Navigator = field(default_factory=BlockRules)
    blocks: int = 12
    proposals: int = 3
    parts: int = 4
    process: tuple[Verifier, ...] = ()
    model: str | Model | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "process", tuple(self.process))
        if self.blocks < 1 or self.proposals < 2 or self.parts < 2:
            raise UsageError(
                f"LogicBlocks(blocks={self.blocks}, proposals={self.proposals}, parts={self.parts}): blocks must be at least 1, "
                "proposals and parts at least 2"
            )

    def __repr__(self) -> str:
        """Return what a run is recorded with; the same in every process."""
        told = f"{self.navigator!r}, blocks={self.blocks}, proposals={self.proposals}, parts={self.parts}"
        return f"LogicBlocks({told}, process={described(self.process)}, model={described(self.model)})"

    @property
    def name(self) -> str:
        """Name of its thread in the journal."""
        return "logic-blocks"

    # --- assessing and choosing ---

    async def _assess(self, state: BlocksState, runtime: Runtime[Stage]) -> dict[str, Any]:
        stage, rows = runtime.context, state.get("blocks", [])
        work = state.get("work", [])
        prompt = fill("block_assess", task=fenced("task", stage.task.prompt), work=_shown(work))
        mark: JSON = {"enum": [1, 2, 3]}
        form = form_of_object(**dict.fromkeys(ASPECTS, mark))
        try:
            reply = await stage.ask_json(f"assess{len(rows) + 1}", prompt, form, model=self.model)
        except (ModelError, BudgetExceeded):
            reply = None
        marks = MIDDLING if reply is None else tuple(int(reply[aspect]) for aspect in ASPECTS)
        situation = BlockSituation(
            BlockScores(marks),
            answered=_answer(work) is not None,
            divided=any(row["block"] == "decompose" for row in rows),
            stuck=bool(rows) and rows[-1]["block"] == "refine" and not rows[-1]["changed"],
        )
        row: dict[str, JSON] = {"marks": [*marks], "answered": situation.answered, "divided": situation.divided}
        row |= {"stuck": situation.stuck, "block": self._choose(stage, situation, len(rows)), "value": None}
        return {"blocks": [*rows, row | {"name": f"block{len(rows) + 1}", "changed": False}]}

    def _choose(self, stage: Stage, situation: BlockSituation, before: int) -> str:
        if before + 1 >= self.blocks or stage.spent:
            return "terminate"
        block = self.navigator.choose(situation, derive_seed(stage.scope.seed, f"block{before + 1}"))
        if block not in situation.allowed:
            raise UsageError(
                f"navigator {self.navigator!r} chose {block!r} where only {', '.join(situation.allowed)} are allowed"
            )
        # Refining needs a step that can be refined.
        return "reason" if block == "refine" and before == 0 else block

    # --- the blocks ---

    async def _search(self, stage: Stage, state: BlocksState, name: str, task: Task) -> Result:
        """Run a block's search, from the files that the block before left."""
        agent = replace(
            stage.agent, search=stage.strategy, verifiers=self.process, plan=None, final=(), rounds=0, team=None
        )
        return await stage.search(name, task, agent=agent, origin=state.get("origin", stage.origin))

    async def _reason(self, state: BlocksState, runtime: Runtime[Stage]) -> dict[str, Any]:
        stage, row = runtime.context, state.get("blocks", [])[-1]
        result = await self._search(stage, state, str(row["name"]), _task(stage, "block_reason", state))
        return _added(state, result, stage)

    async def _decompose(self, state: BlocksState, runtime: Runtime[Stage]) -> dict[str, Any]:
        stage, name = runtime.context, str(state.get("blocks", [])[-1]["name"])
        work = _shown(state.get("work", []))
        form = form_of_object(parts={"type": "array", "minItems": 2, "maxItems": self.parts, "items": _STEP})
        prompt = fill("block_parts", task=fenced("task", stage.task.prompt), work=work)
        try:
            reply = await stage.ask_json(f"{name}-parts", prompt, form, model=self.model)
        except (ModelError, BudgetExceeded):
            reply = None
        found: list[str] = []
        after: BlocksState = state
        for number, part in enumerate(cast("list[JSON]", (reply or {}).get("parts") or []), start=1):
            task = _task(stage, "block_part", state, part=str(part), found=_found(found))
            result = await self._search(stage, after, f"{name}-part{number}", task)
            found.append(f"{part}\n{result.answer or 'nothing'}")
            after = {**after, "origin": state_after(result, after.get("origin", stage.origin))}
        task = _task(stage, "block_merge", state, found=_found(found)) if found else _task(stage, "block_reason", state)
        return _added(after, await self._search(stage, after, name, task), stage)

    async def _debate(self, state: BlocksState, runtime: Runtime[Stage]) -> dict[str, Any]:
        stage, name = runtime.context, str(state.get("blocks", [])[-1]["name"])
        task = _task(stage, "block_reason", state)
        names = [f"{name}-{number}" for number in range(1, self.proposals + 1)]
        ended = await stage.together(*(self._search(stage, state, one, task) for one in names))
        results = [one for one in ended if not isinstance(one, BranchwiseError) and one.answer is not None]
        if not results:
            return _added(state, None, stage)
        return _added(state, results[await self._pick(stage, state, name, results)], stage)

    async def _pick(self, stage: Stage, state: BlocksState, name: str, results: Sequence[Result]) -> int:
        """Return the place of the best proposal; the first where nobody says."""
        if len({result.answer for result in results}) == 1:
            return 0
        shown = "\n\n".join(fenced(f"proposal {n}", result.answer or "") for n, result in enumerate(results, start=1))
        task = fenced("task", stage.task.prompt)
        prompt = fill("block_pick", task=task, work=_shown(state.get("work", [])), proposals=shown)
        form = form_of_object(reason=_STEP, best={"enum": list(range(1, len(results) + 1))})
        try:
            reply = await stage.ask_json(f"{name}-pick", prompt, form, model=self.model)
        except (ModelError, BudgetExceeded):
            reply = None
        return int(reply["best"]) - 1 if reply else 0

    async def _refine(self, state: BlocksState, runtime: Runtime[Stage]) -> dict[str, Any]:
        stage, name = runtime.context, str(state.get("blocks", [])[-1]["name"])
        result = await self._search(stage, state, name, _task(stage, "block_refine", state))
        last = state.get("work", [])[-1:]
        if result.answer is None or [result.answer] == last:
            return _added(state, None, stage)
        return _added({**state, "work": state.get("work", [])[:-1]}, result, stage)

    async def _terminate(self, state: BlocksState, runtime: Runtime[Stage]) -> dict[str, Any]:
        stage = runtime.context
        await stage.search("answer", _task(stage, "block_answer", state), origin=state.get("origin", stage.origin))
        return {}

    # --- as a team ---

    def graph(self) -> StateGraph[BlocksState, Stage, BlocksState, BlocksState]:
        """Return the uncompiled graph."""
        graph = StateGraph(BlocksState, context_schema=Stage)
        graph.add_node("assess", self._assess)
        graph.add_node("reason", self._reason)
        graph.add_node("decompose", self._decompose)
        graph.add_node("debate", self._debate)
        graph.add_node("refine", self._refine)
        graph.add_node("terminate", self._terminate)
        graph.add_edge(START, "assess")
        graph.add_conditional_edges("assess", _where_next, [*BLOCKS])
        for block in ("reason", "decompose", "debate", "refine"):
            graph.add_edge(block, "assess")
        graph.add_edge("terminate", END)
        return graph

    async def result(self, state: BlocksState, stage: Stage) -> Result:
        """Return the answer that was put down, or where that was not to be had the one that the work came to."""
        result = await stage.search("answer")
        known = _answer(state.get("work", []))
        if result.answer is None and known is not None:
            result = replace(result, answer=known, abstained=False)
        report = {"blocks": state.get("blocks", []), "work": state.get("work", []), "navigator": repr(self.navigator)}
        return replace(result, report={**result.report, **report})


def _where_next(state: BlocksState) -> str:
    return str(state.get("blocks", [])[-1]["block"])


def _task(stage: Stage, prompt: str, state: BlocksState, **more: str) -> Task:
    text = fill(prompt, task=stage.task.prompt, work=_shown(state.get("work", [])), **more)
    return stage.task.model_copy(update={"prompt": text})


def _shown(work: Sequence[str]) -> str:
    steps = "\n".join(fenced(f"step {number}", step) for number, step in enumerate(work, start=1))
    return f"The work so far:\n{steps}" if steps else "Nothing was done yet."


def _found(found: Sequence[str]) -> str:
    return "\n".join(fenced(f"part {number}", text) for number, text in enumerate(found, start=1))


def _added(state: BlocksState, result: Result | None, stage: Stage) -> dict[str, Any]:
    """Return what a block changed: a step more, where it came to one."""
    rows, work = state.get("blocks", []), state.get("work", [])
    answer = None if result is None else result.answer
    if result is None or answer is None:
        return {"blocks": rows}
    row = rows[-1] | {"changed": True, "value": result.confidence}
    origin = state_after(result, state.get("origin", stage.origin))
    return {"blocks": [*rows[:-1], row], "work": [*work, answer], "origin": origin}


def _answer(work: Sequence[str]) -> str | None:
    """Return the answer that the last step that has one gave."""
    for step in reversed(work):
        for line in reversed(step.splitlines()):
            if line.strip().lower().startswith(FINAL):
                return line.strip()[len(FINAL) :].strip()
    return None
