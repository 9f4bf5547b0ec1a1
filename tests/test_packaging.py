"""What is shipped: the folders, the wheel and the source distribution, and what they must not contain."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import distribution, packages_distributions
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES: list[str] = PROJECT["tool"]["setuptools"]["packages"]
FOLDERS: dict[str, str] = PROJECT["tool"]["setuptools"]["package-dir"]
LAYERS = [name.removeprefix("branchwise.") for name in PACKAGES if name.count(".") == 1]

NOT_SOURCE = {"build", "dist", "__pycache__"}
DATA = {".md", ".toml", ".json", ".js"}


def source_files(*suffixes: str) -> list[Path]:
    """All files of the checkout that are somebody's work, links left out."""
    found: list[Path] = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [f for f in folders if f == ".ci" or not f.startswith(".")]
        folders[:] = [f for f in folders if f not in NOT_SOURCE and not f.endswith(".egg-info")]
        paths = [Path(folder, file) for file in files if not suffixes or file.endswith(suffixes)]
        found += [path for path in paths if not path.is_symlink()]
    return found


def shipped_files() -> set[str]:
    """What a wheel has to contain, by the path inside it: every module, and the data beside them."""
    shipped: set[str] = set()
    for package in PACKAGES:
        folder = ROOT / FOLDERS[package]
        for path in folder.iterdir():
            if path.suffix == ".py" or path.suffix in DATA or path.name == "py.typed":
                shipped.add(f"{package.replace('.', '/')}/{path.name}")
            elif path.is_dir() and not (path / "__init__.py").exists():
                data = [inner for inner in path.iterdir() if inner.suffix in DATA]
                shipped |= {f"{package.replace('.', '/')}/{path.name}/{inner.name}" for inner in data}
    return shipped


