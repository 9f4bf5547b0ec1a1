"""The names that users may rely on."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import branchwise as bw
from branchwise import graphs
from branchwise.core import errors

FACADE = Path(bw.__file__)
MODULES = [bw, bw.models, bw.sandboxes, bw.search, bw.tools, bw.variants, bw.verifiers, bw.web]


def seen_by_type_checkers(package: ModuleType) -> dict[str, str]:
    """Public names that type checkers see a package import, and the modules that they come from."""
    tree = ast.parse(Path(str(package.__file__)).read_text())
    blocks = [node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: "." * node.level + (node.module or "") for node in imports for alias in node.names}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_all_is_sorted_and_true(module: ModuleType) -> None:
    """`__all__` is sorted, has nothing twice, and every name in it exists."""
    names = list(module.__all__)
    assert names == sorted(set(names))
    assert [name for name in names if not hasattr(module, name)] == []


@pytest.mark.parametrize("package", [bw, bw.models, bw.sandboxes, graphs], ids=lambda package: package.__name__)
def test_what_is_loaded_late_is_what_type_checkers_see(package: ModuleType) -> None:
    """A package that loads its names when they are asked for has the same ones for people and for type checkers."""
    homes = seen_by_type_checkers(package)
    assert set(homes) == set(package.__all__)
    for name, home in homes.items():
        assert getattr(package, name) is getattr(import_module(home, package.__name__), name)
    seen = {name for name in dir(package) if not name.startswith("_")}
    assert set(package.__all__) <= seen
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = package.nothing


def test_every_error_is_exported() -> None:
    """Whoever catches an error need not know in which module it lives."""
    classes = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert classes <= set(bw.__all__)


def test_every_error_has_the_one_base() -> None:
    """`except bw.BranchwiseError` catches everything that is raised on purpose."""
    classes = [value for value in vars(errors).values() if inspect.isclass(value)]
    assert all(issubclass(value, bw.BranchwiseError) for value in classes)
    assert issubclass(bw.UsageError, ValueError)
    assert issubclass(bw.ModelTimeout, TimeoutError)
    assert issubclass(bw.SandboxTimeout, TimeoutError)


def test_drawn_error_tree_is_the_real_one() -> None:
    """The tree in the module's docstring has every class below its real base."""
    drawn: dict[str, str] = {}
    above: dict[int, str] = {0: "BranchwiseError"}
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"((?:\|  |   )*)\|- (\w+)", line.removeprefix("    ")):
            depth = len(found.group(1)) // 3 + 1
            above[depth] = found.group(2)
            drawn[found.group(2)] = above[depth - 1]
    classes = {name: value for name, value in vars(errors).items() if inspect.isclass(value)}
    real = {name: value.__bases__[0].__name__ for name, value in classes.items() if value is not bw.BranchwiseError}
    assert drawn == real


@pytest.mark.parametrize("name", bw.__all__)
def test_every_public_name_is_described(name: str) -> None:
    """`help()` on any public name says something."""
    value = getattr(bw, name)
    # `Event` is a union of records: its description stands in its module.
    assert name == "Event" or inspect.getdoc(value)


def test_example_of_the_readme_is_the_documented_interface() -> None:
    """The code of the README's first screen makes the agent that it promises."""
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert blocks
    names: dict[str, object] = {}
    exec(compile(blocks[0].partition("budget =")[0], "README.md", "exec"), names)
    agents = [value for value in names.values() if isinstance(value, bw.Agent)]
    assert [agent.name for agent in agents] == ["coder"]


def loaded_by(program: str) -> set[str]:
    """Names of the packages, and of this one's layers, that a program loads."""
    program += "; import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    program += "; print(*{'.'.join(name.split('.')[:2]) for name in sys.modules if name.startswith('branchwise.')})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_agents_are_defined_without_what_runs_them() -> None:
    """To make an agent loads none of the libraries that take long and that only runs, models or engines need."""
    program = (
        "import branchwise as bw; bw.Agent(name='a', model='openai:b', tools=[bw.tools.files], search=bw.search.UCT())"
    )
    heavy = {
        "docker",
        "httpx",
        "httpx2",
        "langchain_core",
        "langgraph",
        "openai",
        "playwright",
        "pytest",
        "requests",
        "rich",
        "typer",
    }
    assert heavy & loaded_by(program) == set()


def test_help_waits_for_nothing() -> None:
    """The command line loads what a command needs once it is called."""
    layers = {name for name in loaded_by("import branchwise.cli") if name.startswith("branchwise.")}
    assert layers == {"branchwise.core", "branchwise.cli"}


def test_type_marker_is_there() -> None:
    """Type checkers read the annotations of packages that carry `py.typed` only."""
    assert (FACADE.parent / "py.typed").is_file()
