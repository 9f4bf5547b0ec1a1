"""What cannot be taken back on pages: held, shown to a person as the page has it, done once, and only then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from shop import Shop, State

import branchwise as bw
from branchwise.core.types import Task
from branchwise.graphs import LocalRunner, RunStore

from .pages import player

BUY = [
    ("goto", "", {"url": "{shop}/product/9"}),
    ("click", 'button "Add to cart"'),
    ("for_good", 'button "Add to cart"', {"do": "click"}),
]


@pytest.fixture
def live(shop: Shop) -> Iterator[Shop]:
    """The shop as a site that remembers: one world for everybody who does not ask for another."""
    shop.worlds.pop("", None)
    yield shop
    shop.worlds.pop("", None)


def moves(shop: Shop, *more: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """What the model does: it tries the button, is refused, and asks for it to be done for good."""
    where = {"url": f"{shop.url}/product/9"}
    return [("goto", "", where), *BUY[1:], *more]


def world(shop: Shop) -> State:
    """What has become of the shop."""
    return shop.worlds[""]


def carts(shop: Shop) -> list[dict[str, int]]:
    """What is in the carts of all visits: every context is a visit of its own."""
    return [visit.cart for visit in world(shop).sessions.values() if visit.cart]


class Person:
    """Somebody who is there, and says yes to so many questions, then no."""

    def __init__(self, yes: int) -> None:
        self.yes = yes
        self.asked: list[bw.Question] = []

    async def __call__(self, questions: Sequence[bw.Question]) -> Mapping[str, Any]:
        """Answer."""
        self.asked += questions
        return {
            q.id: True if len(self.asked) <= self.yes else {"approved": False, "reason": "too dear"} for q in questions
        }


@pytest.mark.browser
@pytest.mark.usefixtures("chromium")
@pytest.mark.asyncio(loop_scope="module")
async def test_it_is_done_once_a_person_has_seen_what_it_is(live: Shop, tmp_path: Path) -> None:
    """Refused at first; the question says what the page says, not what the model says; a second one can follow in the same run."""
    more = ("for_good", 'button "Remove Walnut Desk Lamp"', {"do": "click"})
    person = Person(2)
    model = player(moves(live, more))
    agent = bw.agents.web(live.url, pictures_mb=0, model=model)
    result = await LocalRunner(RunStore(tmp_path), asker=person).run(agent, Task(prompt="buy"), bw.Budget(), seed=1)
    assert result.answer == "done"
    assert [question.arguments["on"] for question in person.asked] == [
        "button 'Add to cart'",
        "button 'Remove Walnut Desk Lamp'",
    ]
    assert person.asked[0].arguments["page"] == f"{live.url}/product/9"
    assert "POST" in person.asked[0].arguments["why"]
    seen = [o.text for n in result.tree if n.step is not None for o in n.step.observations]
    assert "cannot be taken back" in seen[1]
    assert "which led to" in seen[2]
    assert carts(live) == [], "put in, and taken out again"


@pytest.mark.browser
@pytest.mark.usefixtures("chromium")
@pytest.mark.asyncio(loop_scope="module")
async def test_it_is_not_done_where_the_person_says_no(live: Shop, tmp_path: Path) -> None:
    """The model is told why, and the shop is as it was."""
    person = Person(0)
    agent = bw.agents.web(live.url, pictures_mb=0, model=player(moves(live)))
    result = await LocalRunner(RunStore(tmp_path), asker=person).run(agent, Task(prompt="buy"), bw.Budget(), seed=1)
    seen = [o.text for n in result.tree if n.step is not None for o in n.step.observations]
    assert "a person did not allow this: too dear" in seen[-1]
    assert (len(person.asked), carts(live)) == (1, [])


@pytest.mark.browser
@pytest.mark.usefixtures("chromium")
@pytest.mark.asyncio(loop_scope="module")
async def test_where_nobody_is_there_the_run_waits(live: Shop, tmp_path: Path) -> None:
    """It ends with the question, and goes on in another supply of pages when it is answered."""
    runner = LocalRunner(RunStore(tmp_path))
    agent = bw.agents.web(live.url, pictures_mb=0, model=player(moves(live)))
    first = await runner.run(agent, Task(prompt="buy"), bw.Budget(), seed=1)
    assert (first.stop_reason, carts(live)) == ("waiting", [])
    [question] = first.questions
    assert (question.kind, question.tool) == ("approve", "for_good")
    second = await runner.resume(agent, first.run_id, answers={question.id: True})
    assert (second.answer, carts(live)) == ("done", [{"9": 1}])


@pytest.mark.browser
@pytest.mark.usefixtures("chromium")
@pytest.mark.asyncio(loop_scope="module")
async def test_a_search_that_commits_itself_does_it_once(live: Shop, tmp_path: Path) -> None:
    """Branches are tried and held; only the one that is committed to reaches the shop, after the person was asked."""
    person = Person(1)
    ahead = bw.search.CommitSearch(width=2, ahead=2, evaluations=3, depth=5)
    agent = bw.agents.web(live.url, pictures_mb=0, model=player(moves(live), slots=2), search=ahead)
    result = await LocalRunner(RunStore(tmp_path), asker=person).run(
        agent, Task(prompt="buy"), bw.Budget(nodes=24), seed=1
    )
    held = [node for node in result.tree if node.step is not None and node.step.held]
    assert held
    assert (len(person.asked), carts(live)) == (1, [{"9": 1}])
