"""Verifiers for work on pages: checks of the state that a trajectory led to, and a model that says how it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..core.errors import ActionFailed, StateDiverged, UsageError, VerifierError
from ..core.protocols import Candidate, Model, Verifier
from ..core.types import Semantics, Verdict
from .combinators import Vote
from .judge import GOAL_REACHED, Judge

if TYPE_CHECKING:
    from ..web.tasks import Check, WebTask


@dataclass(frozen=True, init=False)
class WebCheck:
    """Have a web check judge the pages that a trajectory led to, and its answer.

    The check gets pages of its own in that state, brought back from it, so that it may leave them: the agent's are as they were.
    How well the verdict is protected (`integrity`) is what the check says of itself: what is behind the pages, and answers, are looked
    at on the host alone; a page that is asked can lie.

    A check that is asked at every state guides the search: it ends it where the check holds, and what it is worth before steers it.
    That is for what you can tell of your own site. What a task is scored by belongs at the end: with `scope="answer"`, or among
    the agent's `final` verifiers.

    Args:
        check: one of `branchwise.web.tasks`, any async function of an `Ending`, or a whole `WebTask`, whose check is taken.
        scope: `answer` judges what has ended with an answer, `state` every step.
        semantics: what its value means: whether it is right, or at every step how near it is.
        reveal: tell the model what the check misses. It may name the right answer, so only where that is no secret.
        name: shown beside its verdicts.

    Raises:
        UsageError: the check is none, or a task's own score was to guide a search.
    """

    check: Check
    scope: Literal["answer", "state"]
    semantics: Semantics
    reveal: bool
    name: str

    reads_answers = True
    """Some checks are about the answer, so the model must be able to give one, also where every state is judged."""

    def __init__(
        self,
        check: Check | WebTask,
        *,
        scope: Literal["answer", "state"] = "answer",
        semantics: Semantics | None = None,
        reveal: bool = False,
        name: str = "web check",
    ) -> None:
        found = getattr(check, "check", check)
        if not callable(found):
            raise UsageError(f"WebCheck({check!r}) is no check; give one of branchwise.web.tasks, or a WebTask")
        if scope not in ("answer", "state"):
            raise UsageError(f"WebCheck(scope={scope!r}) must be 'answer' or 'state'")
        if scope == "state" and getattr(found, "at_the_end", False):
            raise UsageError(
                f"{found!r} is what the task is scored by, and must not guide a search; use scope='answer', or Agent(final=[...])"
            )
        values = {"check": found, "scope": scope, "reveal": reveal, "name": name}
        values["semantics"] = semantics or ("outcome" if scope == "answer" else "value")
        for key, value in values.items():
            object.__setattr__(self, key, value)

    async def judge(self, candidate: Candidate) -> Verdict:
        """Bring the state back, and ask the check.

        Raises:
            VerifierError: the page does not answer, or the state cannot be brought back.
        """
        from ..web.environment import pages  # Playwright takes its time to load
        from ..web.tasks import Ending, integrity_of

        try:
            async with candidate.open(candidate.node.env_ref) as environment:
                mark = await self.check(Ending(pages(environment), candidate.answer or ""))
        except (ActionFailed, StateDiverged) as error:
            raise VerifierError(f"verifier {self.name!r} cannot look at the page: {error}") from error
        said = mark.why if self.reveal and not mark.done else ""
        return Verdict(
            min(1.0, max(0.0, mark.value)),
            self.semantics,
            self.name,
            mark.done,
            said,
            integrity=integrity_of(self.check),
        )


def web_judge(
    *,
    votes: int = 1,
    model: str | Model | None = None,
    criteria: str = GOAL_REACHED,
    think: bool = False,
    screenshot: bool = False,
    accept: float | None = None,
    scope: Literal["state", "answer"] = "state",
    name: str = "web judge",
) -> Verifier:
    """Return a verifier that asks a model how a trajectory on pages stands: the goal is reached, or it is on the way, or not.

    Koh et al. (2024), Tree Search for Language Model Agents: the value of a state is the mean over votes of 1, 0.5 and 0; they have
    20 votes. Differs: where the server tells probabilities, one vote gives the mean of many. It sees the goal, what was done, a
    line each, and the last page as text, all as material of a stranger; with `screenshot` also as it looks, with the references in it.

    Args:
        votes: how many, >= 1.
        model: `provider:model` or a `Model` for itself; None asks the agent's.
        criteria: what counts as success.
        think: whether it writes what is missing before the verdict.
        screenshot: whether it sees a picture of the last page, secrets masked; for models that see.
        accept: value from which it accepts a trajectory; None only scores.
        scope: `state` values every step; `answer` only trajectories that have ended, for searches that go by nothing else.
        name: shown beside its verdicts.

    Raises:
        UsageError: an option is out of range.
    """
    judge = Judge(
        criteria,
        form="track",
        think=think,
        accept=accept,
        show="pages",
        screenshot=screenshot,
        model=model,
        max_tokens=256 if think else 24,
        scope=scope,
        name=name,
    )
    return judge if votes == 1 else Vote(judge, k=votes)
