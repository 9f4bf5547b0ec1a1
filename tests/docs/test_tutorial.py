"""The code of the tutorial does what the page says, block after block as it stands there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from branchwise.agents.agent import install_runner
from branchwise.graphs import LocalRunner
from branchwise.graphs.journal import RunStore
from branchwise.models.catalog import entry
from branchwise.models.pull import pull

PAGE = Path(__file__).parents[2] / "docs" / "tutorial-strategy.md"
BLOCK = re.compile(r"^```python( model)?\n(.*?)^```", re.DOTALL | re.MULTILINE)
BLOCKS = [(bool(needs_model), code) for needs_model, code in BLOCK.findall(PAGE.read_text())]


def run(*, model: bool) -> dict[str, Any]:
    """Run the page's blocks, with those that need a model or those that simulate; return the names that they leave."""
    names: dict[str, Any] = {"__name__": "tutorial"}
    for needs_model, code in BLOCKS:
        simulates = any(name in code for name in ("Simulation", "solved("))
        if not (simulates if model else needs_model):
            exec(compile(code, str(PAGE), "exec", dont_inherit=True), names)
    return names


def test_the_page_runs_on_a_simulation() -> None:
    """All blocks without a model: the strategy solves more than chance, nothing where values say nothing, and is resumed."""
    assert [needs_model for needs_model, _ in BLOCKS].count(True) == 1
    names = run(model=False)
    assert names["ours"] > names["independent"] + 0.5
    assert names["again"].select(names["tree"]) == names["killed"].strategy.select(names["killed"].tree)


def test_the_strategy_is_about_thirty_lines_long() -> None:
    """As promised: from the decorator on, without the lines between."""
    (code,) = [code for _, code in BLOCKS if "class Curious" in code]
    lines = [line for line in code[code.index("@dataclass") :].splitlines() if line.strip()]
    assert len(lines) <= 35


@pytest.fixture
def own_runs(tmp_path: Path) -> Iterator[None]:
    """Runs are kept in the test's own folder."""
    install_runner(LocalRunner(RunStore(tmp_path / "runs")))
    yield
    install_runner(LocalRunner())


@pytest.mark.model
@pytest.mark.usefixtures("own_runs")
def test_the_page_runs_on_a_real_model(capsys: pytest.CaptureFixture[str]) -> None:
    """The same with the agent's run: three samples of a small model, the one that the verifier likes best is chosen."""
    pull(entry("smollm2-135m-instruct"))
    result = run(model=True)["result"]
    values = [result.tree.value(node.id) or 0.0 for node in result.tree if node.answer is not None]
    assert len(result.tree) - 1 == 3
    assert result.verdicts[0].value == max(values)
    assert result.stop_reason == "budget"
    assert str(result.answer) in capsys.readouterr().out
