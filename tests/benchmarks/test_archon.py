"""The benchmark of searches for an architecture: what is put into its table and its chart, and where its problems come from."""

from __future__ import annotations

import json
from pathlib import Path

import archon
import pytest
from rich.console import Console


def test_medians_are_those_of_what_was_found() -> None:
    """A search that found nothing near the best counts as all that it may measure, and its line goes on level."""
    found = [
        archon.OnSurface(1000, 10, [0.5] * 9 + [0.995], [0.1, 0.2]),
        archon.OnSurface(3000, archon.MOST, [0.5, 0.7], [0.3, 0.4]),
        archon.OnSurface(2000, 30, [0.2] * 29 + [1.0], [0.2, 0.3]),
    ]
    lines = archon.surface_lines(found)
    assert lines["learnt"][0] == (1, 0.5)
    assert lines["learnt"][-1] == (1024, 0.995)
    assert lines["by chance"][-1] == (65536, 0.3)
    console = Console(record=True, width=120)
    console.print(archon.surface_table(found))
    shown = console.export_text()
    assert "Median: 30 learnt, 2000 by chance: 1.5%" in shown
    assert f"not in {archon.MOST}" in shown


def test_problems_are_read_with_their_answers(tmp_path: Path) -> None:
    """The number behind the marks is the answer; a file that is not there says where to get it."""
    path = tmp_path / "problems.jsonl"
    path.write_text(json.dumps({"question": "How much?", "answer": "9 * 2 = <<9*2=18>>18\n#### 1,018"}) + "\n")
    [exercise] = archon.maths(path)
    assert (exercise.task.prompt, exercise.answer) == ("How much?", "1018")
    with pytest.raises(FileNotFoundError, match="grade-school-math"):
        archon.maths(tmp_path / "nowhere")
