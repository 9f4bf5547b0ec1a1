# LangGraph's signatures are partly untyped.
# pyright: reportUnknownMemberType=false
"""An explorer and a prover with a memory of the run, steered by generic prompts when they get nowhere: by a detector or a person.

START -> explore -> ground -> prove -> record -+-> explore
+-> steer -> explore
+-> conclude -+-> END
+-> END       +-> explore
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypedDict, cast

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from ...agents.prompts import fill
from ...core.errors import UsageError
from ...core.people import Question
from ...core.protocols import Model
from ...core.types import JSON, Result
from ...verifiers.fence import fenced
from ...verifiers.judge import Judge
from ..stage import Interrupted, Stage
from .components import described
from .run_memory import RunMemory, has_number
from .run_notes import grounded, take_notes

META_PROMPTS: dict[str, str] = {
    "small-cases": "Test small cases by code: compute the first few exactly, and say what they suggest.",
    "counter-evidence": "State the strongest evidence against what is believed so far, and follow it.",
    "separate": "Separate conjecture from proof: go through what is believed, and say of each point what exactly is missing.",
    "other-bound": "Prove the other direction: the bound, or the impossibility, that has not been looked at.",
    "reformulate": "Put the task in other words: another representation, an invariant, an equivalent task that is known.",
    "weaken": "Solve a weaker or a special version completely first, then say what stands between it and the task.",
}
"""Prompts that say nothing of a particular task, by name, in the order in which the detector takes them."""

PROOF = (
    "It shows what it says it shows: every step follows, facts are used as they are stated, nothing that is only believed is taken "
    "for granted, no case is left out. It need not finish the task."
)


class ProverState(TypedDict, total=False):
    """What LangGraph checkpoints; plain data."""

    memory: dict[str, JSON]
    """`RunMemory.to_json`."""
    guidance: str
    """What explorer and prover are told beside the task, until something else is said."""
    draft: str
    """The answer that the last proof came to; empty for none."""
    before: str
    """Digest of what was known when the round began."""
    rounds: list[dict[str, JSON]]
    steered: list[dict[str, JSON]]
    """Each time that they were steered: the round, the prompt's name or words, and by whom."""
    next: str


