"""The search for an Archon: the space of them, exercises from files, and whole searches with simulated models."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import branchwise as bw
from branchwise.cli.app import app
from branchwise.cli.tuning import Tuning
from branchwise.core.simulated.panel import Panel
from branchwise.core.types import Budget
from branchwise.graphs.teams.architecture import Exercise, read_exercises
from branchwise.graphs.teams.components import Generator

Space = bw.teams.Space


def test_every_choice_comes_to_layers_that_are_allowed() -> None:
    """Whatever is proposed, one candidate is left at the end and the rules hold."""
    space = Space(models=(None, "openai:x"), samples=(0, 1, 3), temperatures=(None, 0.2))
    assert space.size == 3 * 3 * 2 * 3 * 2 * 2 * 4 * 3 * 3 * 2 * 2
    rng, seen = random.Random(1), set[str]()
    for _ in range(1500):
        archon = space.archon({name: rng.choice(values) for name, values in space.choices.items()})
        assert isinstance(archon.layers[0][0], Generator)
        seen.add(repr(archon))
    assert len(seen) > 300


def test_the_plainest_are_single_layers() -> None:
    """One generation of each model, and many with one way to choose."""
    space = Space(models=(None, "openai:x"), samples=(0, 1, 5))
    plain = [[layer[0].kind for layer in space.archon(one).layers] for one in space.single_layers()]
    each = [
        ["generate"],
        ["generate", "rank"],
        ["generate", "write_tests", "run_tests"],
        ["generate", "fuse"],
    ]
    assert plain == each * 2
    assert all(set(one) == set(space.choices) for one in space.single_layers())
    no_fusers = Space(fusions=(0,), tests=(0,), samples=(2,))
    assert [[layer[0].kind for layer in no_fusers.archon(one).layers] for one in no_fusers.single_layers()] == [
        ["generate", "rank"],
        ["generate", "rank"],
    ]


def test_spaces_that_cannot_be() -> None:
    """Nobody makes a candidate, too many do, or what is chosen costs too much."""
    with pytest.raises(bw.UsageError, match="somebody must make a candidate"):
        Space(samples=(0,))
    with pytest.raises(bw.UsageError, match="more than 32 candidates"):
        Space(models=(None, "openai:x"), samples=(20,))
    with pytest.raises(bw.UsageError, match="something to choose"):
        Space(ranked=())
    space = Space(most_calls=4)
    with pytest.raises(bw.UsageError, match="more than most_calls=4"):
        space.archon(space.single_layers()[1])


def test_exercises_are_read_from_a_file(tmp_path: Path) -> None:
    """One object per line; what is none is said with its line."""
    path = tmp_path / "tasks.jsonl"
    path.write_text(
        '{"prompt": "2 + 2?", "answer": 4}\n\n{"prompt": "Mend it.", "files": "repo", "inputs": {"a": 1}}\n'
    )
    first, second = read_exercises(path)
    assert (first.task.prompt, first.answer, second.task.files, second.answer) == ("2 + 2?", "4", "repo", None)
    for wrong in ("nothing", '{"answer": 1}', '{"prompt": "x", "colour": "red"}', "[]"):
        path.write_text(f'{{"prompt": "x"}}\n{wrong}\n')
        with pytest.raises(bw.UsageError, match="line 2 is no exercise"):
            read_exercises(path)
    with pytest.raises(bw.UsageError, match="cannot be read"):
        read_exercises(tmp_path / "nowhere")


PANEL = Panel(seed=1)
SMALL = Space(samples=(1, 3), tests=(0,), checked=(False,), ranked=(0, 1), fusions=(0, 1), fusers=(1,))


def solver(**more: Any) -> bw.Agent:
    """An agent whose chances are known."""
    return bw.Agent(name="solver", model=PANEL.model(), form="text", **more)


def exercises(count: int) -> list[tuple[str, str]]:
    """Problems with their answers."""
    return [(PANEL.task(number).prompt, PANEL.right(number)) for number in range(count)]


async def test_an_agent_gets_the_team_that_suits_it(tmp_path: Path) -> None:
    """A whole search with real runs; given the same folder again it only says what it found; no run is left behind."""
    options: dict[str, Any] = {
        "budget": Budget(calls=80),
        "trials": 5,
        "space": SMALL,
        "folder": tmp_path,
        "fresh": 0.4,
    }
    tuned = await bw.teams.architecture_search(solver(), exercises(5), **options)
    assert tuned.usage.calls <= 80
    assert len(tuned.rows) == 5
    best = tuned.finalists[0]
    assert best.fresh_items == 2
    assert best.fresh == max(one.fresh or 0.0 for one in tuned.finalists)
    assert list((tmp_path / "runs").iterdir()) == []
    result = await dataclasses.replace(solver(), team=tuned.best).run(PANEL.task(3), seed=1)
    assert result.answer is not None
    again = await bw.teams.architecture_search(solver(), exercises(5), **options)
    assert (repr(again.best), again.usage) == (repr(tuned.best), tuned.usage)
    with pytest.raises(bw.UsageError, match="holds a search among other choices"):
        await bw.teams.architecture_search(solver(instructions="Think."), exercises(5), **options)


async def test_verifiers_decide_where_no_answer_is_known() -> None:
    """An exercise without an answer counts if the agent's verifiers accept its result."""

    @bw.verifier
    def right(candidate: bw.Candidate) -> bool:
        """Accept right answers."""
        return "right answer" in (candidate.answer or "")

    given = [Exercise(PANEL.task(number)) for number in range(4)]
    space = Space(samples=(1,), tests=(0,), checked=(False,), criticised=(False,), ranked=(0,), fusions=(0,))
    tuned = await bw.teams.architecture_search(solver(verifiers=[right]), given, trials=1, space=space, fresh=0, seed=2)
    assert tuned.finalists[0].score in {0.0, 0.25, 0.5, 0.75, 1.0}
    assert tuned.finalists[0].fresh is None
    with pytest.raises(bw.UsageError, match="at least one must be there"):
        await bw.teams.architecture_search(solver(), given, trials=1, fresh=1.0)


