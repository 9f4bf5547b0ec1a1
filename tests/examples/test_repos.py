"""The demo's repositories: broken as shipped, whole with the reference fix."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

REPOS = Path(__file__).parents[2] / "examples" / "repos"
FIXES = REPOS / "fixes"
NAMES = sorted(folder.name for folder in REPOS.iterdir() if (folder / "tests").is_dir())


def copy_of(name: str, target: Path) -> Path:
    """A copy of the repository `name` in `target`, without caches."""
    return Path(
        shutil.copytree(REPOS / name, target / name, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    )


def outcome(folder: Path) -> tuple[set[str], set[str]]:
    """The names of the tests that pass and of those that do not."""
    report = folder / "report.xml"
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # ours are not the repository's, and slow the start
    subprocess.run(command, cwd=folder, env=env, capture_output=True, timeout=120, check=False)
    cases = list(ET.parse(report).iter("testcase"))
    passed = {str(case.get("name")) for case in cases if len(case) == 0}
    return passed, {str(case.get("name")) for case in cases} - passed


def modules(name: str) -> list[Path]:
    """The program's files: everything but the tests."""
    return sorted((REPOS / name).glob("*.py"))


def functions(code: str) -> dict[str, str]:
    """The code of each function of a module, normalised, by its qualified name."""
    found: dict[str, str] = {}
    for node in ast.parse(code).body:
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        found.update({prefix + m.name: ast.dump(m) for m in members if isinstance(m, ast.FunctionDef)})
    return found


def test_there_are_enough_repositories_each_with_a_fix() -> None:
    """At least eight repositories, and a fix for each and for nothing else."""
    assert len(NAMES) >= 8
    assert sorted(folder.name for folder in FIXES.iterdir()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_fails_as_shipped_and_passes_with_its_fix(name: str, tmp_path: Path) -> None:
    """Some tests fail and others pass as shipped; with the fix all pass, and the tests are the same ones."""
    folder = copy_of(name, tmp_path)
    passed, failed = outcome(folder)
    assert failed
    assert passed, "a repair should be able to break something"
    assert 6 <= len(passed | failed) <= 12
    shutil.copytree(FIXES / name, folder, dirs_exist_ok=True)
    assert outcome(folder) == (passed | failed, set())


@pytest.mark.parametrize("name", NAMES)
def test_is_small_and_of_several_modules(name: str) -> None:
    """Two to four modules of at most 60 lines, so that a repository fits a small model's prompt."""
    sizes = [len(path.read_text().splitlines()) for path in modules(name)]
    assert 2 <= len(sizes) <= 4
    assert all(8 <= size <= 60 for size in sizes)


@pytest.mark.parametrize("name", NAMES)
def test_fix_changes_one_module_and_no_test(name: str) -> None:
    """One fault in one module: the fix replaces one file of the program and touches at most two of its functions."""
    fixed = [path for path in (FIXES / name).rglob("*") if path.is_file()]
    assert len(fixed) == 1
    shipped = functions((REPOS / name / fixed[0].relative_to(FIXES / name)).read_text())
    repaired = functions(fixed[0].read_text())
    assert shipped.keys() == repaired.keys()
    assert 1 <= sum(shipped[key] != repaired[key] for key in shipped) <= 2
