"""The snapshot store and the host's folders."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from branchwise.core.errors import SandboxError, UsageError
from branchwise.sandboxes import Store, write_tree
from branchwise.sandboxes.manifest import Entry, canonical, is_inside, parse, printable, rows


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "store")


def entry(content: bytes, mode: int = 0o644) -> Entry:
    """Return the entry of a file."""
    return Entry("f", mode, len(content), hashlib.sha256(content).hexdigest())


def folder(base: Path, files: dict[str, str]) -> Path:
    """Make a folder with files."""
    for path, content in files.items():
        (base / path).parent.mkdir(parents=True, exist_ok=True)
        (base / path).write_text(content)
    return base


def test_address_is_the_hash_of_the_canonical_text(store: Store) -> None:
    """Anybody can compute a snapshot's address from its files."""
    store.put(b"x = 1\n")
    ref = store.add({"a.py": entry(b"x = 1\n")})
    line = ["f", "a.py", 0o644, 6, hashlib.sha256(b"x = 1\n").hexdigest()]
    assert ref == hashlib.sha256(json.dumps([line], separators=(",", ":")).encode()).hexdigest()


def test_order_does_not_matter(store: Store) -> None:
    """Equal manifests have equal addresses in whatever order they were made."""
    one, two = entry(b"1"), entry(b"2")
    assert store.add({"a": one, "b": two}) == store.add({"b": two, "a": one})


def test_store_is_found_again(store: Store, tmp_path: Path) -> None:
    """A second store over the same folder, as after a kill, has everything."""
    ref = store.keep(folder(tmp_path / "src", {"a": "1", "b/c": "2"}), limit_bytes=100)
    again = Store(tmp_path / "store")
    assert again.manifest(ref) == store.manifest(ref)
    again.materialise(ref, tmp_path / "out")
    assert (tmp_path / "out" / "b" / "c").read_text() == "2"


def test_damage_is_noticed(store: Store, tmp_path: Path) -> None:
    """A content or manifest that is not what its name says is never handed out by a process that reads it."""
    ref = store.keep(folder(tmp_path / "src", {"a": "content"}), limit_bytes=100)
    digest = store.manifest(ref)["a"].content
    store = Store(tmp_path / "store")
    (tmp_path / "store" / "contents" / digest[:2] / digest).write_text("changed")
    with pytest.raises(SandboxError, match="was changed or damaged"):
        store.get(digest)
    (tmp_path / "store" / "contents" / digest[:2] / digest).unlink()
    with pytest.raises(SandboxError, match="has lost the content"):
        store.get(digest)
    (tmp_path / "store" / "manifests" / f"{ref}.json").write_text("[]")
    with pytest.raises(UsageError, match="there is no snapshot"):
        Store(tmp_path / "store").manifest(ref)


@pytest.mark.parametrize("ref", ["", "0" * 64, "../contents/x", "a/b"])
def test_unknown_address_is_told(store: Store, ref: str) -> None:
    """What is no address of this store is wrong use, whatever it looks like."""
    with pytest.raises(UsageError, match="there is no snapshot"):
        store.manifest(ref)


def test_diff_speaks_of_files_only(store: Store) -> None:
    """Changed contents and modes, new and gone files; links and folders are no files."""
    for content in (b"1", b"2", b"3"):
        store.put(content)
    old = store.add(
        {"same": entry(b"1"), "changed": entry(b"1"), "mode": entry(b"1"), "gone": entry(b"1"), "link": entry(b"1")}
    )
    new = store.add(
        {"same": entry(b"1"), "changed": entry(b"2"), "mode": entry(b"1", 0o755), "new": entry(b"3"), "link": Entry("l", 0, 0, "x"),
         "empty": Entry("d", 0, 0, "")}
    )  # fmt: skip
    assert store.diff(old, new) == ({"changed": b"2", "mode": b"1", "new": b"3"}, ["gone", "link"])
    assert store.diff(new, new) == ({}, [])


WRITERS = """
import os, pathlib, signal, sys, time
from branchwise.sandboxes import Store
for number in range(4):
    writer = os.fork()
    if writer == 0:
        store = Store(pathlib.Path(sys.argv[1]))
        while True:
            store.put(os.urandom(50_000))
    time.sleep(0.05 + number * 0.011)
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
"""


def test_killed_writer_leaves_nothing_that_counts(tmp_path: Path) -> None:
    """After SIGKILL at any moment every content under its final name is whole."""
    subprocess.run([sys.executable, "-c", WRITERS, str(tmp_path)], check=True)
    store = Store(tmp_path)
    names = [path.name for path in (tmp_path / "contents").rglob("*") if path.is_file() and path.suffix != ".part"]
    assert names
    for name in names:
        assert len(store.get(name)) == 50_000


# --- keeping a folder -------------------------------------------------------------------------------------------------


def test_keep_tells_what_is_wrong(store: Store, tmp_path: Path) -> None:
    """No folder, a file, and too much are told in words."""
    folder(tmp_path / "src", {"big": "x" * 2_000_000})
    with pytest.raises(UsageError, match="is not a folder"):
        store.keep(tmp_path / "nothing", limit_bytes=100)
    with pytest.raises(UsageError, match="give a folder or an archive"):
        store.keep(tmp_path / "src" / "big", limit_bytes=100)
    with pytest.raises(UsageError, match="holds more than the 1 MiB"):
        store.keep(tmp_path / "src", limit_bytes=1 << 20)


