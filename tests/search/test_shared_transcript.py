"""`SharedTranscript`: workers write one transcript and see each other's work."""

from __future__ import annotations

from itertools import pairwise

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.events import Cancel, Expand, WorkStarted
from branchwise.core.simulated.time import TimedSearch
from branchwise.core.simulated.writers import SharedItems
from branchwise.search import SharedTranscript
from branchwise.search.shared_transcript import FINISH, OTHERS, PAST, QUICK_CHECK
from tests.search.texts import Scrambled, scrambled

PROBLEMS = 30


def work(seed: int, world: SharedItems, **changes: object) -> TimedSearch:
    """Take one problem to its end."""
    options: dict[str, object] = {"n": 2, "piece_tokens": 3, "check_tokens": 6, **changes}
    timed = TimedSearch(SharedTranscript(**options).fresh(seed), world, seed=seed)
    timed.run()
    return timed


def history(run: TimedSearch) -> list[str]:
    """What the longest view had before it of finished paragraphs."""
    return max(histories(run), key=len)


def histories(run: TimedSearch) -> list[list[str]]:
    """Finished paragraphs that each piece had before it, in the order of beginning."""
    leads = [e.work.lead for e in run.events if isinstance(e, WorkStarted) and isinstance(e.work, Expand)]
    return [lead.removeprefix(PAST).split(OTHERS)[0].strip().split("\n\n") for lead in leads]


def repeated(world: SharedItems, **changes: object) -> float:
    """Items done twice, on average; all problems are solved."""
    total = 0
    for seed in range(PROBLEMS):
        run = work(seed, world, **changes)
        assert run.right
        total += world.repeated("\n\n".join(history(run)))
    return total / PROBLEMS


def test_asking_saves_redundant_work() -> None:
    """Workers that are asked whether they do redundant work do less of it; where they do not look the question changes nothing."""
    without = repeated(SharedItems(), check_tokens=None)
    asked = repeated(SharedItems())
    blind = repeated(SharedItems(looks=False))
    assert without >= 1.0
    assert asked <= 0.4
    assert blind >= without - 0.5
    assert repeated(SharedItems(), n=1, check_tokens=None) == 0.0


def test_two_are_faster_than_one() -> None:
    """The clock stands earlier, since they divide the work."""
    alone = sum(work(seed, SharedItems(), n=1).now_tokens for seed in range(10))
    both = sum(work(seed, SharedItems()).now_tokens for seed in range(10))
    assert both <= 0.75 * alone


def test_all_see_the_same_history() -> None:
    """What anybody sees of finished paragraphs is a beginning of what is seen later; the same clock gives the same transcript."""
    run = work(1, SharedItems(), n=3)
    seen = histories(run)
    for earlier, later in pairwise(seen):
        assert later[: len(earlier)] == earlier or earlier == [""]
    assert histories(work(1, SharedItems(), n=3)) == seen
    names = {paragraph.split(" [")[0] for paragraph in seen[-1]}
    assert names == {"**Alice", "**Bob", "**Carol"}


def test_the_first_answer_ends_it() -> None:
    """Whoever names the final answer is chosen, and the others are stopped."""
    run = work(2, SharedItems())
    assert any(isinstance(e, WorkStarted) and isinstance(e.work, Cancel) for e in run.events)
    assert run.cancelled
    assert sum(node.answer is not None for node in run.tree) == 1


def test_an_answer_is_forced_where_the_tokens_are_used_up() -> None:
    """The first worker is made to give one; no worker begins anything after that."""
    run = work(2, SharedItems(), most_tokens=20)
    last = [e.work for e in run.events if isinstance(e, WorkStarted) and isinstance(e.work, Expand)][-1]
    assert last.lead.endswith(FINISH)
    chosen = run.choice().node
    assert chosen == last.id
    assert run.tree[chosen].answer == "unknown"
    assert run.tree.usage.completion_tokens <= 20 + 2 * 3 + 1


def test_the_question_is_asked_from_time_to_time() -> None:
    """After every six tokens of a worker, and never without `check_tokens`."""
    leads = [
        e.work.lead for e in work(1, SharedItems()).events if isinstance(e, WorkStarted) and isinstance(e.work, Expand)
    ]
    assert sum(lead.endswith(QUICK_CHECK) for lead in leads) == pytest.approx(len(leads) / 2, abs=3)
    silent = work(1, SharedItems(), check_tokens=None)
    assert not any(QUICK_CHECK in "".join(paragraphs) for paragraphs in histories(silent))


@pytest.mark.parametrize("seed", range(4))
def test_in_any_order_and_with_failures(seed: int) -> None:
    """One piece of work in ten fails: there is an answer, and the journal gives the same strategy back."""
    strategy = SharedTranscript(n=3, piece_tokens=3, check_tokens=6)
    scrambled(
        Scrambled(strategy.fresh(seed), SharedItems(items=5), slots=3, seed=seed, fails=0.1), strategy.fresh(seed)
    )


def test_options_are_checked() -> None:
    """With words that say what is allowed."""
    for wrong in ({"n": 9}, {"piece_tokens": 0}, {"most_tokens": 0}, {"check_tokens": 0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            SharedTranscript(**wrong)
