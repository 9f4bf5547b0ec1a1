"""Room for states: what is counted, what is dropped, what a full disk and a kill leave."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from branchwise.core.errors import BudgetExceeded, SandboxError, UsageError
from branchwise.sandboxes import Store
from branchwise.sandboxes.contents import Contents
from branchwise.sandboxes.manifest import Entry, Manifest


def made(store: Store, **files: bytes) -> tuple[str, Manifest]:
    """Keep a state in the way that a sandbox does; return its address and its manifest."""
    manifest = {
        path: Entry("f", 0o644, len(content), hashlib.sha256(content).hexdigest()) for path, content in files.items()
    }
    with store.saving(manifest) as missing:
        store.put_many([files[path] for path, _ in missing])
        return store.add(manifest), manifest


def on_disk(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "store")


def test_what_is_stored_is_counted(store: Store, tmp_path: Path) -> None:
    """The count is that of the files on disk, after keeping, dropping and in another process."""
    one, _ = made(store, a=b"1" * 1000, b=b"2" * 1000)
    assert store.stored_bytes == on_disk(tmp_path / "store")
    made(store, a=b"1" * 1000, c=b"3" * 500)
    assert store.stored_bytes == on_disk(tmp_path / "store")
    store.drop([one])
    assert store.stored_bytes == on_disk(tmp_path / "store") == Store(tmp_path / "store").stored_bytes


def test_drop_frees_what_nobody_shares(store: Store) -> None:
    """A content stays for as long as any state has it; dropping twice or the unknown does nothing."""
    one, _ = made(store, a=b"shared" * 100, b=b"own" * 100)
    two, _ = made(store, a=b"shared" * 100)
    before = store.stored_bytes
    freed = store.drop([one])
    assert freed >= 300
    assert before - freed == store.stored_bytes
    assert not store.holds(one)
    assert store.get(store.manifest(two)["a"].content) == b"shared" * 100
    with pytest.raises(UsageError, match="dropped since"):
        store.manifest(one)
    assert store.drop([one, "0" * 64, store.empty_ref]) == 0
    assert store.holds(store.empty_ref)


def test_a_dropped_state_can_be_kept_again(store: Store) -> None:
    """What was dropped is stored anew, with the same address."""
    ref, manifest = made(store, a=b"content")
    store.drop([ref])
    with store.saving(manifest) as missing:
        assert [path for path, _ in missing] == ["a"]
        store.put_many([b"content"])
        assert store.add(manifest) == ref
    assert Store(store.folder).get(manifest["a"].content) == b"content"


def test_what_is_being_kept_is_not_dropped(store: Store) -> None:
    """A content that an arriving state counts on stays, though the last state that has it is dropped meanwhile."""
    ref, manifest = made(store, a=b"content")
    with store.saving({"other": manifest["a"]}) as missing:
        assert missing == []
        store.drop([ref])
        new = store.add({"other": manifest["a"]})
    assert store.get(store.manifest(new)["other"].content) == b"content"


def test_limit_is_kept(store: Store) -> None:
    """Room is asked for before anything is stored; what cannot be had is a spent budget, and nothing was stored."""
    asked: list[int] = []
    first, _ = made(store, a=b"1" * 5000)
    store.bound(store.stored_bytes + 1000, asked.append)
    made(store, a=b"1" * 5000, b=b"2" * 500)
    assert asked == []
    before = store.stored_bytes
    with pytest.raises(BudgetExceeded, match="snapshot_bytes"):
        made(store, c=b"3" * 5000)
    assert len(asked) == 1
    assert (store.stored_bytes, store.has(hashlib.sha256(b"3" * 5000).hexdigest())) == (before, False)
    store.bound(store.stored_bytes + 1000, lambda _: store.drop([first]) and None)
    made(store, d=b"4" * 900)


ENDLESS = """
import hashlib, os, pathlib, sys
from branchwise.sandboxes import Store
from branchwise.sandboxes.manifest import Entry
store = Store(pathlib.Path(sys.argv[1]))
shared = os.urandom(3000)
kept = []
print(flush=True)
while True:
    files = {"shared": shared, **{f"f{n}": os.urandom(2000) for n in range(10)}}
    manifest = {path: Entry("f", 0o644, len(data), hashlib.sha256(data).hexdigest()) for path, data in files.items()}
    with store.saving(manifest) as missing:
        store.put_many([files[path] for path, _ in missing])
        kept.append(store.add(manifest))
    if len(kept) > 3:
        store.drop([kept.pop(0)])