def test_the_command_line_shows_a_log_a_table_and_a_plot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows while it goes on, the finalists, the code of the best, a picture; JSON records for programs."""
    monkeypatch.setenv("COLUMNS", "160")
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text("".join(json.dumps({"prompt": p, "answer": a}) + "\n" for p, a in exercises(4)))
    options = {"trials": 3, "score": "text", "fresh": 0.4, "seed": 0}
    session = Tuning(solver(), tasks, tmp_path / "kept", SMALL, Budget(calls=200), as_json=False, options=options)
    session.run()
    shown = capsys.readouterr().out
    assert "measured once more on fresh exercises" in shown
    assert "solver = dataclasses.replace(solver, team=bw.teams.Archon([[bw.teams.Generator" in shown
    assert shown.count("(whole)") >= 2
    picture = (tmp_path / "kept" / "search.svg").read_text()
    assert "best so far" in picture
    assert "best single layer" in picture
    dataclasses.replace(session, as_json=True).run()
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert set(records[-1]["tuned"]) == {"best", "detail", "usage", "finalists", "plot"}
    made = eval(
        records[-1]["tuned"]["best"], {name: getattr(bw.teams, name) for name in bw.teams.__all__} | vars(bw.verifiers)
    )
    assert isinstance(made, bw.teams.Archon)


def test_the_command_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`branchwise tune` finds agent and exercises, keeps its search where runs are kept, and refuses what cannot be."""
    monkeypatch.setenv("BRANCHWISE_HOME", str(tmp_path / "home"))
    (tmp_path / "agent.py").write_text(
        "import branchwise as bw\nfrom branchwise.core.simulated.panel import Panel\n"
        "solver = bw.Agent(name='solver', model=Panel(seed=1).model(), form='text')\n"
    )
    (tmp_path / "tasks.jsonl").write_text(
        "".join(json.dumps({"prompt": p, "answer": a}) + "\n" for p, a in exercises(2))
    )
    command = ["tune", str(tmp_path / "agent.py"), "--tasks", str(tmp_path / "tasks.jsonl"), "--trials", "1"]
    done = CliRunner().invoke(app, [*command, "--fresh", "0.5", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["tuned"]["best"] == "Archon([[Generator()]])"
    assert (tmp_path / "home" / "tuning" / "solver" / "search.sqlite").is_file()
    for wrong, why in (
        (["--same", "vaguely"], "allowed are text"),
        (["--trials", "0", "--calls", "0"], "budget calls=0"),
    ):
        failed = CliRunner().invoke(app, [*command, *wrong])
        assert why in str(failed.exception)