def imported(path: Path) -> set[str]:
    """Top-level names of the modules that a file imports at run time, relative imports left out."""
    names: set[str] = set()
    tree = ast.parse(path.read_text())
    for_types = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    skipped = {id(inner) for block in for_types for inner in ast.walk(block)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def source_of(package: str) -> list[Path]:
    """The modules of a package."""
    return sorted((ROOT / FOLDERS[package]).glob("*.py"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Source distribution and the wheel built from it, as a release would be."""
    checkout = tmp_path_factory.mktemp("checkout")
    for path in source_files():
        target = checkout / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    output = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(output), str(checkout)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return output


def test_every_package_of_the_folders_is_listed() -> None:
    """Setuptools only warns about a package that is missing from the list, and ships without it."""
    on_disk: set[str] = set()
    for name in ["branchwise", *(f"branchwise.{layer}" for layer in LAYERS)]:
        for init in (ROOT / FOLDERS[name]).rglob("__init__.py"):
            on_disk.add(".".join([name, *init.parent.relative_to(ROOT / FOLDERS[name]).parts]))
    assert on_disk == set(PACKAGES)
    assert set(FOLDERS) == set(PACKAGES)


def test_every_folder_of_modules_is_a_layer() -> None:
    """A new folder at the top that is no package would not be shipped at all."""
    others = {"src", "tests", "examples", "benchmarks", "scripts", "typings", "docs"}
    found = {path.relative_to(ROOT).parts[0] for path in source_files(".py") if path.parent != ROOT}
    assert found - others == set(LAYERS)


def test_links_for_type_checkers_equal_the_folders() -> None:
    """What type checkers see as the package is what is installed as the package."""
    links = {path.name: path.resolve() for path in (ROOT / "typings" / "branchwise").iterdir() if path.is_symlink()}
    expected = {layer: ROOT / FOLDERS[f"branchwise.{layer}"] for layer in LAYERS}
    facade = {path.name: path for path in (ROOT / FOLDERS["branchwise"]).iterdir() if path.is_file()}
    assert links == {name: path.resolve() for name, path in {**expected, **facade}.items()}


def test_every_layer_is_in_the_layer_contract() -> None:
    """A folder that the contract does not know could import anything."""
    contract = next(c for c in PROJECT["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    named = {name.strip().removeprefix("branchwise.") for line in contract["layers"] for name in line.split("|")}
    assert named == set(LAYERS)


def test_wheel_is_complete(built: Path) -> None:
    """Every module and every data file beside one is in the wheel, and nothing else is."""
    wheel = next(built.glob("*.whl"))
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert inside == shipped_files()


def test_wheel_installs_nothing_beside_its_own_name(built: Path) -> None:
    """A top-level package `agents` would overwrite another project's."""
    names = {name.split("/")[0] for name in zipfile.ZipFile(next(built.glob("*.whl"))).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"branchwise"}


def test_source_distribution_has_the_tests(built: Path) -> None:
    """Whoever packages it further can test it."""
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert f"tests/{Path(__file__).name}" in names
    assert {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "Makefile"} <= names
    tests = {path.relative_to(ROOT).as_posix() for path in source_files(".py") if path.is_relative_to(ROOT / "tests")}
    assert tests <= names


def test_version_is_the_same_everywhere() -> None:
    """`branchwise.__version__`, the package's metadata and the changelog agree."""
    import branchwise

    version = PROJECT["project"]["version"]
    assert branchwise.__version__ == version
    assert f"[{version}]" in (ROOT / "CHANGELOG.md").read_text()


def test_folders_are_never_imported_as_top_level_packages() -> None:
    """`import agents` may find another project's package, and a second copy of ours if it finds ours."""
    wrong: list[str] = []
    for path in source_files(".py"):
        if path.is_relative_to(ROOT / "examples" / "repos"):
            continue
        wrong += [f"{path.relative_to(ROOT)}: {name}" for name in imported(path) & set(LAYERS)]
    assert wrong == []


def test_dependencies_are_those_that_are_imported() -> None:
    """What works only because another package happens to bring it breaks when that one stops."""
    # Those have extras of their own.
    packages = {name for name in PACKAGES if name.split(".")[1:2] not in (["tracing"], ["web"])}
    shipped = [path for package in packages for path in (ROOT / FOLDERS[package]).glob("*.py")]
    names = {name for path in shipped for name in imported(path)} - set(sys.stdlib_module_names) - {"branchwise"}
    origins = packages_distributions()
    needed = {canonicalize_name(name) for module in names for name in origins.get(module.split(".")[0], [module])}
    extra = PROJECT["project"]["optional-dependencies"]["tune"]
    declared = {canonicalize_name(Requirement(text).name) for text in [*PROJECT["project"]["dependencies"], *extra]}
    # Pytest is put into the sandbox image. LangGraph's parts share a module's name; pydantic decides on its core's version.
    assert declared - needed <= {"pytest"}
    assert {name for name in needed - declared if not name.startswith(("langgraph", "pydantic"))} == set()


def test_the_extra_for_tracing_brings_what_tracing_imports() -> None:
    """OpenTelemetry's packages share one name: each module that is imported comes from a package that the extra names."""
    modules: set[str] = set()
    for path in (ROOT / FOLDERS["branchwise.tracing"]).glob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        modules |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
        modules |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    foreign = {module for module in modules if module.split(".")[0] not in sys.stdlib_module_names}
    specs = {module: find_spec(module) for module in foreign}
    origins = {module: spec.origin for module, spec in specs.items() if spec is not None and spec.origin is not None}
    extra = [Requirement(text).name for text in PROJECT["project"]["optional-dependencies"]["tracing"]]
    brought = {Path(str(file.locate())) for name in extra for file in distribution(name).files or ()}
    assert {module.split(".")[0] for module in foreign} == {"opentelemetry"}
    assert {module for module, origin in origins.items() if Path(origin) not in brought} == set()


def test_the_extra_for_pages_brings_what_they_import() -> None:
    """Beside what everything needs, pages need Playwright; nothing else of Branchwise imports it."""
    web = {path for package in PACKAGES if package.split(".")[1:2] == ["web"] for path in source_of(package)}
    others = {path for package in PACKAGES for path in source_of(package)} - web
    extra = {Requirement(text).name for text in PROJECT["project"]["optional-dependencies"]["web"]}
    declared = {canonicalize_name(Requirement(text).name) for text in PROJECT["project"]["dependencies"]}
    names = {name for path in web for name in imported(path)} - set(sys.stdlib_module_names) - {"branchwise"}
    assert {canonicalize_name(name) for name in names} - declared == extra
    assert [path for path in others if extra & imported(path)] == []


def test_pickle_is_never_imported() -> None:
    """Reading a pickle runs whatever is in it; journals and snapshots are read from disk."""
    pickles = re.compile(r"^\s*(import|from) (pickle|dill|cloudpickle|shelve)\b", re.MULTILINE)
    # What the host compiles for a guest goes there by marshal; only guests may read it, and only from the host.
    loads = re.compile(r"marshal\.loads?\b")
    files = [path for package in PACKAGES for path in (ROOT / FOLDERS[package]).glob("*.py")]
    wrong = [path for path in files if pickles.search(path.read_text())]
    wrong += [path for path in files if loads.search(path.read_text()) and not path.name.startswith("guest_")]
    assert wrong == []


def test_no_file_names_a_place_of_one_machine() -> None:
    """A path of somebody's machine works for nobody else."""
    # Written in pieces, so that this file does not name them either.
    places = [str(ROOT), "/" + "work/", "/" + "tmp/w/", "/" + "root/", "/" + "home/"]
    wrong: list[str] = []
    for path in source_files():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        wrong += [f"{path.relative_to(ROOT)}: {place}" for place in places if place in text]
    assert wrong == []
