"""Durable runs: killed, resumed, corrupted, out of space."""

from __future__ import annotations

import json
import os
import random
import runpy
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

from branchwise.core.errors import JournalError, JournalVersionMismatch, UsageError
from branchwise.core.events import JOURNAL_VERSION
from branchwise.core.tree import Tree
from branchwise.graphs.delta import JournalSaver
from branchwise.graphs.journal import Run, RunRecord, RunStore, read_tree
from branchwise.graphs.stored import events_of_file

from .killing import start as start_script

SCRIPT = Path(__file__).parent / "killable.py"
killable = runpy.run_path(str(SCRIPT))


def start(folder: Path, **options: Any) -> ForkServerProcess:
    """Start a search in a process of its own."""
    return start_script(SCRIPT, folder, **options)


def finish(folder: Path, **options: Any) -> dict[str, Any]:
    """Let a search run to its end in a process of its own; return what it came to."""
    process = start(folder, **options)
    process.join(60)
    assert process.exitcode == 0
    return json.loads((folder / "result.json").read_text())


def executions(folder: Path) -> Counter[int]:
    """How often each work item was done."""
    lines = (folder / "executions").read_text().splitlines() if (folder / "executions").exists() else []
    return Counter(int(line) for line in lines)


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the search comes to when nobody kills it."""
    return finish(tmp_path_factory.mktemp("unkilled"), nodes=120)


@pytest.mark.parametrize("seed", range(10))
def test_killed_at_a_random_moment(seed: int, unkilled: dict[str, Any], tmp_path: Path) -> None:
    """`kill -9`, then on in the same folder: the same tree, and nothing done twice but what was in flight."""
    slots = 4
    rng = random.Random(seed)
    kills = 0
    for _ in range(rng.choice([1, 1, 2, 3])):
        (tmp_path / "result.json").unlink(missing_ok=True)
        before = sum(executions(tmp_path).values())
        process = start(tmp_path, nodes=120, slots=slots, work_seconds=0.001)
        goal = before + rng.randrange(60)
        while sum(executions(tmp_path).values()) < goal and process.is_alive():
            time.sleep(0.002)
        assert process.pid is not None
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
    result = finish(tmp_path, nodes=120, slots=slots)
    assert result == unkilled
    repeated = {work: times - 1 for work, times in executions(tmp_path).items() if times > 1}
    # In flight are `slots` expansions and the judging of those before; both may have ended and not have been written.
    assert sum(repeated.values()) <= kills * 2 * 2 * slots


def test_a_larger_budget_goes_on(unkilled: dict[str, Any], tmp_path: Path) -> None:
    """A run that its budget ended goes on where it was when it is given more."""
    small = finish(tmp_path, nodes=50)
    assert (small["reason"], len(small["nodes"])) == ("budget", 51)
    larger = finish(tmp_path, nodes=120)
    assert len(larger["nodes"]) == 121
    assert larger["nodes"][:51] == small["nodes"]
    assert larger["reason"] == unkilled["reason"]
    again = finish(tmp_path, nodes=120)
    assert again == larger
    assert not [work for work, times in executions(tmp_path).items() if times > 1]


async def test_an_ended_run_is_told_at_once(tmp_path: Path) -> None:
    """Resuming a run that is over does nothing again and says the same."""
    first = await killable["search"](tmp_path, nodes=30)
    done = executions(tmp_path)
    second = await killable["search"](tmp_path, nodes=30)
    assert killable["summary"](second) == killable["summary"](first)
    assert executions(tmp_path) == done


async def test_killed_between_the_last_step_and_its_checkpoint(tmp_path: Path) -> None:
    """A run whose last super-step was stored but not checkpointed ends with its tree, not without one."""
    first = await killable["search"](tmp_path, nodes=30)
    journal = events_of_file(tmp_path / "journal.sqlite", "run")
    with sqlite3.connect(tmp_path / "journal.sqlite") as db:
        db.execute("DELETE FROM checkpoints WHERE checkpoint_id = (SELECT max(checkpoint_id) FROM checkpoints)")
    db.close()
    assert events_of_file(tmp_path / "journal.sqlite", "run") == journal
    second = await killable["search"](tmp_path, nodes=30)
    assert killable["summary"](second) == killable["summary"](first)


@pytest.mark.parametrize("lost", range(1, 6))
async def test_killed_between_any_step_and_its_checkpoint(lost: int, tmp_path: Path) -> None:
    """Wherever the kill fell between a step's writes and its checkpoint, the tree is the same in the end."""
    (tmp_path / "whole").mkdir()
    whole = await killable["search"](tmp_path / "whole", nodes=60)
    await killable["search"](tmp_path, nodes=60)
    with sqlite3.connect(tmp_path / "journal.sqlite") as db:
        ids = [row[0] for row in db.execute("SELECT checkpoint_id FROM checkpoints ORDER BY checkpoint_id")]
        last = ids[len(ids) // 2 + lost]
        db.execute("DELETE FROM checkpoints WHERE checkpoint_id > ?", (last,))
        db.execute("DELETE FROM writes WHERE checkpoint_id > ?", (last,))
        if lost % 2:
            db.execute("DELETE FROM writes WHERE checkpoint_id = ?", (last,))
    db.close()
    again = await killable["search"](tmp_path, nodes=60)
    assert killable["summary"](again) == killable["summary"](whole)


# --- size -------------------------------------------------------------------------------------------------------------


async def test_the_journal_grows_linearly(tmp_path: Path) -> None:
    """Four times the nodes take four times the bytes: no snapshots of the whole, no list rewritten."""
    per_node = []
    for nodes in (1000, 4000):
        folder = tmp_path / str(nodes)
        folder.mkdir()
        await killable["search"](folder, nodes=nodes, slots=8)
        per_node.append((folder / "journal.sqlite").stat().st_size / nodes)
    assert 1 / 1.3 < per_node[1] / per_node[0] < 1.3


def test_no_snapshots_of_the_whole(tmp_path: Path) -> None:
    """LangGraph's periodic snapshots, here made frequent, are taken once per resume at most; the tree is the same.

    Whoever only reads the journal sees the same with snapshots in it.
    """
    call = f"import runpy; runpy.run_path({str(SCRIPT)!r})['main'](__import__('pathlib').Path({str(tmp_path)!r}), "

    def go_on(nodes: int) -> tuple[dict[str, Any], int]:
        environment = os.environ | {"LANGGRAPH_DELTA_MAX_SUPERSTEPS_SINCE_SNAPSHOT": "20"}
        subprocess.run([sys.executable, "-c", f"{call}nodes={nodes}, slots=1)"], env=environment, check=True)
        result = json.loads((tmp_path / "result.json").read_text())
        return result["nodes"], (tmp_path / "journal.sqlite").stat().st_size

    first, size = go_on(400)
    assert size < 400 * 4000
    second, size_after = go_on(410)
    assert (len(second), second[:401]) == (411, first)
    assert size_after < 1.5 * size
    third, _ = go_on(420)
    assert (len(third), third[:411]) == (421, second)
    read = Tree.fold(killable["WORLD"].root(), events_of_file(tmp_path / "journal.sqlite", "run"))
    assert killable["summary"](read)["nodes"] == third


async def test_more_steps_than_sqlite_has_variables(tmp_path: Path) -> None:
    """A run longer than SQLite's limit of variables in a query can be read."""
    first = await killable["search"](tmp_path, nodes=300, slots=1)
    async with Run(tmp_path).saver() as saver:
        assert isinstance(saver, JournalSaver)
        saver.conn.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 100)
        head: Any = {"configurable": {"thread_id": "run", "checkpoint_ns": ""}}
        history = await saver.aget_delta_channel_history(config=head, channels=["journal"])
    assert len(history["journal"]["writes"]) > 300
    assert len(first) == 301


