"""`Alike`: whether two beginnings lead to the same answer, or two wishes are the same work."""

from __future__ import annotations

import pytest

from branchwise.core.errors import VerifierError
from branchwise.core.simulated.critics import fences
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest, ModelResponse, NodeId, TokenLogprob, Usage
from branchwise.search import Calibration
from branchwise.verifiers import Alike
from branchwise.verifiers.alike import ANSWERS, WISHES

from .judged import candidate_of, tree_of


async def test_both_are_shown_and_one_token_is_read() -> None:
    """The value is the probability of a yes; the ranking says which two were compared."""
    asked: list[ModelRequest] = []

    def script(request: ModelRequest) -> ModelResponse:
        asked.append(request)
        tokens = [TokenLogprob(text, 0.0) for text in ('{"verdict"', ": ", '"')]
        tokens.append(TokenLogprob("no", -0.3, (("no", -0.2876820724), ("yes", -1.3862943611))))
        return ModelResponse('{"verdict": "no"}', Usage(), logprobs=(*tokens, TokenLogprob('"}', 0.0)))

    candidate = candidate_of(tree_of("five", "5", "six"), 2, model=ScriptedModel(script), among=(NodeId(1), NodeId(2)))
    verdict = await Alike().judge(candidate)
    assert verdict.value == pytest.approx(0.25)
    assert verdict.ranking == {1: verdict.value, 2: verdict.value}
    assert (verdict.passed, verdict.semantics, verdict.verifier) == (None, "likelihood", "alike")
    shown = fences(asked[0])
    assert ("five" in shown["first"], "5" in shown["second"]) == (True, True)
    assert ANSWERS in asked[0].messages[0].content
    assert asked[0].sampling.max_tokens <= 24
    await Alike(WISHES).judge(candidate)
    assert WISHES in asked[1].messages[0].content


async def test_it_can_be_calibrated() -> None:
    """What it says becomes a probability, by how such values turned out; the pair is still told."""
    candidate = candidate_of(
        tree_of("a", "b"), 2, model=ScriptedModel(lambda _: '{"verdict": "yes"}'), among=(NodeId(1), NodeId(2))
    )
    calibration = Calibration.fit([(1.0, True), (1.0, False), (0.0, False)] * 4)
    verdict = await Alike(calibration=calibration).judge(candidate)
    assert 0.3 < verdict.value < 0.7
    assert set(verdict.ranking or {}) == {1, 2}


@pytest.mark.parametrize("among", [(), (1,), (1, 2, 3)])
async def test_only_pairs_are_compared(among: tuple[int, ...]) -> None:
    """Anything else is refused."""
    candidate = candidate_of(
        tree_of("a", "b", "c"), 2, model=ScriptedModel(lambda _: ""), among=tuple(map(NodeId, among))
    )
    with pytest.raises(VerifierError, match="compares two"):
        await Alike().judge(candidate)
