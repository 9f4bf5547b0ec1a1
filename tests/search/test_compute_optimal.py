"""The search that suits the task's difficulty: learned, saved, and gone by."""

from __future__ import annotations

import random
from bisect import bisect_right
from pathlib import Path

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.events import Expanded, Judged
from branchwise.core.simulated.answers import RIGHT, AnswerPool, PathGroup
from branchwise.core.simulated.judges import NoisyJudge
from branchwise.core.simulated.steps import Simulation, StepTree
from branchwise.core.simulated.time import TimedSearch
from branchwise.core.tree import Tree
from branchwise.core.types import ROOT, Node, NodeId, Step, Verdict, WorkId
from branchwise.search import ComputeOptimal, PolicyTable, Trial, ease, parse_strategy
from branchwise.search.named import recorded_strategy

ARMS = [f"best-of-n:n={n}" for n in range(1, 6)]
GAP = 0.15


def development(tasks: int, *, seed: int = 1, shuffled: bool = False) -> list[Trial]:
    """Five classes of difficulty; in class i arm i is better than the others by a known gap."""
    rng = random.Random(seed)
    trials: list[Trial] = []
    for _ in range(tasks):
        kind = rng.randrange(5)
        worth = {arm: float(rng.random() < chance(kind, place)) for place, arm in enumerate(ARMS)}
        seen = rng.random() if shuffled else (kind + 0.02 + 0.96 * rng.random()) / 5
        trials.append(Trial(seen, worth))
    return trials


def chance(kind: int, arm: int) -> float:
    """Chance that an arm solves a task of a class."""
    return 0.2 + 0.1 * kind + GAP * (kind == arm)


def true_worth(table: PolicyTable, *, shuffled: bool = False) -> float:
    """What a table is worth over all tasks: of every class equally many, known by their ease or by nothing."""
    steps = [(n + 0.5) / 500 for n in range(500)]
    if shuffled:
        return sum(chance(kind, ARMS.index(table.arm(seen))) for kind in range(5) for seen in steps) / 2500
    return sum(chance(int(seen * 5), ARMS.index(table.arm(seen))) for seen in steps) / 500


ORACLE = sum(chance(kind, kind) for kind in range(5)) / 5
UNIFORM = sum(chance(kind, 0) for kind in range(5)) / 5


def test_the_table_is_nearly_that_of_an_oracle() -> None:
    """Within 1 % of the best arm per class, better than any single one; and cross-validation says so."""
    table = PolicyTable.fit(development(2000))
    assert table.arms == tuple(ARMS)
    assert true_worth(table) > ORACLE - 0.01
    assert table.held_out >= table.uniform - 0.005
    assert table.held_out == pytest.approx(ORACLE, abs=4 * 0.5 / 2000**0.5)
    assert table.uniform == pytest.approx(UNIFORM, abs=4 * 0.5 / 2000**0.5)


def test_a_difficulty_that_says_nothing_is_worth_nothing() -> None:
    """The ablation: with shuffled difficulties the table is as good as the best single arm, no better."""
    table = PolicyTable.fit(development(2000, shuffled=True))
    assert true_worth(table, shuffled=True) == pytest.approx(UNIFORM, abs=1e-9)
    assert table.held_out == pytest.approx(table.uniform, abs=0.04)


def test_small_bins_borrow_from_their_neighbours() -> None:
    """With eight tasks a bin, and an arm that is best everywhere by a little, pooling chooses it more often than luck."""

    def chosen(pooling: float) -> int:
        hits = 0
        for seed in range(60):
            rng = random.Random(seed)
            trials = [
                Trial(rng.random(), {"a": float(rng.random() < 0.57), "b": float(rng.random() < 0.43)})
                for _ in range(40)
            ]
            hits += PolicyTable.fit(trials, pooling=pooling).arms.count("a")
        return hits

    assert chosen(16.0) > chosen(0.0) + 15


def test_too_little_to_learn_from() -> None:
    """Few tasks, or arms that were not all tried."""
    with pytest.raises(UsageError, match="too few for 5 bins"):
        PolicyTable.fit(development(19))
    with pytest.raises(UsageError, match="same arms"):
        PolicyTable.fit([*development(30), Trial(0.5, {"best-of-n": 1.0})])


