"""`ForkJoin`: threads of one text, and the text with all of them."""

from __future__ import annotations

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.events import Expand, Failed, WorkStarted
from branchwise.core.simulated.time import TimedSearch
from branchwise.core.simulated.writers import Outlined
from branchwise.core.turns import begun, text_of
from branchwise.core.types import NodeId
from branchwise.search import BestOfN, ForkJoin, critical_path_tokens
from branchwise.search.fork_join import NOTHING, outlines
from tests.search.texts import Scrambled, scrambled

BLOCKS = ((5, 9, 2), (30, 30))


def write(world: Outlined, strategy: object = None, **options: object) -> TimedSearch:
    """Take the text to its end."""
    timed = TimedSearch((strategy or ForkJoin(**options)).fresh(1), world, seed=1)
    timed.run()
    return timed


def text(run: TimedSearch) -> str:
    """The chosen text."""
    node = run.choice().node
    assert node is not None
    return text_of(run.tree.path(node))


def prompts(run: TimedSearch) -> dict[str, str]:
    """What each thread had before it, by what it begins with."""
    works = [e.work for e in run.events if isinstance(e, WorkStarted) and isinstance(e.work, Expand)]
    return {
        f"{work.node}{work.lead}": text_of(begun(run.tree.path(work.node))) + work.lead
        for work in works
        if work.closing == "Thread"
    }


def test_the_text_is_the_serial_one_byte_for_byte() -> None:
    """What is joined is what one model would have written one thread after the other, in the time of the longest threads."""
    world = Outlined(BLOCKS)
    forked, serial = write(world), write(world, BestOfN(n=1))
    assert text(forked) == text(serial) == world.whole()
    node = forked.choice().node
    assert forked.tree[node].answer == "right"
    threads = sum(map(sum, BLOCKS))
    text_tokens = forked.tree.usage.completion_tokens - threads
    assert forked.now_tokens == critical_path_tokens(forked.tree, node) == text_tokens + 9 + 30
    tags = 2 * sum(map(len, BLOCKS)) + len(BLOCKS)  # what a model writes of the blocks where nobody does it for it
    assert serial.now_tokens == pytest.approx(text_tokens + threads + tags, abs=8)
    saved = 1 - forked.now_tokens / forked.tree.usage.completion_tokens
    assert saved == pytest.approx((threads - 39) / (text_tokens + threads))


def test_threads_with_nothing_between_them_save_nothing() -> None:
    """The ablation: where one thread has all the work the critical path is all of it."""
    run = write(Outlined(((40, 1),)))
    assert run.now_tokens == run.tree.usage.completion_tokens - 1


def test_threads_do_not_see_each_other() -> None:
    """A thread's prompt is the text to its outlines and the thread's own beginning, the same bytes for all."""
    found = prompts(write(Outlined(BLOCKS)))
    assert len(found) == 5
    first = [prompt for prompt in found.values() if prompt.count("<Outlines>") == 1]
    assert len({prompt.rsplit("\n<Thread>", 1)[0] for prompt in first}) == 1
    for prompt in first:
        assert "w0." not in prompt
        assert prompt.count("<Thread>") == 1
    for prompt in set(found.values()) - set(first):
        assert "w1." not in prompt
        assert prompt.count("w0.2") == 9, "threads of earlier blocks are part of the text"


@pytest.mark.parametrize("blocks", [((5, 9), (3,)), ((4,),), ((1, 1, 1, 1),)], ids=["late", "one", "many"])
def test_what_cannot_be_forked_is_written_in_one_go(blocks: tuple[tuple[int, ...], ...]) -> None:
    """A single outline, or too many, or wrong numbers: the model goes on by itself, and the text is the same."""
    for world in (Outlined(blocks), Outlined(blocks, malformed=frozenset({0, 1}))):
        run = write(world, most=3)
        assert text(run) == world.whole()
        shifted = bool(world.malformed)
        assert len(prompts(run)) == (2 if blocks[0] == (5, 9) and not shifted else 0)


def test_blocks_have_an_end() -> None:
    """After `blocks` of them the text is written on without threads."""
    run = write(Outlined(BLOCKS), blocks=1)
    assert text(run) == Outlined(BLOCKS).whole()
    assert len(prompts(run)) == 3


def test_a_thread_that_is_too_long_is_cut_and_closed() -> None:
    """The text goes on with what there is of it."""
    run = write(Outlined(((5, 9),)), thread_tokens=6)
    assert " w0.2" * 6 + "</Thread>" in text(run)
    assert " w0.2" * 7 not in text(run)


def test_a_thread_that_fails_is_said_to_have_failed() -> None:
    """It is tried again a few times; then the text goes on without it."""

    class Broken(TimedSearch):
        """The second thread never succeeds."""

        def _finish(self) -> None:
            for number, work in self.tree.in_flight.items():
                if isinstance(work, Expand) and "<Thread> 2:" in work.lead and work.closing == "Thread":
                    del self._flights[number]
                    self._take(Failed(number, NodeId(work.node), "ModelTimeout", "simulated"))
                    return
            super()._finish()

    run = Broken(ForkJoin().fresh(1), Outlined(((3, 4, 5),)), seed=1)
    run.run()
    assert f"<Thread> 2:{NOTHING}</Thread>" in text(run)
    assert " w0.3" * 5 in text(run)


def test_outlines_are_read_strictly() -> None:
    """Numbered from one, at least two, none empty, within an open block."""
    head, tail = "<Parallel><Outlines>", "</Outlines>"
    one, two = "<Outline> 1: a </Outline>", "<Outline>2. b\nand c</Outline>"
    assert outlines(f"{head}{one}{two}{tail}", 8) == ["a", "b\nand c"]
    for wrong in (
        f"{head}{one}{tail}",
        f"{head}{two}{one}{tail}",
        f"{head}{one}<Outline> 2: </Outline>{tail}",
        f"<Outlines>{one}{two}{tail}",
        f"<Parallel></Parallel><Outlines>{one}{two}{tail}",
        f"{head}{one}{one}{tail}",
        tail,
    ):
        assert outlines(wrong, 8) == []
    assert outlines(f"{head}{one}{two}{tail}", 1) == []


@pytest.mark.parametrize("seed", range(4))
def test_in_any_order_and_with_failures(seed: int) -> None:
    """One piece of work in ten fails: the text does not depend on which thread ends first, and the journal gives the strategy back."""
    world, strategy = Outlined(BLOCKS), ForkJoin(n=2)
    run = Scrambled(strategy.fresh(seed), world, slots=3, seed=seed, fails=0.1)
    scrambled(run, strategy.fresh(seed))
    assert text(run) == world.whole()


def test_options_are_checked() -> None:
    """With words that say what is allowed."""
    for wrong in ({"n": 0}, {"most": 1}, {"blocks": -1}, {"thread_tokens": 0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            ForkJoin(**wrong)
