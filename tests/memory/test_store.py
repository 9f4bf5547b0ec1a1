"""The memory in SQLite: what it finds, how alike it says that is, and what a run teaches it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.protocols import Entry
from branchwise.core.tree import Tree
from branchwise.core.types import NO_USAGE, ROOT, Node, NodeId, Observation, Result, Step, ToolCall
from branchwise.memory import Store, lessons
from branchwise.memory.likeness import cosine, weighted

SORTING = Entry("Sort a list of numbers, the largest first.", "sorted(numbers, reverse=True)")
DATES = Entry("Parse a date such as 2024-05-01.", "datetime.date.fromisoformat(text)")
LOOKING = Entry("look for the largest number", "max(numbers)", "step")


def filled() -> Store:
    """A memory with three entries."""
    store = Store()
    assert store.add(SORTING, DATES, LOOKING) == 3
    return store


def test_finds_what_is_alike() -> None:
    """The entry whose cue has the most and rarest words in common comes first; of the kind that is asked for."""
    with filled() as store:
        first, *_ = store.find("write code that sorts numbers: the largest number first", 3)
        assert first.entry == SORTING
        assert [found.entry for found in store.find("the largest number", 3, "step")] == [LOOKING]
        assert [found.entry for found in store.find("date", 3)] == [DATES]
        assert store.find("zebra", 3) == []
        assert store.find("", 3) == store.find("date", 0) == []


def test_likeness_has_a_scale() -> None:
    """The same text is as alike as can be, one that shares a few common words hardly: a floor can tell them apart."""
    with filled() as store:
        (same, *_) = store.find(SORTING.cue, 3)
        assert same.likeness == pytest.approx(1.0)
        others = store.find("A poem of spring, please.", 3)
        assert others
        assert max(other.likeness for other in others) < 0.2


def test_rare_words_weigh_more() -> None:
    """Two texts that share a rare word are more alike than two that share a common one."""
    rarity = {"rare": 5.0, "common": 0.1, "x": 1.0, "y": 1.0}.__getitem__
    rare = cosine(weighted("rare x", rarity), weighted("rare y", rarity))
    common = cosine(weighted("common x", rarity), weighted("common y", rarity))
    assert rare > 0.9
    assert common < 0.1
    assert weighted("", rarity) == {}


def test_nothing_is_kept_twice() -> None:
    """An entry that is known already is not added again; the same cue with another text is."""
    with filled() as store:
        assert store.add(SORTING) == 0
        assert store.add(Entry(SORTING.cue, "numbers.sort()")) == 1
        assert len(store) == 4


def test_words_that_mean_something_to_the_index() -> None:
    """Quotes and the index's own operators in a context are only words."""
    with filled() as store:
        assert store.find('NOT "date" AND (NEAR* OR -x', 1)[0].entry == DATES


async def test_outlives_the_process(tmp_path: Path) -> None:
    """A file keeps what was written; two memories on one file see each other's entries, also written at once."""
    path = tmp_path / "memory.sqlite"
    with Store(path) as one, Store(path) as other:
        await asyncio.gather(*(store.write(Entry(f"task {n}", "x")) for n, store in enumerate([one, other] * 10)))
        assert len(one) == len(other) == 20
        assert [found.entry.cue for found in await other.query("task 0", 1)] == ["task 0"]
    with Store(path) as again:
        assert len(again) == 20


def test_moves_as_lines_of_json(tmp_path: Path) -> None:
    """What one memory dumps another one loads; a line that is no entry is named."""
    path = tmp_path / "entries.jsonl"
    with filled() as store, Store() as other:
        store.dump(path)
        assert other.load(path) == 3
        assert other.find("date", 1) == store.find("date", 1)
        path.write_text('{"cue": "x", "text": "y"}\n{"cue": "x"}\n')
        with pytest.raises(UsageError, match="line 2 is no entry"):
            other.load(path)
        path.write_text('{"cue": "x", "text": "y", "kind": "rumour"}\n')
        with pytest.raises(UsageError, match="kind='rumour'"):
            other.load(path)


def test_another_file_is_refused(tmp_path: Path) -> None:
    """A file that is no database is named in the error and left alone."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to look like one at first sight" * 20)
    with pytest.raises(UsageError, match="is no memory"):
        Store(path)
    assert path.read_text().startswith("not a database")


def finished(*, accepted: bool) -> Result:
    """A run of three steps."""
    tree = Tree(Node(ROOT, None, None))
    steps = [
        Step("tool", "I look first.", (ToolCall("1", "read", {"path": "a.py"}),), (Observation("1", "def f(): ..."),)),
        Step("tool", "Now I mend it.", (ToolCall("2", "write", {"path": "a.py"}),)),
        Step("answer", ""),
    ]
    for number, step in enumerate(steps, start=1):
        answer = "mended" if step.kind == "answer" else None
        tree._add(Node(NodeId(number), NodeId(number - 1), step, None, number, answer=answer))
    return Result("mended", accepted, False, None, "", (), "accepted", "", NO_USAGE, 1.0, NodeId(3), tree, "run-1")


def test_an_accepted_run_teaches() -> None:
    """The task with its solution, and every step with the one that followed on it; a run that was not accepted teaches nothing."""
    whole, step = lessons("Mend f.", finished(accepted=True))
    assert (whole.cue, whole.kind, whole.evidence) == ("Mend f.", "task", "accepted in run run-1")
    assert whole.text.endswith("mended")
    assert (step.kind, step.cue) == ("step", "I look first.\nread a.py\ndef f(): ...")
    assert "Now I mend it." in step.text
    assert lessons("Mend f.", finished(accepted=False)) == []
    with Store() as store:
        assert (store.learn("Mend f.", finished(accepted=True)), store.learn("Mend f.", finished(accepted=True))) == (
            2,
            0,
        )