def test_tables_are_kept_as_json(tmp_path: Path) -> None:
    """Saved, loaded by the strategy and by its name; damage is said."""
    path = tmp_path / "table.json"
    table = PolicyTable.fit(development(100))
    table.save(path)
    assert PolicyTable.load(path) == table
    strategy = ComputeOptimal.load(path, probes=3)
    assert strategy == ComputeOptimal(table.edges, table.arms, 3)
    assert parse_strategy(f"compute-optimal:{path},probes=3") == strategy
    assert recorded_strategy(repr(strategy.fresh(7))) == strategy.fresh(7)
    with pytest.raises(UsageError, match="no table of strategies"):
        ComputeOptimal.load(tmp_path / "other.json")
    for text in ("{}", '{"edges": [1], "arms": ["none"], "held_out": 0, "uniform": 0, "tasks": 9}', "nonsense"):
        path.write_text(text)
        with pytest.raises(UsageError):
            PolicyTable.load(path)
    with pytest.raises(UsageError, match="no strategy is called"):
        ComputeOptimal((), ("beem",))
    with pytest.raises(UsageError, match="arms were given"):
        ComputeOptimal((0.5,), ("none",))


def solved(strategy: ComputeOptimal, success: float, seed: int) -> tuple[int, bool]:
    """Trajectories and outcome of a problem with this chance."""
    world = AnswerPool([PathGroup(RIGHT, success), PathGroup("wrong", 1 - success)], seed)
    search = TimedSearch(strategy.fresh(seed), world, NoisyJudge(noise=0.1).of(world), slots=4, seed=seed)
    search.run()
    return len(search.tree) - 1, search.right


def test_hard_tasks_get_more_and_easy_ones_keep_what_they_have() -> None:
    """The first trajectories are part of what follows: an easy task ends with them, a hard one is sampled on to 24."""
    strategy = ComputeOptimal((0.5,), ("best-of-n:n=24", "best-of-n:n=4"))
    hard = [solved(strategy, 0.1, seed) for seed in range(40)]
    easy = [solved(strategy, 0.9, seed) for seed in range(40)]
    assert {count for count, _ in easy} <= {4, 24}
    assert sum(count for count, _ in easy) / 40 < 8
    assert sum(count for count, _ in hard) / 40 > 20
    assert sum(right for _, right in easy) == 40
    assert sum(right for _, right in hard) / 40 > 1 - 0.9**4 + 0.2


def test_ease_is_the_mean_score_of_the_first_answers() -> None:
    """Missing ones count as nothing, but an accepted one ends a search and says enough."""

    def tree(*scores: float, passed: bool = False) -> Tree:
        grown = Tree(Node(ROOT, None, None))
        for number, score in enumerate(scores, 1):
            grown.apply(Expanded(WorkId(number), Node(NodeId(number), ROOT, Step("answer", "a"), answer="a")))
            grown.apply(Judged(WorkId(number + 50), NodeId(number), (Verdict(score, "outcome", "v", passed or None),)))
        return grown

    assert ease(tree(0.2, 0.4, 0.9), 2) == pytest.approx(0.3)
    assert ease(tree(0.2, 0.4), 4) == pytest.approx(0.15)
    assert ease(tree(), 4) == 0.0
    assert ease(tree(1.0, passed=True), 4) == 1.0


def test_trajectories_that_would_begin_otherwise_are_not_taken_over() -> None:
    """The first ones are plain samples; a greedy one among eight others is not."""
    greedy = ComputeOptimal((0.5,), ("hedged:n=8", "hedged:n=8"), probes=4)
    assert solved(greedy, 0.1, 1)[0] == 4 + 8
    plain = ComputeOptimal((0.5,), ("best-of-n:n=8", "best-of-n:n=8"), probes=4)
    assert solved(plain, 0.1, 1)[0] == 8


def test_a_search_begins_anew_beside_the_first_trajectories() -> None:
    """A beam takes nothing over; what was tried first stays a candidate, and the choice is explained."""
    simulation = Simulation(
        ComputeOptimal((0.99,), ("beam:beams=2,width=3,depth=4", "none"), probes=2, depth=4).fresh(1),
        StepTree(3, 4, 1),
        slots=4,
    )
    tree = simulation.run(80, random.Random(1))
    assert isinstance(simulation.strategy, ComputeOptimal)
    assert simulation.strategy.now.name == "beam"
    assert len(tree.children(0)) == 2 + 2 * 3  # type: ignore[arg-type]
    assert simulation.strategy.why_over(tree).startswith("went on by beam")
    assert bisect_right((0.99,), 0.4) == 0
