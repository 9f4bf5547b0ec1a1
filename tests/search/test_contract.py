"""What the search machine relies on, checked for every strategy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from branchwise.core.events import (
    Denied,
    Event,
    Expand,
    Expanded,
    Failed,
    Judged,
    Score,
    Work,
    WorkStarted,
    decode,
    encode,
)
from branchwise.core.protocols import Strategy
from branchwise.core.simulated.steps import Outcome, Simulation, StepTree
from branchwise.core.tree import Tree, TreeView
from branchwise.core.types import ROOT
from branchwise.search import (
    ABMCTS,
    DVTS,
    PUCT,
    UCT,
    AdaptiveSampling,
    AStar,
    Beam,
    BestFirst,
    BestOfN,
    CommitSearch,
    ComputeOptimal,
    DeepPrune,
    EarlyPruning,
    ForkJoin,
    Hedged,
    IterativeDecoding,
    LearnFromPeers,
    Lookahead,
    MajoritySampling,
    MultiTemperature,
    ParallelThinking,
    ParticleGibbs,
    Particles,
    Rebase,
    Resampling,
    RetrievalUCT,
    Rollover,
    SafeBeam,
    Saturation,
    SelfConsistency,
    SelfRefine,
    SharedTranscript,
    ShortMajority,
    SoftTree,
    SolveDetectVerify,
    StepBestOfN,
    TotDFS,
    Turns,
    named,
)

STRATEGIES: dict[str, Callable[[], Strategy]] = {
    "best-first": BestFirst,
    "best-first, narrow and deep": lambda: BestFirst(width=1, depth=20, patience=0.0),
    "best-first, wide and shallow": lambda: BestFirst(width=8, depth=2, patience=0.5),
    "best-first, no pruning": lambda: BestFirst(width=2, depth=4, deduplicate=False, prior=1.0),
    "best-of-n": lambda: BestOfN(n=6, depth=4),
    "self-consistency": lambda: SelfConsistency(n=2, depth=3, weight="scaled", variants=3, retries=2),
    "short majority": lambda: ShortMajority(n=6, m=2, depth=3),
    "short majority of thoughts": lambda: ShortMajority(n=6, m=2, thinking="think", depth=3),
    "best of majority": lambda: MajoritySampling(n=6, depth=3, members=2, reward="mean"),
    "hedged": lambda: Hedged(n=3, depth=3, temperature=0.7),
    "multi-temperature": lambda: MultiTemperature(n=2, highest=0.4, step=0.2, rounds=2, quorum=0.6, depth=3),
    "self-refine": lambda: SelfRefine(rounds=2, depth=3),
    "self-refine in one go": lambda: SelfRefine(rounds=4, criticise=False, keep_best=False, depth=2),
    "one trajectory": lambda: BestOfN(n=1, depth=8),
    "beam": lambda: Beam(beams=2, width=2, depth=4),
    "beams, two of them": lambda: Beam(beams=2, width=3, depth=3, groups=2, aggregate="product"),
    "step-wise best-of-n": lambda: StepBestOfN(width=3, depth=5, aggregate="mean"),
    "dvts": lambda: DVTS(width=2, groups=3, depth=3, aggregate="min"),
    "rebase": lambda: Rebase(width=6, depth=4),
    "uct": lambda: UCT(width=2, depth=3),
    "uct, widening": lambda: UCT(width=1, growth=0.5, depth=4, virtual_loss=0.0),
    "puct": lambda: PUCT(depth=3, deduplicate=False, policy="likelihood"),
    "a-star": lambda: AStar(width=2, depth=4),
    "tot-dfs": lambda: TotDFS(width=2, depth=4, threshold=0.2),
    "particles": lambda: Particles(particles=4, depth=4),
    "particles, set aside": lambda: Particles(
        particles=3, groups=2, potential="max", ended="aside", threshold=1.0, output="vote", depth=4
    ),
    "particles, on a schedule": lambda: Particles(particles=4, first=2, every=2, resampling="multinomial", depth=5),
    "particle gibbs": lambda: ParticleGibbs(particles=3, sweeps=3, depth=4),
    "particle gibbs, tempered": lambda: ParticleGibbs(
        particles=2, sweeps=3, groups=3, cooling=0.5, threshold=1.0, output="draw", depth=3
    ),
    "adaptive": lambda: AdaptiveSampling(most=5, gamma=0.2, ahead=2, depth=2),
    "early pruning": lambda: EarlyPruning(n=5, keep=0.4, depth=4),
    "compute-optimal": lambda: ComputeOptimal(
        (0.3,), ("beam:beams=2,width=2,depth=3", "best-of-n:n=5,depth=3"), probes=3, depth=3
    ),
    "saturation": lambda: Saturation(BestOfN(n=6, depth=2), epsilon=0.2, least=2),
    "resampling": lambda: Resampling(BestOfN(n=6, depth=2), fpr=0.3),
    "soft tree": lambda: SoftTree(depth=4),
    "soft tree, best of few": lambda: SoftTree(width=2.0, growth=0.0, goal="best", depth=3),
    "rollover": lambda: Rollover(quota=3, ahead=3, depth=4),
    "lookahead": lambda: Lookahead(width=2, depth=4),
    "lookahead, one far rollout": lambda: Lookahead(
        width=3, rollouts=1, steps=3, temperature=0.5, epsilon=0.2, depth=5
    ),
    "iterative decoding": lambda: IterativeDecoding(attempts=6, depth=3),
    "iterative decoding, in batches": lambda: IterativeDecoding(
        attempts=9, batch=3, first=3, looks=1, patience=1, depth=2
    ),
    "turns": lambda: Turns(turns=3, batch=2, context=99, keep=2, depth=3),
    "commit search": lambda: CommitSearch(width=2, ahead=2, evaluations=4, depth=5),
    "commit search, a plain agent": lambda: CommitSearch(width=1, ahead=1, evaluations=1, most=3),
    "solve, detect, verify": lambda: SolveDetectVerify(refinements=2, depth=4),
    "safe beam": lambda: SafeBeam(beams=2, width=2, threshold=0.1, depth=4, groups=2),
    "retrieval uct": lambda: RetrievalUCT(width=2, depth=3, outline=True),
    "deep prune": lambda: DeepPrune(n=5, depth=3, comparisons=1, agreement=0.9, alive=0.3),
    "deep prune, a judge that sees much alike": lambda: DeepPrune(
        n=6, depth=4, prefix_tokens=None, judge="true_judge", threshold=0.1, agreement=1.0, most=2
    ),
    "parallel thinking": lambda: ParallelThinking(n=3, depth=3),
    "learning from peers": lambda: LearnFromPeers(n=3, turns=2),
    "shared transcript": lambda: SharedTranscript(n=3, most_tokens=6),
    "fork and join": lambda: ForkJoin(n=2, depth=4),
    "ab-mcts": lambda: ABMCTS(depth=4),
    "ab-mcts, beta": lambda: ABMCTS(posterior="beta", depth=3, deduplicate=False),
}
"""Every strategy and every configuration that takes another way through its code. Add yours."""

_SHOWN = {type(make()) for make in STRATEGIES.values()}
STRATEGIES |= {f"{name}, as it comes": kind for name, kind in named.STRATEGIES.items() if kind not in _SHOWN}

every_strategy = pytest.mark.parametrize("make", STRATEGIES.values(), ids=STRATEGIES.keys())

OUTCOMES = st.sampled_from(["well"] * 6 + ["failed", "failed", "cancelled", "denied"])
SCHEDULES = st.lists(st.tuples(st.integers(0, 30), OUTCOMES), max_size=60)
WORLDS = st.builds(StepTree, branching=st.integers(1, 4), depth=st.integers(1, 5), seed=st.integers(0, 100))


def fingerprint(strategy: Strategy) -> str:
    """Everything that a strategy knows, the order of its containers included."""
    return repr(vars(strategy))


class Watched:
    """A strategy whose every `ask` is checked."""

    name = "watched"
    speculative = True

    def __init__(self, inner: Strategy) -> None:
        self.inner = inner

    def fresh(self, seed: int) -> Any:
        """Not used here."""
        raise NotImplementedError

    def ask(self, view: TreeView, slots: int) -> Sequence[Work]:
        """Ask twice; nothing may change, neither the answer nor the strategy."""
        before, twin = fingerprint(self.inner), deepcopy(self.inner)
        work = self.inner.ask(view, slots)
        assert list(self.inner.ask(view, slots)) == list(work), "asked twice without a tell, it wants something else"
        assert fingerprint(self.inner) == before, "ask changed the strategy"
        assert self.inner == twin
        assert [item.id for item in work] == [view.next_work + i for i in range(len(work))]
        assert sum(isinstance(item, Expand) for item in work) <= max(0, slots)
        for item in work:
            self.check(item, view)
        return work

    def check(self, item: Work, view: TreeView) -> None:
        """Only nodes that exist and are open are worked on, and none is expanded before it was judged."""
        assert item.node in view
        if isinstance(item, Expand):
            assert view.status(item.node) == "live"
            assert view.verdicts(item.node) or view.failures(item.node), "expanded before it was judged"

    def tell(self, events: Sequence[Event], view: TreeView) -> None:
        """Pass on."""
        self.inner.tell(events, view)

    def select(self, view: TreeView) -> int | None:
        """Pass on."""
        return self.inner.select(view)


def ends(simulation: Simulation, schedule: list[tuple[int, Outcome]]) -> Iterator[int]:
    """Let work end as scheduled: which of it in flight ends next, and how; yield the number of events after each."""
    for index, outcome in schedule:
        simulation.fill()
        flying = list(simulation.tree.in_flight)
        if not flying:
            return
        simulation.finish(flying[index % len(flying)], outcome)
        yield len(simulation.events)


def take(make: Callable[[], Strategy], world: StepTree, schedule: list[tuple[int, Outcome]], slots: int) -> Simulation:
    """Run a schedule."""
    simulation = Simulation(Watched(make().fresh(1)), world, slots)
    for _ in ends(simulation, schedule):
        pass
    return simulation


def rebuilt(strategy: Strategy, simulation: Simulation) -> Strategy:
    """A fresh strategy that was told what the journal holds."""
    tree = Tree(simulation.world.root())
    for event in decode(encode(simulation.events)):
        tree.apply(event)
        strategy.tell((event,), tree)
    return strategy


@every_strategy
@settings(max_examples=60, deadline=None)
@given(world=WORLDS, schedule=SCHEDULES, slots=st.integers(1, 6))
def test_any_order_of_completion(
    make: Callable[[], Strategy], world: StepTree, schedule: list[tuple[int, Outcome]], slots: int
) -> None:
    """Whatever ends next and however: `ask` is pure, work is numbered in order, and a replay gives the same strategy."""
    simulation = take(make, world, schedule, slots)
    assert isinstance(simulation.strategy, Watched)
    live = simulation.strategy.inner
    again = rebuilt(make().fresh(1), simulation)
    assert again == live
    assert fingerprint(again) == fingerprint(live)
    assert again.ask(simulation.tree, slots) == live.ask(simulation.tree, slots)
    assert again.select(simulation.tree) == live.select(simulation.tree)


@every_strategy
@settings(max_examples=40, deadline=None)
@given(world=WORLDS, schedule=SCHEDULES, slots=st.integers(1, 6))
def test_nothing_is_lost_or_done_twice(
    make: Callable[[], Strategy], world: StepTree, schedule: list[tuple[int, Outcome]], slots: int
) -> None:
    """Every node is judged once, and again only where the judging came to nothing; every end belongs to a start."""
    simulation = take(make, world, schedule, slots)
    begun = {event.work.id: event.work for event in simulation.events if isinstance(event, WorkStarted)}
    named = {work.id for work in begun.values() if isinstance(work, Score) and work.verifiers}
    judged = Counter(e.node for e in simulation.events if isinstance(e, Judged) and e.work not in named)
    assert all(times == 1 for times in judged.values())
    scores = Counter(work.node for work in begun.values() if isinstance(work, Score) and work.id not in named)
    for node in simulation.tree:
        ended_badly = sum(
            isinstance(begun[event.work], Score)
            for event in simulation.events
            if not isinstance(event, WorkStarted | Judged | Expanded) and getattr(event, "node", None) == node.id
            if hasattr(event, "work") and event.work not in named
        )
        flying = [work for work in simulation.tree.in_flight.values() if work.id not in named]
        pending = sum(isinstance(work, Score) and work.node == node.id for work in flying)
        assert scores[node.id] == judged[node.id] + ended_badly + pending
        assert pending <= 1
    expanded = [event.work for event in simulation.events if isinstance(event, Expanded)]
    assert len(expanded) == len(set(expanded)) == len(simulation.tree) - 1


@every_strategy
def test_gives_up_where_everything_fails(make: Callable[[], Strategy]) -> None:
    """Where no work ever succeeds a strategy comes to an end by itself, without having tried very often."""
    simulation = Simulation(make().fresh(1), StepTree())
    for _ in range(500):
        simulation.fill()
        if not simulation.tree.in_flight:
            break
        simulation.finish(next(iter(simulation.tree.in_flight)), "failed")
    assert not simulation.tree.in_flight
    assert sum(isinstance(event, Failed) for event in simulation.events) < 100
    assert simulation.strategy.select(simulation.tree) is None


@every_strategy
def test_denied_work_is_wanted_again(make: Callable[[], Strategy]) -> None:
    """What the budget refused is asked for again: a resumed run may have a larger one."""
    simulation = Simulation(make().fresh(1), StepTree())
    (score,) = simulation.fill()
    assert isinstance(simulation.finish(score.id, "denied"), Denied)
    (again,) = simulation.fill()
    assert (type(again), again.node) == (Score, ROOT)
    simulation.finish(again.id)
    first = simulation.fill()
    for work in first:
        simulation.finish(work.id, "denied")
    assert [(type(work), work.node) for work in simulation.fill()] == [(type(work), work.node) for work in first]


@every_strategy
def test_without_slots_only_judging_goes_on(make: Callable[[], Strategy]) -> None:
    """Asked for nothing, or for less than nothing where a resumed run has fewer slots, no expansion is begun."""
    simulation = Simulation(make().fresh(1), StepTree(), slots=0)
    (score,) = simulation.fill()
    simulation.finish(score.id)
    assert simulation.fill() == []
    assert list(simulation.strategy.ask(simulation.tree, -3)) == []


@every_strategy
def test_a_fresh_strategy_knows_nothing(make: Callable[[], Strategy]) -> None:
    """`fresh` gives the configured strategy anew; the template is never touched by a run."""
    template = make()
    before = fingerprint(template)
    simulation = Simulation(template.fresh(3), StepTree())
    simulation.run(20)
    assert fingerprint(template) == before
    assert template.fresh(3) == make().fresh(3)
    assert simulation.strategy != template.fresh(3)


@every_strategy
def test_a_run_is_repeatable(make: Callable[[], Strategy]) -> None:
    """The same seed and the same order of completion give the same events."""
    first, second = (Simulation(make().fresh(5), StepTree(), seed=5) for _ in range(2))
    first.run(40)
    second.run(40)
    assert first.events == second.events