@dataclass(frozen=True, repr=False)
class ExplorerProver:
    """Explore, prove, remember, and change the way of thinking when it leads nowhere: `Agent(team=ExplorerProver())`.

    After Vibe Reasoning (2025), in which two models and a person solved a problem of the olympiad: an explorer tries things out, a
    prover shows what can be shown, and a memory of the run holds facts, failed approaches and open claims. What the explorer says
    becomes a fact only where code shows it (agents with a sandbox), all else is an open claim; what the prover says becomes one
    where a judge accepts the proof, and statements with numbers only with code as well. When `patience` rounds have brought
    neither a fact nor a refutation they are given a generic prompt, the next of the library, or the one that a person chooses or
    writes: the run waits for that person and can be resumed by any process.

    Each exploration and each proof is a search of the agent, with its strategy, tools and sandbox. An answer that a proof came to is
    put down by a last search that the agent's verifiers judge; one that they reject is remembered as failed. The memory is
    part of the checkpoints: it survives a kill bit for bit.

    Args:
        explorer: `provider:model` or a `Model` that explores; the agent's own unless given.
        prover: likewise, proves; it also takes the notes of what was explored, so that nobody vouches for their own findings.
        judge: likewise, judges proofs; the prover's unless given.
        rounds: explorations and proofs at most, >= 1.
        patience: rounds without a new fact or a refutation after which they are steered, >= 1.
        prompts: the library.
        people: whether a person chooses the prompt (`stagnation`), or nobody is asked (`never`).

    Raises:
        UsageError: an option is out of range.
    """

    explorer: str | Model | None = None
    prover: str | Model | None = None
    judge: str | Model | None = None
    rounds: int = 8
    patience: int = 2
    prompts: Mapping[str, str] = field(default_factory=lambda: dict(META_PROMPTS))
    people: Literal["never", "stagnation"] = "never"

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.patience < 1 or not self.prompts:
            raise UsageError(
                f"ExplorerProver(rounds={self.rounds}, patience={self.patience}) with {len(self.prompts)} prompts: rounds and "
                "patience must be at least 1, and there must be a prompt"
            )
        if self.people not in ("never", "stagnation"):
            raise UsageError(f"ExplorerProver(people={self.people!r}) must be 'never' or 'stagnation'")

    def __repr__(self) -> str:
        """Return what a run is recorded with; the same in every process."""
        return described(self)

    @property
    def name(self) -> str:
        """Name of its thread in the journal."""
        return "explorer-prover"

    # --- the searches of a round ---

    async def _explored(self, stage: Stage, state: ProverState) -> Result:
        agent = replace(stage.agent, model=self.explorer or stage.agent.model, search=stage.strategy, verifiers=())
        alone = replace(agent, plan=None, final=(), rounds=0, team=None)
        return await stage.search(f"explore{_round(state)}", self._task(stage, "explore", state), agent=alone)

    async def _proved(self, stage: Stage, state: ProverState) -> Result:
        model = self.prover or stage.agent.model
        proofs = Judge(PROOF, accept=0.5, model=self.judge or model, name="proof")
        agent = replace(stage.agent, model=model, search=stage.strategy, verifiers=(proofs,))
        alone = replace(agent, plan=None, final=(), rounds=0, team=None)
        return await stage.search(f"prove{_round(state)}", self._task(stage, "prove", state), agent=alone)

    def _task(self, stage: Stage, prompt: str, state: ProverState) -> Any:
        said = {"memory": _memory(state).shown(), "guidance": state.get("guidance", "")}
        return stage.task.model_copy(update={"prompt": fill(prompt, task=stage.task.prompt, **said)})

    # --- the nodes ---

    async def _explore(self, state: ProverState, runtime: Runtime[Stage]) -> dict[str, Any]:
        memory = _memory(state)
        begun: ProverState = {**state, "memory": memory.to_json(), "rounds": state.get("rounds", [])}
        await self._explored(runtime.context, begun)
        return {"memory": begun["memory"], "rounds": begun["rounds"], "before": _known(memory), "draft": ""}

    async def _ground(self, state: ProverState, runtime: Runtime[Stage]) -> dict[str, Any]:
        """What the explorer found: facts where code shows them, else open claims."""
        stage, memory, number = runtime.context, _memory(state), _round(state)
        result = await self._explored(stage, state)
        if result.answer is None:
            return {}
        notes = await take_notes(stage, f"notes-explore{number}", memory, result.answer, self.prover)
        shown, believed = await grounded(stage, f"ground-explore{number}", result, notes["facts"])
        memory = memory.refuted([int(n) for n in notes["refuted"]]).with_facts(shown)
        return {
            "memory": memory.with_failed(_texts(notes["failed"]))
            .with_open([*believed, *_texts(notes["open"])])
            .to_json()
        }

    async def _prove(self, state: ProverState, runtime: Runtime[Stage]) -> dict[str, Any]:
        """What the prover showed: facts where the judge accepts the proof, those with numbers where code shows them as well."""
        stage, memory, number = runtime.context, _memory(state), _round(state)
        result = await self._proved(stage, state)
        if result.answer is None:
            return {}
        if not result.accepted:
            why = " ".join("; ".join(v.feedback for v in result.verdicts if v.feedback).split())[:300]
            return {
                "memory": memory.with_failed([f"a proof was not accepted: {why or 'no reason was given'}"]).to_json()
            }
        notes = await take_notes(stage, f"notes-prove{number}", memory, result.answer, self.prover)
        shown, rest = await grounded(stage, f"ground-prove{number}", result, notes["facts"])
        words = [text for text in rest if not has_number(text) or stage.agent.sandbox is None]
        memory = memory.refuted([int(n) for n in notes["refuted"]]).with_facts([*shown, *words])
        memory = memory.with_failed(_texts(notes["failed"]))
        memory = memory.with_open([*(text for text in rest if text not in words), *_texts(notes["open"])])
        return {"memory": memory.to_json(), "draft": str(notes["answer"]).strip()}

    async def _record(self, state: ProverState, runtime: Runtime[Stage]) -> dict[str, Any]:
        stage, rounds, memory = runtime.context, state.get("rounds", []), _memory(state)
        idle = 0 if _known(memory) != state.get("before") else (int(rounds[-1]["idle"]) if rounds else 0) + 1
        counts: dict[str, JSON] = {kind: len(entries) for kind, entries in memory.to_json().items()}
        done = [
            *rounds,
            counts | {"idle": idle, "guidance": state.get("guidance", ""), "draft": state.get("draft", "")},
        ]
        over = len(done) >= self.rounds or stage.spent
        where = "conclude" if state.get("draft") else END if over else "steer" if idle >= self.patience else "explore"
        return {"rounds": done, "next": where}

    async def _steer(self, state: ProverState, runtime: Runtime[Stage]) -> dict[str, Any]:
        """Take the next prompt of the library, or the one that a person wants."""
        stage, steered, rounds = runtime.context, state.get("steered", []), state.get("rounds", [])
        names = list(self.prompts)
        said = names[len(steered) % len(names)]
        if self.people == "stagnation":
            said = await self._asked(stage, state)
        row: dict[str, JSON] = {
            "round": len(rounds),
            "prompt": said,
            "by": "detector" if self.people == "never" else "person",
        }
        # What was tried and led nowhere counts anew under the new prompt.
        done = [*rounds[:-1], rounds[-1] | {"idle": 0}]
        return {"guidance": self.prompts.get(said, said), "steered": [*steered, row], "rounds": done}

    async def _asked(self, stage: Stage, state: ProverState) -> str:
        """Return what a person wants to be tried: a name of the library, or words of their own.

        Raises:
            Interrupted: they have not answered yet.
        """
        key = f"steer{len(state.get('steered', [])) + 1}"
        log = stage.scope.resources.log.effects(stage.scope.path)
        answer: JSON = log.answer(key)
        if answer is not None:
            return str(answer).strip() or next(iter(self.prompts))
        listed = "\n".join(f"- {name}: {text}" for name, text in self.prompts.items())
        text = f"{self.patience} rounds brought nothing new. What is to be tried? A name of this list, or words of your own:\n{listed}"
        asked = Question(log.question_id(key), "ask", f"{text}\n\n{_memory(state).shown()}", {"type": "string"})
        last = await self._explored(stage, {**state, "rounds": state.get("rounds", [])[:-1]})
        waiting = replace(last, answer=None, stop_reason="waiting", stop_detail="a person is asked how to go on")
        raise Interrupted(replace(waiting, questions=(asked,)))

    async def _conclude(self, state: ProverState, runtime: Runtime[Stage]) -> dict[str, Any]:
        """Have the answer put down, and judged by the agent's verifiers."""
        stage, rounds, memory = runtime.context, state.get("rounds", []), _memory(state)
        result = await self._concluded(stage, state)
        decided = any(verdict.passed is not None for verdict in result.verdicts)
        if result.accepted or not decided or len(rounds) >= self.rounds or stage.spent:
            return {"next": END}
        why = " ".join("; ".join(v.feedback for v in result.verdicts if v.feedback).split())[:300]
        return {
            "next": "explore",
            "memory": memory.with_failed([f"the answer {state.get('draft')!r} was rejected: {why}"]).to_json(),
        }

    async def _concluded(self, stage: Stage, state: ProverState) -> Result:
        shown = fenced("answer", state.get("draft", ""))
        text = fill("conclude", task=stage.task.prompt, memory=_memory(state).shown(), answer=shown)
        task = stage.task.model_copy(update={"prompt": text})
        return await stage.search(f"answer{len(state.get('rounds', []))}", task)

    # --- as a team ---

    def graph(self) -> StateGraph[ProverState, Stage, ProverState, ProverState]:
        """Return the uncompiled graph."""
        graph = StateGraph(ProverState, context_schema=Stage)
        graph.add_node("explore", self._explore)
        graph.add_node("ground", self._ground)
        graph.add_node("prove", self._prove)
        graph.add_node("record", self._record)
        graph.add_node("steer", self._steer)
        graph.add_node("conclude", self._conclude)
        graph.add_edge(START, "explore")
        graph.add_edge("explore", "ground")
        graph.add_edge("ground", "prove")
        graph.add_edge("prove", "record")
        graph.add_conditional_edges("record", _where_next, ["explore", "steer", "conclude", END])
        graph.add_edge("steer", "explore")
        graph.add_conditional_edges("conclude", _where_next, ["explore", END])
        return graph

    async def result(self, state: ProverState, stage: Stage) -> Result:
        """Return the last answer that was put down; where there was none the last proof, unaccepted."""
        rounds, memory = state.get("rounds", []), _memory(state)
        drafted = [number for number, row in enumerate(rounds, start=1) if row["draft"]]
        if drafted:
            result = await self._concluded(stage, {**state, "rounds": rounds[: drafted[-1]]})
        else:
            result = await self._proved(stage, {**state, "rounds": rounds[:-1]})
            result = replace(result, accepted=False, stop_reason="budget" if stage.spent else "exhausted")
        report: dict[str, JSON] = {"memory": memory.to_json(), "memory_digest": memory.digest, "rounds": rounds}
        return replace(result, report={**result.report, **report, "steered": state.get("steered", [])})


def _where_next(state: ProverState) -> str:
    return state.get("next", END)


def _memory(state: ProverState) -> RunMemory:
    return RunMemory.from_json(state.get("memory", {}))


def _known(memory: RunMemory) -> str:
    """Return what counts as progress: facts, and what was refuted."""
    refuted = [entry for entry in memory.failed if entry.startswith("refuted: ")]
    return RunMemory(memory.facts, tuple(refuted)).digest


def _round(state: ProverState) -> int:
    return len(state.get("rounds", [])) + 1


def _texts(rows: JSON) -> list[str]:
    return [str(row) for row in cast("list[JSON]", rows)]
