"""`Comparing`: candidates are compared when they are there."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from branchwise.core.events import (
    Denied,
    Event,
    Expand,
    Expanded,
    Failed,
    Judged,
    Resumed,
    Score,
    WorkStarted,
)
from branchwise.core.protocols import Strategy
from branchwise.core.tree import Tree
from branchwise.core.types import ROOT, Node, NodeId, Step, Verdict, WorkId
from branchwise.search import BestFirst, BestOfN, NoiseAware
from branchwise.search.comparing import Comparing

NAME = "listwise"


@dataclass
class Contest:
    """Takes a strategy through a task whose answers are worth a number; single verdicts err, the comparison may err less."""

    strategy: Strategy
    seed: int = 0
    noise: float = 0.5
    comparison: float = 0.05
    fail: str = ""
    tree: Tree = field(default_factory=lambda: Tree(Node(ROOT, None, None)))
    events: list[Event] = field(default_factory=list[Event])
    compared: list[tuple[NodeId, ...]] = field(default_factory=list[tuple[NodeId, ...]])

    def worth(self, node: NodeId) -> float:
        """The true worth of an answer."""
        return random.Random(f"{self.seed} {node}").random()

    def run(self, slots: int = 4, nodes: int = 1000) -> NodeId | None:
        """To the end; the choice."""
        rng = random.Random(self.seed)
        while True:
            while works := self.strategy.ask(self.tree, slots - len(self.tree.in_flight)):
                assert list(works) == list(self.strategy.ask(self.tree, slots - len(self.tree.in_flight)))
                for work in works:
                    self.take(WorkStarted(work))
            flying = list(self.tree.in_flight.values())
            if not flying:
                break
            self.take(self.done(rng.choice(flying), nodes))
        node = self.strategy.select(self.tree)
        return None if node is None else NodeId(node)

    def done(self, work: object, nodes: int) -> Event:
        """What becomes of a piece of work."""
        rng = random.Random(f"{self.seed} noise {getattr(work, 'id', 0)}")
        if isinstance(work, Expand):
            if len(self.tree) > nodes:
                return Denied(work.id, work.node, "nodes")
            answer = f"answer {work.id}"
            return Expanded(work.id, Node(NodeId(work.id), work.node, Step("answer", ""), None, 1, answer=answer))
        assert isinstance(work, Score)
        if work.among:
            return self.comparing(work, rng)
        if work.node == ROOT:
            return Judged(work.id, work.node, ())
        value = min(1.0, max(0.0, self.worth(work.node) + rng.gauss(0, self.noise)))
        return Judged(work.id, work.node, (Verdict(value, "outcome", "single"),))

    def comparing(self, work: Score, rng: random.Random) -> Event:
        """All candidates at once."""
        assert work.verifiers == (NAME,)
        assert work.node == ROOT
        assert not self.tree.in_flight.keys() - {work.id}
        if self.fail:
            return Failed(work.id, work.node, self.fail, "no verdict")
        self.compared.append(work.among)
        worth = {n: min(1.0, max(0.0, self.worth(n) + rng.gauss(0, self.comparison))) for n in work.among}
        return Judged(work.id, ROOT, (Verdict(0.5, "preference", NAME, ranking=worth),))

    def take(self, event: Event) -> None:
        """Let it have happened."""
        self.tree.apply(event)
        self.strategy.tell((event,), self.tree)
        self.events.append(event)


def compare(inner: Strategy, seed: int = 0, **options: float) -> Contest:
    """A contest under the controller."""
    return Contest(Comparing(inner, (NAME,)).fresh(seed), seed, **options)


def test_candidates_are_compared_once_when_there_is_nothing_more_to_do() -> None:
    """The best judged ones, and the comparison decides."""
    contest = compare(BestOfN(n=12), comparison=0.0)
    chosen = contest.run()
    assert [len(among) for among in contest.compared] == [8]
    assert chosen == max(contest.compared[0], key=contest.worth)
    assert isinstance(contest.events[-1], Judged)


def test_a_comparison_that_knows_better_finds_better_answers_and_one_that_guesses_does_not() -> None:
    """Against the best of noisy verdicts, over 150 tasks; with noise in its place (ablation) the advantage is gone."""

    def mean(**options: float) -> float:
        total = 0.0
        for seed in range(150):
            contest = compare(BestOfN(n=8), seed, **options)
            node = contest.run()
            assert node is not None
            total += contest.worth(node)
        return total / 150

    alone = sum(
        contest.worth(node)
        for seed in range(150)
        if (node := (contest := Contest(BestOfN(n=8).fresh(seed), seed)).run()) is not None
    )
    assert mean(comparison=0.05) > alone / 150 + 0.1
    assert mean(comparison=50.0) < alone / 150 + 0.02


def test_without_a_verdict_the_inner_strategy_s_choice_stands() -> None:
    """A comparison that fails is tried three times."""
    contest = compare(BestOfN(n=5), fail="VerifierError")
    chosen = contest.run()
    assert chosen == Contest(BestOfN(n=5).fresh(0), 0).run()
    assert sum(isinstance(event, Failed) for event in contest.events) == 3


def test_what_the_budget_refuses_ends_the_search_with_a_comparison() -> None:
    """Expansions that are denied over and over do not keep it from coming."""
    contest = compare(BestFirst(width=100, depth=2))
    contest.run(nodes=6)
    assert len(contest.compared) == 1
    assert any(isinstance(event, Denied) for event in contest.events)


def test_the_last_part_of_the_budget_is_kept_for_the_comparison() -> None:
    """No expansion is begun any more when only the reserve is left."""
    strategy = Comparing(BestOfN(n=50), (NAME,), reserve=0.2).fresh(1)
    contest = Contest(strategy)
    contest.tree.share_left = 0.5
    for work in strategy.ask(contest.tree, 4):
        contest.take(WorkStarted(work))
        contest.take(contest.done(work, 100))
    for work in strategy.ask(contest.tree, 2):
        contest.take(WorkStarted(work))
        contest.take(contest.done(work, 100))
    contest.tree.share_left = 0.1
    kinds = [type(work) for work in strategy.ask(contest.tree, 4)]
    assert kinds == [Score, Score]
    contest.run()
    assert contest.compared == [(NodeId(2), NodeId(3))] or contest.compared == [(NodeId(3), NodeId(2))]


def test_more_candidates_after_a_resume_are_compared_again() -> None:
    """With a larger budget the search goes on, and the last comparison counts."""
    contest = compare(BestOfN(n=9))
    contest.run(nodes=4)
    contest.take(Resumed())
    contest.run()
    assert len(contest.compared) == 2
    assert contest.strategy.select(contest.tree) in contest.compared[1]


def test_rebuilt_from_the_journal_it_is_the_one_that_was_killed() -> None:
    """After any event, whatever runs inside."""
    for inner in (BestOfN(n=6), NoiseAware(BestFirst(width=3, depth=2))):
        contest = compare(inner, 3)
        contest.run(nodes=12)
        for end in range(0, len(contest.events), 5):
            tree, again = Tree(Node(ROOT, None, None)), Comparing(inner, (NAME,)).fresh(3)
            first = Comparing(inner, (NAME,)).fresh(3)
            whole = Tree(Node(ROOT, None, None))
            for event in contest.events[:end]:
                whole.apply(event)
                first.tell((event,), whole)
            for event in contest.events[:end]:
                tree.apply(event)
                again.tell((event,), tree)
            assert list(again.ask(tree, 4)) == list(first.ask(whole, 4))
            assert again.select(tree) == first.select(whole)


def _verdict(value: float) -> Verdict:
    return Verdict(value, "outcome", "single")


def _tree(answers: Sequence[str | None], values: Sequence[float | None]) -> Tree:
    tree = Tree(Node(ROOT, None, None))
    for number, (answer, value) in enumerate(zip(answers, values, strict=True), 1):
        tree.apply(Expanded(WorkId(number), Node(NodeId(number), ROOT, None, None, 1, answer=answer)))
        if value is not None:
            tree.apply(Judged(WorkId(100 + number), NodeId(number), (_verdict(value),)))
    return tree


def test_equal_answers_stand_for_each_other_and_the_best_judged_come_first() -> None:
    """Without verdicts the most frequent ones do; without answers what was judged is compared."""
    finalists = Comparing(BestOfN(), (NAME,), most=2).finalists
    assert finalists(_tree(["a", "b", "a ", "c"], [0.2, 0.5, 0.9, 0.1])) == (3, 2)
    assert finalists(_tree(["a", "b", "b", "c"], [None] * 4)) == (2, 1)
    assert finalists(_tree([None, None, None], [0.1, None, 0.3])) == (3, 1)


def test_an_accepted_node_needs_no_comparison() -> None:
    """It is the choice, and an inner strategy that abstains is not overruled."""
    tree = _tree(["a", "b"], [0.2, 0.5])
    controller = Comparing(BestOfN(), (NAME,)).fresh(0)
    assert controller.appraise(tree, NodeId(1)).node == 1
    assert controller.appraise(tree).node == 2
    assert compare(NoiseAware(BestOfN(n=4), abstain=2.0)).run() is None
