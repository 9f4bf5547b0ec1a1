"""Patches between states: git itself must take them and arrive at the other state."""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from branchwise.sandboxes import Store
from branchwise.sandboxes.line_diff import changes, lines_of
from branchwise.sandboxes.manifest import Entry, Manifest

Files = dict[str, tuple[str, bytes]]
"""Kind ("f", "x" or "l") and content or target, by path."""


def state(store: Store, files: Files) -> Manifest:
    """Keep files and return their manifest."""
    entries = {
        path: Entry("l", 0, 0, os.fsdecode(content))
        if kind == "l"
        else Entry("f", 0o755 if kind == "x" else 0o644, len(content), store.put(content))
        for path, (kind, content) in files.items()
    }
    store.add(entries)
    return entries


def on_disk(folder: Path) -> Files:
    """Read a folder back."""
    found: Files = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = ("l", os.fsencode(path.readlink()))
        elif path.is_file():
            found[name] = ("x" if path.stat().st_mode & 0o100 else "f", path.read_bytes())
    return found


def apply(folder: Path, patch: str) -> None:
    """Have git apply a patch."""
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent), "GIT_CONFIG_NOSYSTEM": "1", "HOME": "/"}
    done = subprocess.run(
        ["git", "apply", "-"], cwd=folder, env=environment, input=patch.encode(), capture_output=True, check=False
    )
    assert done.returncode == 0, (done.stderr.decode(), patch)


def round_trip(base: Path, old: Files, new: Files) -> str:
    """Check that git, given the patch from `old` to `new`, gets from one to the other; return the patch."""
    store = Store(base / "store")
    refs = [store.add(state(store, files)) for files in (old, new)]
    patch = store.patch(*refs)
    store.materialise(refs[0], base / "work")
    if patch:
        apply(base / "work", patch)
    assert on_disk(base / "work") == new
    return patch


