"""Solve, detect, verify in a whole run: cut short where it is complete, mended once by the judge's words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import branchwise as bw
from branchwise.core.simulated.critics import fences
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest
from branchwise.graphs import LocalRunner, RunStore
from branchwise.search.solve_detect_verify import CLOSE
from branchwise.verifiers import Complete, FastSlow, Judge

WRONG = "Two and three make six" + ", or perhaps not, let me think about it again" * 8
RIGHT = "Two and three make five" + ", or perhaps not, let me think about it again" * 8


def reply(request: ModelRequest) -> str:
    """Solve, at first wrongly; find it complete once it names a number; judge it by that."""
    solution = fences(request).get("solution", "")
    if request.response_schema is not None:
        if "holds a complete solution" in request.messages[0].content:
            done = "six" in solution or "five" in solution
            return json.dumps({"verdict": "yes" if done else "no"})
        critique = "" if "five" in solution else "2 + 3 is not six"
        return json.dumps({"critique": critique, "verdict": "no" if critique else "yes"})
    mended = any("2 + 3 is not six" in message.content for message in request.messages)
    text = RIGHT if mended else WRONG
    if CLOSE in request.prefix:
        return f"{request.prefix} {'5' if mended else '6'}."
    return text


@pytest.fixture
def agent() -> bw.Agent:
    """One that answers in plain text, in segments of four tokens."""
    return bw.Agent(
        name="thinker",
        model=ScriptedModel(reply),
        form="text",
        verifiers=[Complete(), FastSlow(Judge(think=False, name="fast"), Judge(name="slow"), k=3)],
        search=bw.search.SolveDetectVerify(segment_tokens=4),
    )


async def test_a_run_is_cut_short_judged_and_mended_once(agent: bw.Agent, tmp_path: Path) -> None:
    """The wrong solution goes on from its cut first; the new one is shown it with the verdict; all is charged."""
    result = await LocalRunner(RunStore(tmp_path)).run(agent, bw.Task(prompt="2 + 3?"), bw.Budget(), seed=1)
    assert result.accepted
    assert result.answer is not None
    assert result.answer.endswith(f"{CLOSE} 5.")
    assert "let me think about it again, or" not in result.answer
    answers = [node for node in result.tree if node.answer is not None]
    assert [("six" in str(node.answer), CLOSE in str(node.answer)) for node in answers] == [
        (True, True),
        (True, False),
        (False, True),
    ]
    shown = [node.step.framing.shown for node in result.tree if node.step is not None and node.step.framing is not None]
    assert shown[0] == (answers[1].id,)
    assert result.usage.verifier_calls > 3 * 3
    assert result.usage.tokens == result.tree.usage.tokens


async def test_without_a_detector_it_goes_to_its_end(agent: bw.Agent, tmp_path: Path) -> None:
    """A detector that the agent does not have cuts nothing short."""
    bare = replace(agent, verifiers=agent.verifiers[1:])
    result = await LocalRunner(RunStore(tmp_path)).run(bare, bw.Task(prompt="2 + 3?"), bw.Budget(nodes=400), seed=1)
    assert not any(CLOSE in str(node.answer) for node in result.tree)