def test_keep_follows_no_link_out(store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Links within the folder stay links; those that leave it, and pipes, are left out with a warning."""
    source = folder(tmp_path / "src", {"a/file": "1"})
    (tmp_path / "secret").write_text("secret")
    (source / "inner").symlink_to("a/file")
    (source / "a" / "up").symlink_to("../inner")
    (source / "out").symlink_to("../secret")
    (source / "absolute").symlink_to(source / "a")
    os.mkfifo(source / "pipe")
    (source / "empty").mkdir()
    manifest = store.manifest(store.keep(source, limit_bytes=100))
    assert {path: line.kind for path, line in manifest.items()} == {
        "a/file": "f",
        "a/up": "l",
        "empty": "d",
        "inner": "l",
    }
    assert caplog.text.count("left out") == 3


def test_materialise_brings_a_folder_back(store: Store, tmp_path: Path) -> None:
    """Modes, links and empty folders included; only into an empty folder."""
    source = folder(tmp_path / "src", {"a/run": "#!/bin/sh\n"})
    (source / "a" / "run").chmod(0o755)
    (source / "link").symlink_to("a")
    (source / "empty").mkdir()
    store.materialise(store.keep(source, limit_bytes=100), tmp_path / "out")
    assert os.access(tmp_path / "out" / "a" / "run", os.X_OK)
    assert (tmp_path / "out" / "link").readlink() == Path("a")
    assert (tmp_path / "out" / "empty").is_dir()
    with pytest.raises(UsageError, match="is not empty"):
        store.materialise(store.empty_ref, tmp_path / "out")


# --- writing a result -------------------------------------------------------------------------------------------------


def test_write_tree_writes_and_removes(tmp_path: Path) -> None:
    """New files, changed ones with their mode kept, and gone ones."""
    target = folder(tmp_path / "repo", {"run.sh": "old", "gone": "x"})
    (target / "run.sh").chmod(0o750)
    write_tree(target, {"run.sh": b"new", "deep/er/file": b"1"}, ["gone", "never/was"])
    assert (target / "run.sh").read_bytes() == b"new"
    assert (target / "run.sh").stat().st_mode & 0o777 == 0o750
    assert (target / "deep" / "er" / "file").read_bytes() == b"1"
    assert not (target / "gone").exists()
    assert sorted(path.name for path in target.iterdir()) == ["deep", "run.sh"]


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../../x", "a//b", "./a", "", "a/.", "a\0b"])
def test_write_tree_refuses_paths_that_lead_out(tmp_path: Path, path: str) -> None:
    """Nothing at all is written when one path is bad."""
    for changed, deleted in (({"fine": b"", path: b""}, []), ({"fine": b""}, [path])):
        with pytest.raises(UsageError, match="is not a path within a folder"):
            write_tree(tmp_path / "repo", changed, deleted)
    assert not (tmp_path / "repo").exists()


def test_write_tree_follows_no_link(tmp_path: Path) -> None:
    """A link in the way is an error, a link in the file's own place is replaced; the outside stays as it was."""
    outside = folder(tmp_path / "outside", {"file": "untouched"})
    target = folder(tmp_path / "repo", {"a": "1"})
    (target / "folder").symlink_to(outside)
    (target / "file").symlink_to(outside / "file")
    for changed, deleted in (({"folder/file": b"hacked"}, []), ({}, ["folder/file"])):
        with pytest.raises(UsageError, match="is a link or a file where a folder is needed"):
            write_tree(target, changed, deleted)
    write_tree(target, {"file": b"new"})
    assert not (target / "file").is_symlink()
    assert (outside / "file").read_text() == "untouched"


# --- manifests --------------------------------------------------------------------------------------------------------

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1).filter(
    lambda n: n not in {".", ".."}
)
ENTRIES = st.one_of(
    st.builds(entry, st.binary(max_size=4), st.integers(0, 0o777)),
    st.builds(Entry, st.just("l"), st.just(0), st.just(0), NAMES),
)
MANIFESTS = st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map("/".join), ENTRIES, max_size=5)


@given(MANIFESTS)
def test_manifest_survives_its_text(manifest: dict[str, Entry]) -> None:
    """What is written is what is read, in one form."""
    text = canonical(manifest)
    assert parse(json.loads(text)) == manifest
    assert canonical(parse(json.loads(text))) == text


@pytest.mark.parametrize(
    "bad",
    [
        None,
        5,
        [["f"]],
        [["f", "../x", 0o644, 0, "0" * 64]],
        [["f", "/x", 0o644, 0, "0" * 64]],
        [["f", "a", 0o644, 0, "../../etc/passwd"]],
        [["f", "a", 0o4755, 0, "0" * 64]],
        [["f", "a", 0o644, -1, "0" * 64]],
        [["f", "a", 0o644, True, "0" * 64]],
        [["x", "a", 0o644, 0, "0" * 64]],
        [["f", 5, 0o644, 0, "0" * 64]],
        [["f", "a", 0o644, 0, "0" * 64]] * 2,
        [[["f"], "a", 0o644, 0, "0" * 64]],
    ],
)
def test_manifest_of_a_worker_gone_bad_is_refused(bad: object) -> None:
    """Nothing that comes out of a sandbox is believed unseen."""
    with pytest.raises(SandboxError, match="not a manifest"):
        parse(bad)


def test_names_are_made_printable() -> None:
    """Bytes that are not UTF-8 are shown, others left alone."""
    assert printable(os.fsdecode("é☃".encode() + b"\xff\\")) == "é☃\\xff\\"
    assert is_inside("a/..b/c.")
    assert rows({"a": entry(b"")}) == [["f", "a", 0o644, 0, hashlib.sha256().hexdigest()]]
