"""`SolveDetectVerify`: one solution, cut short where it is complete, and written anew once where it is wrong."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from statistics import NormalDist, fmean

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.events import Event, Expand, Expanded, Failed, Judged, Score, WorkStarted
from branchwise.core.tree import Tree
from branchwise.core.types import ROOT, Node, NodeId, Step, Verdict
from branchwise.search.solve_detect_verify import CLOSE, REFINE, SolveDetectVerify

SPREAD = 2**0.5 * NormalDist().inv_cdf(0.9)
"""Distance of the detector's scores, in standard deviations, at which its AUROC is .9."""


@dataclass
class Stream:
    """Thoughts in segments: complete after some of them, but going on unless closed; closed too early they are wrong.

    Args:
        strategy: a fresh one.
        seed: which task it is.
        right: chance that a whole solution is right; one that was refined with the critique of a wrong one has `mended`.
        informed: whether the detector knows anything.
        verdicts: whether the verifier decides, or only scores.
    """

    strategy: SolveDetectVerify
    seed: int
    right: float = 0.5
    mended: float = 0.8
    informed: bool = True
    verdicts: bool = True
    tree: Tree = field(default_factory=lambda: Tree(Node(ROOT, None, None)))
    events: list[Event] = field(default_factory=list[Event])
    complete: int = 6
    longest: int = 20

    def run(self) -> NodeId | None:
        """To the end; the choice."""
        while True:
            while works := self.strategy.ask(self.tree, 4):
                for work in works:
                    self.take(WorkStarted(work))
            if not self.tree.in_flight:
                break
            self.take(self.done(next(iter(self.tree.in_flight.values()))))
            last = self.events[-1]
            if isinstance(last, Judged) and self.tree.passed(last.node):
                break
        node = self.strategy.select(self.tree)
        return None if node is None else NodeId(node)

    def done(self, work: object) -> Event:
        """What becomes of a piece of work."""
        rng = random.Random(f"{self.seed} {getattr(work, 'id', 0)}")
        if isinstance(work, Expand):
            return self.expanded(work, rng)
        assert isinstance(work, Score)
        if work.node == ROOT:
            return Judged(work.id, ROOT, ())
        node = self.tree[work.node]
        if work.verifiers:
            assert node.step is not None
            assert node.step.kind == "partial"
            if work.id % 10 == 9:
                return Failed(work.id, work.node, "VerifierError", "no verdict")
            known = self.informed and node.depth >= self.complete
            score = NormalDist().cdf(rng.gauss(SPREAD if known else 0.0, 1.0))
            return Judged(work.id, work.node, (Verdict(score, "likelihood", "complete"),))
        passed = node.answer == "right" if self.verdicts else None
        return Judged(work.id, work.node, (Verdict(float(node.answer == "right"), "outcome", "check", passed),))

    def expanded(self, work: Expand, rng: random.Random) -> Event:
        """A segment, a closed turn, or a whole one."""
        depth = self.tree[work.node].depth + 1
        if work.segment_tokens is not None and depth < self.longest:
            step = Step("partial", "chunk", framing=work.framing)
            return Expanded(work.id, Node(NodeId(work.id), work.node, step, None, depth))
        first = self.tree.path(work.node)[1:2]
        framing = work.framing or (first[0].step.framing if first and first[0].step is not None else None)
        chance = self.right if framing is None else self.mended
        well = random.Random(f"{self.seed} {framing}").random() < chance
        if work.lead and depth <= self.complete:
            well = False
        step = Step("answer", work.lead, framing=work.framing)
        answer = "right" if well else "wrong"
        return Expanded(work.id, Node(NodeId(work.id), work.node, step, None, depth, answer=answer))

    def take(self, event: Event) -> None:
        """Let it have happened."""
        self.tree.apply(event)
        self.strategy.tell((event,), self.tree)
        self.events.append(event)

    @property
    def expansions(self) -> list[Expand]:
        """What was expanded, in order."""
        return [e.work for e in self.events if isinstance(e, WorkStarted) and isinstance(e.work, Expand)]

    def answer(self) -> str | None:
        """The chosen answer."""
        node = self.run()
        return None if node is None else self.tree[node].answer


def whole(seed: int, **options: float) -> Stream:
    """Whole turns, nothing detected."""
    return Stream(SolveDetectVerify(**options).fresh(seed), seed)  # type: ignore[arg-type]