"""


def test_kills_leave_whole_states(tmp_path: Path) -> None:
    """Killed at any moment of keeping and dropping: every state that is there is whole, what belongs to none goes."""
    for number in range(6):
        process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.02 + number * 0.013)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        store = Store(tmp_path)
        for ref in store.refs():
            for entry in store.manifest(ref).values():
                assert len(store.get(entry.content)) == entry.size_bytes
    assert len(store.refs()) > 1
    store.drop(store.refs())
    left = [path for path in (tmp_path / "contents").rglob("*") if path.is_file()]
    assert [path for path in left if not path.name.endswith(".part")] == []
    for path in left:
        os.utime(path, (0, 0))  # as if killed a while ago
    Store(tmp_path).stored_bytes  # noqa: B018
    assert [path for path in (tmp_path / "contents").rglob("*") if path.is_file()] == []


def fill(store: Store) -> None:
    """Keep states until something is in the way."""
    for number in range(100):
        made(store, **{f"f{number}": os.urandom(30_000)})


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("mounting needs root")
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    """It is told in words, nothing half stays, what was kept can be read, and with room made it goes on."""
    store = Store(small_disk)
    first, manifest = made(store, a=b"1" * 50_000)
    with pytest.raises(SandboxError, match="the disk is full"):
        fill(store)
    assert not list(small_disk.rglob("*.part"))
    again = Store(small_disk)
    assert again.get(manifest["a"].content) == b"1" * 50_000
    assert all(again.has(entry.content) for ref in again.refs() for entry in again.manifest(ref).values())
    again.drop([ref for ref in again.refs() if ref != first])
    made(again, b=os.urandom(30_000))
    again.save(first, small_disk / "out")
    large, _ = made(again, a=b"1" * 50_000, b=b"2" * 50_000)
    with pytest.raises(SandboxError, match="cannot be written"):
        again.save(large, small_disk / "too large")
    assert not [path for path in small_disk.iterdir() if path.name.startswith(".")]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """An error in the middle of a content is told, and no part of it stays."""
    store = Store(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(SandboxError, match="File too large"):
            store.put(b"content" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not [path for path in (tmp_path / "contents").rglob("*") if path.is_file()]
    store.put(b"content" * 1000)


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """Where no store can be, that is told."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SandboxError, match="cannot be written"):
        Store(tmp_path / "file" / "store")


def test_memory_is_bounded(tmp_path: Path) -> None:
    """Recent contents are in memory up to a limit; the others are read again, and checked."""
    contents = Contents(tmp_path, cache_bytes=10_000)
    names = [contents.put(bytes([number]) * 1000) for number in range(50)]
    assert sum(map(len, contents._cache.values())) == contents._cached_bytes == 10_000
    assert [contents.get(name)[0] for name in names] == list(range(50))
    assert list(contents._cache) == names[-10:]


def test_five_hundred_files_cost_little(tmp_path: Path) -> None:
    """5 MB in 500 files: a state that is there already is kept and given out in a few milliseconds."""
    files = {f"f{number}": os.urandom(10_000) for number in range(500)}
    store = Store(tmp_path)
    _, manifest = made(store, **files)
    spent: list[float] = []
    for _ in range(7):
        begun = time.process_time()
        with store.saving(manifest) as missing:
            store.add(manifest)
        assert not missing
        assert sum(len(store.get(entry.content)) for entry in manifest.values()) == 5_000_000
        spent.append(time.process_time() - begun)
    assert statistics.median(spent) < 0.02


def test_halves_of_killed_writers_go(tmp_path: Path) -> None:
    """A file that was being written when its writer was killed counts for nothing, and is removed once it is old."""
    store = Store(tmp_path)
    store.put(b"content")
    whole = Store(tmp_path).stored_bytes
    folders = [next((tmp_path / "contents").iterdir()), tmp_path / "manifests"]
    for folder in folders:
        for name in (".old.part", ".new.part"):
            (folder / name).write_bytes(b"half")
        os.utime(folder / ".old.part", (0, 0))
    assert Store(tmp_path).stored_bytes == whole
    assert [[path.name for path in folder.glob(".*")] for folder in folders] == [[".new.part"]] * 2
