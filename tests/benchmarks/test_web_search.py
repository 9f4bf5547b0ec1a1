"""Searches over pages: what the policy draws, and what strategies make of records of pages, for which no browser is needed."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import web_looks
from web_policy import draw, options, texts
from web_tree import STOP, Browsing, Grove, PageTree, Problem, Reward, Searched

import branchwise as bw
from branchwise.core.protocols import Strategy
from branchwise.web import Check, Click, Dialog, Fill, Observation, Select, WebEnvironment
from branchwise.web.tasks import DONE, Ending, Mark, WebTask

BRANCHING, DEPTH, ACTIONS = 3, 4, 48
RIGHT = (1, 2, 0, 1)

SEEN = Observation(
    "http://127.0.0.1/",
    "Page",
    (
        'Hello, see [e1] link "More" [e2] button "Never" disabled',
        '[e3] textbox "Name" = "x" [e4] searchbox "Find"',
        '[e5] combobox "Colour" = "red" of red | dark blue focused [e6] checkbox "Agree" checked [f1e7] (tile)',
    ),
    refs=frozenset({"e1", "e2", "e3", "e4", "e5", "e6", "f1e7"}),
)


def test_the_policy_does_what_can_be_done() -> None:
    """An entry for each thing that is not disabled; texts are those of the goal, a searchbox is sent off at once."""
    offered = ["Ann Lee", "Put", "Ann", "Lee", "12"]
    assert options(SEEN, 'Put "Ann Lee" there, 12 times') == [
        [Click(ref="e1")],
        [Fill(ref="e3", text=text) for text in offered],
        [Fill(ref="e4", text=text, enter=True) for text in offered],
        [Select(ref="e5", options=("red",)), Select(ref="e5", options=("dark blue",))],
        [Check(ref="e6", on=False)],
        [Click(ref="f1e7")],
    ]
    waiting = Observation("", "", ("confirm dialog: 'Sure?'",), notes=("a dialog is open, and the page waits for it",))
    assert options(waiting, "") == [[Dialog(accept=True), Dialog(accept=False)]]


def test_texts_are_those_that_tell() -> None:
    """What is quoted comes first, then numbers, names and addresses."""
    assert texts('Log in as ada@x.org with the password "blue heron" on 12/03/2024.') == [
        "blue heron",
        "Log",
        "ada@x.org",
        "12/03/2024",
    ]
    assert texts("nothing to be said") == ["x"]


def test_things_are_drawn_alike_however_much_can_be_done_with_them() -> None:
    """Six things, one of them with as many texts as the goal has: each a sixth of the draws, within four standard errors."""
    given, rng, draws = options(SEEN, "One Two Three Four Five"), Random(3), 3000
    counts = Counter(getattr(draw(rng, given), "ref", "") for _ in range(draws))
    slack = 4 * (draws * 1 / 6 * 5 / 6) ** 0.5
    assert set(counts) == {"e1", "e3", "e4", "e5", "e6", "f1e7"}
    assert all(abs(count - draws / 6) < slack for count in counts.values())


# --- records ----------------------------------------------------------------------------------------------------------


async def _unused(_: WebEnvironment, __: Observation) -> Reward:
    raise AssertionError("all pages are recorded")


async def _check(_: Ending) -> Mark:
    return DONE


def grove(folder: Path, *, progress: bool, stops: float = 0.0) -> Grove:
    """Return a whole tree of records: one way through it is right, and pages on it are worth the more, or only its end is."""
    rows: list[dict[str, Any]] = []
    for depth in range(DEPTH + 1):
        for path in itertools.product(range(BRANCHING), repeat=depth):
            far = next((n for n, (own, right) in enumerate(zip(path, RIGHT, strict=False)) if own != right), depth)
            done = path == RIGHT
            value = far / DEPTH if progress else 1.0 if done else 0.5 if depth < DEPTH else 0.0
            over = depth == DEPTH
            shape = [] if over else [1] * BRANCHING
            rows.append({"path": path, "shape": shape, "hinted": [], "value": value, "done": done, "over": over})
    file = folder / f"{progress}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    task = WebTask("tree", "Go.", "http://127.0.0.1/", _check)
    return Grove(Problem(task, _unused, stops=stops, depth=DEPTH), None, file)


def solved(own: Grove, strategy: Strategy, seeds: int = 40, **given: Any) -> float:
    """Return the share of searches that choose the right end."""
    with Browsing() as browsing:
        done = [
            Searched(
                strategy.fresh(seed),
                PageTree(grove=own, browsing=browsing),
                slots=1,
                seed=seed,
                actions=ACTIONS,
                **given,
            ).search()
            for seed in range(seeds)
        ]
    return sum(done) / seeds


def test_a_reward_on_the_way_leads_there(tmp_path: Path) -> None:
    """With progress to go by best-first search finds what best-of-n hardly does; more noise, less of it."""
    own = grove(tmp_path, progress=True)
    search, sampling = bw.search.BestFirst(width=4, depth=DEPTH), bw.search.BestOfN(n=ACTIONS, depth=DEPTH)
    assert solved(own, search) >= 0.4
    assert solved(own, sampling) <= 0.3
    assert solved(own, search, noise=0.5) <= 0.2


def test_without_it_the_advantage_is_gone(tmp_path: Path) -> None:
    """The ablation: where only the end is worth anything, going by values finds no more than sampling does."""
    own = grove(tmp_path, progress=False)
    search, sampling = bw.search.BestFirst(width=4, depth=DEPTH), bw.search.BestOfN(n=ACTIONS, depth=DEPTH)
    assert solved(own, search) <= solved(own, sampling) + 4 * (0.25 / 40) ** 0.5


def test_draws_at_a_page_are_the_same_for_all(tmp_path: Path) -> None:
    """Two strategies that expand the root as often come to the same children; another seed comes to others."""
    own = grove(tmp_path, progress=True)

    def children(strategy: Strategy, seed: int) -> list[str | None]:
        search = Searched(strategy.fresh(seed), PageTree(grove=own, browsing=Browsing()), slots=1, seed=seed, actions=6)
        search.search()
        return [node.env_ref for node in search.tree if node.parent == 0][:4]

    wide, sampled = bw.search.BestFirst(width=4, depth=1), bw.search.BestOfN(n=6, depth=1)
    assert children(wide, 1)[:2] == children(sampled, 1)[:2]
    assert len({tuple(children(sampled, seed)) for seed in range(8)}) > 1


def test_who_stops_is_judged_where_they_are(tmp_path: Path) -> None:
    """The choice to end has the value of the page, and nothing comes after it."""
    own = grove(tmp_path, progress=True, stops=1.0)
    ended, page = own.known((1, STOP)), own.known((1,))
    assert ended is not None
    assert page is not None
    assert (ended.value, ended.over, ended.shape) == (page.value, True, ())
    assert page.draw(Random(0), own.problem) == STOP


# --- looks ------------------------------------------------------------------------------------------------------------


def test_looks_are_compared_with_the_better_peer_where_they_compare_worst() -> None:
    """Page by page, then the worst page; without the peers' environment there is no word of tokens."""

    def row(ms: float, tokens: float) -> dict[str, float]:
        return {"ms": ms, "tokens": tokens, "chars": 4 * tokens}

    rows = {
        name: {"Branchwise": row(10, 100), "Playwright": row(20, tokens), "BrowserGym": row(200, 1000)}
        for name, tokens in (("e-mail 1", 200), ("e-mail 2", 200), ("e-mail 3", 200), ("list", 125), ("long", 4000))
    }
    told = web_looks.figures(rows)
    assert told["observation_ms_over_best_peer"] == 0.5
    assert told["observation_tokens_over_best_peer"] == 0.8
    assert told["observation_tokens_over_best_peer_long_page"] == 0.1
    for page in rows.values():
        for own in page.values():
            del own["tokens"]
    assert not any("tokens" in name for name in web_looks.figures(rows))