# --- trouble ----------------------------------------------------------------------------------------------------------


async def test_not_a_database(tmp_path: Path) -> None:
    """A journal that is no database is refused with its path."""
    (tmp_path / "journal.sqlite").write_text("hello, this is no database at all" * 100)
    with pytest.raises(JournalError, match=r"journal\.sqlite.*not a database"):
        await killable["search"](tmp_path, nodes=10)


async def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    """A run's folder that cannot hold a journal is refused."""
    with pytest.raises(JournalError, match="cannot open the journal"):
        async with Run(tmp_path / "gone").saver():
            pass


def damage_events(folder: Path, new: str) -> None:
    """Replace a kind of event that the journal holds by another word."""
    with sqlite3.connect(folder / "journal.sqlite") as db:
        rows = db.execute("SELECT rowid, value FROM writes WHERE channel = 'journal'").fetchall()
        for row, value in rows:
            db.execute("UPDATE writes SET value = ? WHERE rowid = ?", (value.replace(b"Expanded", new.encode()), row))
    db.close()


async def test_a_journal_of_another_version(tmp_path: Path) -> None:
    """Events that this version does not know are refused, with what to do; nothing is written."""
    await killable["search"](tmp_path, nodes=10)
    damage_events(tmp_path, "Exploded")
    done = executions(tmp_path)
    with pytest.raises(JournalVersionMismatch, match="use the version of Branchwise that wrote it"):
        await killable["search"](tmp_path, nodes=20)
    assert executions(tmp_path) == done