CASES: dict[str, tuple[Files, Files]] = {
    "changed": ({"a": ("f", b"1\n2\n3\n")}, {"a": ("f", b"1\n2x\n3\n")}),
    "new and gone": ({"a/b": ("f", b"1\n")}, {"c/d": ("f", b"2\n")}),
    "empty files": ({"a": ("f", b""), "b": ("f", b"x\n")}, {"b": ("f", b""), "c": ("f", b"")}),
    "no newline at the end": ({"a": ("f", b"1\n2"), "b": ("f", b"1")}, {"a": ("f", b"1\n2\n"), "b": ("f", b"2")}),
    "mode alone": ({"a": ("f", b"1\n"), "b": ("x", b"1\n")}, {"a": ("x", b"1\n"), "b": ("f", b"1\n")}),
    "mode and content": ({"a": ("f", b"1\n")}, {"a": ("x", b"2\n")}),
    "binary": ({"a": ("f", b"\0\1\2" * 50), "b": ("f", b"\xff")}, {"a": ("f", b"\0\1\3" * 90), "c": ("f", bytes(range(256)))}),
    "not UTF-8": ({"a": ("f", "ä\n".encode("latin-1"))}, {"a": ("f", "ö\n".encode("latin-1"))}),
    "links": ({"a": ("l", b"b"), "c": ("l", b"x"), "b": ("f", b"1\n")}, {"a": ("l", b"d/e"), "b": ("f", b"1\n"), "n": ("l", b"a")}),
    "link becomes file": ({"a": ("l", b"b")}, {"a": ("f", b"1\n")}),
    "file becomes link": ({"a": ("f", b"1\n")}, {"a": ("l", b"b")}),
    "odd ends of lines": ({"a": ("f", b"1\r\n2\x0c3\xe2\x80\xa8\n\x1c\n")}, {"a": ("f", b"1\r\n2\x0c4\xe2\x80\xa8\n\x1c\n5\r")}),
    "odd names": (
        {"a b": ("f", b"1\n"), 'q"\\': ("f", b"1\n"), "tab\there": ("f", b"1\n"), "ä": ("f", b"1\n"), "line\nfeed": ("x", b"")},
        {"a b": ("f", b"2\n"), 'q"\\': ("f", b"2\n"), "tab\there": ("f", b"2\n"), "ä": ("f", b"2\n"), " ": ("f", b"\0")},
    ),
    "name that is not UTF-8": ({"\udcff": ("f", b"1\n")}, {"\udcff": ("f", b"2\n"), "\udcfe x": ("f", b"3\n")}),
    "looks like a patch": ({"a": ("f", b"--- a\n+++ b\n@@ -1 +1 @@\n")}, {"a": ("f", b"-- a\n@@ -1 +1 @@\ndiff --git a/x b/x\n")}),
    "folder becomes file": ({"a/b": ("f", b"1\n")}, {"a": ("f", b"2\n")}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_git_applies_it(tmp_path: Path, name: str) -> None:
    """Every kind of change comes through `git apply`, and so does its reverse."""
    old, new = CASES[name]
    if name != "folder becomes file":  # git takes that one way only
        round_trip(tmp_path / "back", new, old)
    round_trip(tmp_path / "there", old, new)


CONTENTS = st.one_of(
    st.binary(max_size=40), st.lists(st.sampled_from([b"a\n", b"b\n", b"\n", b"c"]), max_size=30).map(b"".join)
)
FILES = st.dictionaries(st.sampled_from(["a", "b", "d/c", "d/e f", "ü"]), st.tuples(st.sampled_from("fx"), CONTENTS))


@settings(max_examples=40, deadline=None)
@given(old=FILES, new=FILES)
def test_git_applies_anything(tmp_path_factory: pytest.TempPathFactory, old: Files, new: Files) -> None:
    """Any two states are connected by a patch."""
    round_trip(tmp_path_factory.mktemp("patch"), old, new)


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcd"), max_size=40), st.lists(st.sampled_from("abcd"), max_size=40))
def test_changes_make_the_one_text_the_other(old: list[str], new: list[str]) -> None:
    """What is not named as changed is equal, and no two changes touch."""
    before, after = ([letter.encode() for letter in text] for text in (old, new))
    made: list[bytes] = []
    at = 0
    for change in changes(before, after):
        assert change.old_start >= at
        made += before[at : change.old_start] + after[change.new_start : change.new_end]
        at = change.old_end
    assert made + before[at:] == after


def test_a_long_text_with_few_changes_has_few() -> None:
    """Also where the thorough comparison would take too long the patch says little more than what changed."""
    old = [b"%d\n" % number for number in range(30_000)]
    new = list(old)
    places = random.Random(1).sample(range(30_000), 50)
    for place in places:
        new[place] = b"changed\n"
    assert sum(change.old_end - change.old_start for change in changes(old, new)) <= 60


@pytest.mark.parametrize("lines", [b"01", b"0123456789", b"0"])
def test_hostile_text_takes_no_time(lines: bytes) -> None:
    """Texts made to be hard to compare end as one big change, not in hours of work."""
    lot = random.Random(2)
    old, new = ([bytes([lot.choice(lines)]) + b"\n" for _ in range(100_000)] for _ in range(2))
    begun = time.process_time()
    assert changes(old, new) or lines == b"0"
    assert time.process_time() - begun < 5


def test_nothing_changed_is_no_patch(tmp_path: Path) -> None:
    """Equal states, and such as differ in what git does not know, have an empty patch."""
    store = Store(tmp_path)
    old = store.add({"a": Entry("f", 0o644, 1, store.put(b"1"))})
    new = store.add({"a": Entry("f", 0o600, 1, store.put(b"1")), "d": Entry("d", 0, 0, "")})
    assert store.patch(old, old) == store.patch(old, new) == ""


def test_links_out_of_the_tree_are_left_out(tmp_path: Path) -> None:
    """A guest can make a link to anywhere; a patch that a user applies does not."""
    store = Store(tmp_path)
    old, new = store.add({}), store.add({"a": Entry("l", 0, 0, "/etc/passwd"), "b": Entry("l", 0, 0, "../up")})
    assert store.patch(old, new) == ""


def test_lines_end_with_line_feeds_only() -> None:
    """As for git: other characters that some libraries take for ends of lines are ordinary ones."""
    assert lines_of(b"a\r\nb\x0cc\n\nd") == [b"a\r\n", b"b\x0cc\n", b"\n", b"d"]
    assert lines_of(b"") == []