def test_a_wrong_solution_is_shown_with_its_verdict_and_written_anew_once() -> None:
    """And a right one is not touched."""
    for seed in range(20):
        stream = whole(seed)
        stream.run()
        first, *more = stream.expansions
        assert first.framing is None
        if stream.tree[NodeId(first.id)].answer == "right":
            assert more == []
        else:
            (again,) = more
            assert again.node == ROOT
            assert again.framing is not None
            assert (again.framing.shown, again.framing.note) == ((NodeId(first.id),), REFINE)


def test_one_refinement_by_the_critique_gains_what_it_mends_and_nothing_where_it_mends_nothing() -> None:
    """P + (1 - p) q over 300 tasks; with a critique that helps no more than chance (ablation) it is a second sample."""
    solved = fmean(whole(seed).answer() == "right" for seed in range(300))
    assert solved == pytest.approx(0.5 + 0.5 * 0.8, abs=4 * (0.9 * 0.1 / 300) ** 0.5)
    alone = fmean(whole(seed, refinements=0).answer() == "right" for seed in range(300))
    assert alone == pytest.approx(0.5, abs=4 * (0.25 / 300) ** 0.5)
    blind = fmean(Stream(SolveDetectVerify().fresh(s), s, mended=0.5).answer() == "right" for s in range(300))
    assert blind == pytest.approx(0.75, abs=4 * (0.75 * 0.25 / 300) ** 0.5)


def test_values_below_one_half_are_wrong_where_no_verifier_decides() -> None:
    """A verifier that only scores will do."""
    stream = Stream(SolveDetectVerify().fresh(1), 1, right=0.0, verdicts=False)
    assert stream.run() is not None
    assert len(stream.expansions) == 2


def segmented(seed: int, threshold: float = 0.95, **options: float) -> Stream:
    """Turns in segments."""
    return Stream(SolveDetectVerify(segment_tokens=256, threshold=threshold).fresh(seed), seed, **options)  # type: ignore[arg-type]


def test_the_detector_stops_within_a_segment_of_where_the_solution_is_complete() -> None:
    """On average over 200 tasks, at an AUROC of .9; one that knows nothing does not (ablation)."""

    def stop(seed: int, *, informed: bool) -> int:
        stream = segmented(seed, right=1.0, informed=informed)
        stream.run()
        cuts = [work for work in stream.expansions if work.lead]
        assert all(work.lead == CLOSE for work in cuts)
        return stream.tree[cuts[-1].node].depth if cuts else stream.longest

    assert abs(fmean(stop(seed, informed=True) for seed in range(200)) - 6) <= 1
    assert abs(fmean(stop(seed, informed=False) for seed in range(200)) - 6) > 2


def test_a_solution_that_was_cut_too_early_goes_on_before_anything_is_written_anew() -> None:
    """From the cut, without further cuts, to its natural end: nothing is lost by a false alarm."""
    eager = segmented(3, threshold=0.05, right=1.0)
    assert eager.answer() == "right"
    cut = next(work for work in eager.expansions if work.lead)
    later = eager.expansions[eager.expansions.index(cut) + 1 :]
    assert later[0].node == cut.node
    assert not any(work.lead or work.framing for work in later)
    assert fmean(segmented(seed, threshold=0.05, right=1.0).answer() == "right" for seed in range(40)) == 1.0


def test_segments_save_what_comes_after_the_solution_is_complete() -> None:
    """At least a third of the segments, and no task is lost."""
    cut, full = [], []
    for seed in range(60):
        stream = segmented(seed, right=1.0)
        assert stream.answer() == "right"
        cut.append(len(stream.expansions))
        full.append(stream.longest)
    assert sum(cut) <= 2 / 3 * sum(full)


def test_rebuilt_from_the_journal_it_goes_on_like_the_one_that_was_killed() -> None:
    """After every event."""
    stream = segmented(5, right=0.0)
    stream.run()
    for end in range(len(stream.events)):
        tree, again = Tree(Node(ROOT, None, None)), SolveDetectVerify(segment_tokens=256, threshold=0.95).fresh(5)
        for event in stream.events[:end]:
            tree.apply(event)
            again.tell((event,), tree)
        once = list(again.ask(tree, 4))
        assert once == list(again.ask(tree, 4))
        following = [e.work for e in stream.events[end:] if isinstance(e, WorkStarted)]
        assert once == following[: len(once)]


def test_options_that_cannot_work_are_refused() -> None:
    """With the value that was given."""
    for options in ({"refinements": -1}, {"threshold": 0.0}, {"segment_tokens": 0}):
        with pytest.raises(UsageError, match="is out of range"):
            SolveDetectVerify(**options)  # type: ignore[arg-type]