def test_no_space_left(tmp_path: Path) -> None:
    """A file that may not grow ends the run soon and with a clear error; with space again the run goes on."""
    process = start(tmp_path, nodes=5000, file_limit_bytes=200_000)
    process.join(60)
    assert process.exitcode == 0
    name, message = json.loads((tmp_path / "error.json").read_text())
    assert name == "JournalError"
    assert "journal" in message
    assert len(finish(tmp_path, nodes=300)["nodes"]) == 301


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        shutil.which("mount")
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=False, capture_output=True
        ).returncode
    )
    if not mounted:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    """A full disk ends the run with a clear error."""
    process = start(tmp_path, nodes=5000, journal=str(small_disk))
    process.join(60)
    assert process.exitcode == 0
    name, message = json.loads((tmp_path / "error.json").read_text())
    assert name == "JournalError"
    assert "full" in message


# --- the folder of a run ----------------------------------------------------------------------------------------------


def record(run_id: str, **changes: Any) -> RunRecord:
    """A run's record."""
    fields: dict[str, Any] = {"agent": "a", "task": {"prompt": "p"}, "budget": {"tokens": 1}, "seed": 1}
    return RunRecord(run_id, **(fields | {"strategy": "BestFirst()", "model": "m"} | changes))


def test_runs_are_found_by_a_beginning_of_their_id(tmp_path: Path) -> None:
    """A beginning that fits one run is enough; none or several is wrong use."""
    store = RunStore(tmp_path)
    for name in ("20260101-a", "20260101-ab", "20260202-b"):
        store.create(record(name))
    assert [run.folder.name for run in store.runs()] == ["20260101-a", "20260101-ab", "20260202-b"]
    assert store.open("202602").load() == store.open("20260202-b").load()
    assert store.open("20260101-a").folder.name == "20260101-a", "an exact id wins"
    for wrong in ("", "2026", "2027"):
        with pytest.raises(UsageError):
            store.open(wrong)


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda text: text[:20], JournalError),
        (lambda _text: "[]", JournalError),
        (lambda text: text.replace('"seed"', '"sown"'), JournalError),
        (lambda text: text.replace(f'"version": {JOURNAL_VERSION}', '"version": 99'), JournalVersionMismatch),
    ],
    ids=["cut", "no record", "unknown field", "other version"],
)
def test_one_spoilt_run_spoils_no_other(spoil: Callable[[str], str], error: type[Exception], tmp_path: Path) -> None:
    """A record that cannot be read is one clear error for that run; the others are listed and opened as before."""
    store = RunStore(tmp_path)
    store.create(record("1-good"))
    bad = store.create(record("2-bad")).folder / "run.json"
    bad.write_text(spoil(bad.read_text()))
    with pytest.raises(error, match="run"):
        store.open("2").load()
    assert store.open("1").load().run_id == "1-good"
    assert len(store.runs()) == 2


def test_the_time_of_a_killed_process_counts(tmp_path: Path) -> None:
    """Wall clock goes on counting until a killed process's last sign of life, and stands still until the resume."""
    run = RunStore(tmp_path).create(record("r"))
    run.take_over(run.load())
    (run.folder / "journal.sqlite").touch()
    saved = run.load()
    assert saved.process_started is not None
    saved.process_started -= 50
    run.take_over(saved)
    assert 49 < saved.elapsed_seconds < 60
    assert run.load() == saved


async def test_reading_a_run_does_not_touch_it(tmp_path: Path) -> None:
    """The tree and the events of a run as its journal has them."""
    run = RunStore(tmp_path).create(record("run"))
    tree = await killable["search"](run.folder, nodes=20)
    read, events = await read_tree(run, run.load())
    assert [n.id for n in read] == [n.id for n in tree]
    assert read.selected == tree.selected
    assert events
    untouched = RunStore(tmp_path).create(record("empty"))
    read, events = await read_tree(untouched, untouched.load())
    assert (len(read), events) == (1, [])
