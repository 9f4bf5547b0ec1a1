"""Files of tasks in WebArena's format: what they mean is checked on pages of the shop, and nothing in them is run as Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from shop import Shop

from branchwise.core.errors import UsageError
from branchwise.web import Browser, WebEnvironment
from branchwise.web.tasks import WebTask, read_webarena

SITES = {"SHOP": "http://127.0.0.1:7000"}


def row(**changes: Any) -> dict[str, Any]:
    """A task as files have it, judged by its answer unless `changes` say otherwise."""
    checks = {
        "eval_types": ["string_match"],
        "reference_answers": {"exact_match": "Olive Wood Board"},
        "reference_url": "",
        "program_html": [],
        "string_note": "",
        "reference_answer_raw_annotation": "",
        **changes.pop("eval", {}),
    }
    base: dict[str, Any] = {
        "sites": ["shop"],
        "task_id": 3,
        "require_login": False,
        "storage_state": None,
        "start_url": "__SHOP__/list/kitchen",
        "geolocation": None,
        "intent_template": "Which {{thing}} is sold out?",
        "instantiation_dict": {"thing": "kitchen thing"},
        "intent": "Which kitchen thing is sold out?",
        "require_reset": False,
        "intent_template_id": 1,
    }
    return {**base, **changes, "eval": checks}


def read(tmp_path: Path, *rows: dict[str, Any], **more: Any) -> list[WebTask]:
    """The tasks of a file with these rows."""
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps(list(rows)))
    return read_webarena(path, more.pop("sites", SITES), **more)


async def says(task: WebTask, answer: str) -> float:
    """What the check of a task that is judged by its answer alone thinks of one."""
    return (await task.mark(None, answer)).value  # type: ignore[arg-type]  # it looks at no page


async def test_answers(tmp_path: Path) -> None:
    """Exact answers do not hang on case, space and quotes; included ones are whole words, and all of them."""
    exact, included = read(
        tmp_path,
        row(),
        row(task_id=4, eval={"reference_answers": {"must_include": ["3", "tea towel"]}}),
    )
    assert exact.name == "webarena-3"
    assert exact.start == "http://127.0.0.1:7000/list/kitchen"
    assert await says(exact, ' "olive  wood board" ') == 1
    assert await says(exact, "the Olive Wood Board") == 0
    assert await says(included, "3 of the Tea Towel") == 1
    assert await says(included, "13 of the tea towel") == 0.5
    assert await says(included, "3.5 tea towels") == 0


async def test_answers_in_other_words(tmp_path: Path) -> None:
    """Without a judge words and numbers are compared; a judge is asked about each reference; what is out of reach is N/A."""
    meant = row(eval={"reference_answers": {"fuzzy_match": ["it costs 12 euros"]}})
    (words,) = read(tmp_path, meant)
    assert await says(words, "It costs 12 euros.") == 1
    assert await says(words, "it costs 13 euros") == 0
    asked: list[tuple[str, str]] = []

    async def judge(answer: str, reference: str) -> bool:
        asked.append((answer, reference))
        return answer == "a dozen"

    (judged,) = read(tmp_path, meant, judge=judge)
    assert await says(judged, "a dozen") == 1
    assert asked == [("a dozen", "it costs 12 euros")]
    never = row(eval={"reference_answers": {"fuzzy_match": "N/A"}, "string_note": "the shop sells no shoes"})
    (out_of_reach,) = read(tmp_path, never)
    assert await says(out_of_reach, "N/A") == 1
    assert await says(out_of_reach, "the shop sells no shoes at all") == 1
    assert await says(out_of_reach, "the red ones") < 0.5


@pytest.mark.browser
async def test_addresses_and_pages(shop: Shop, tmp_path: Path) -> None:
    """Addresses are compared part by part; pages are gone to, and looked at by locators and helpers."""
    seen: list[str] = []

    async def first_price(env: WebEnvironment, kind: str) -> str:
        seen.append(kind)
        return str(await env.evaluate("document.querySelector('[data-cents]').dataset.cents"))

    def pages(*targets: dict[str, Any]) -> dict[str, Any]:
        return row(eval={"eval_types": ["program_html"], "program_html": list(targets)})

    heading = "document.querySelector('h1').outerText"
    addresses = row(
        eval={"eval_types": ["url_match"], "reference_url": "__SHOP__/cart |OR| __SHOP__/list/kitchen?order=price"}
    )
    last = {"url": "last", "locator": heading, "required_contents": {"exact_match": "Kitchen"}}
    other = {
        "url": "__SHOP__/product/1",
        "locator": "",
        "required_contents": {"must_include": ["Copper |OR| Enamel", "1.5 litres"]},
    }
    absent = {
        "url": "last",
        "locator": "document.querySelector('#no').value",
        "required_contents": {"exact_match": "x"},
    }
    helped = {
        "url": "__SHOP__/product/2",
        "locator": "func:price('first')",
        "required_contents": {"exact_match": "8900"},
    }
    called = {
        "url": "func:reddit_get_post_url('__last_url__')",
        "locator": heading,
        "required_contents": {"exact_match": "Cart"},
    }
    tasks = read(
        tmp_path,
        addresses,
        pages(last),
        pages(other, last),
        pages(absent, other),
        pages(helped),
        pages(called),
        sites={"SHOP": shop.url},
        helpers={"price": first_price},
    )
    supply = await Browser(f"{shop.url}/list/kitchen?order=price&most=").start("webarena", tmp_path / "states")
    try:
        marks: list[float] = []
        for task in tasks:
            env = await supply.open()
            marks.append((await task.mark(env)).value)
            await env.close()
    finally:
        await supply.aclose()
    assert marks == [1, 1, 1, 0.5, 1, 0]
    assert seen == ["first"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"start_url": "__MAP__"}, "whose address is not known"),
        ({"eval": {"eval_types": ["image_match"]}}, "no file of WebArena's tasks"),
        ({"eval": {"reference_answers": None}}, "no reference_answers"),
        ({"eval": {"eval_types": ["url_match"]}}, "names none in reference_url"),
        ({"eval": {"eval_types": ["program_html"]}}, "names none in program_html"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    """A file that asks for what is not known is refused when it is read, not when it is judged."""
    with pytest.raises(UsageError, match=told):
        read(tmp_path, row(**changes))


@pytest.mark.parametrize(
    "code",
    [
        "func:__import__('os').system('true')",
        "func:unknown_helper('x')",
        "func:reddit_get_post_url(open('/etc/passwd').read())",
        "func:reddit_get_post_url(url='x')",
        "func:[print(1)]",
        "func:1 +",
    ],
)
def test_no_code_is_run(code: str, tmp_path: Path) -> None:
    """What stands in the place of a helper's call and is none is refused, whatever Python would make of it."""
    target = {"url": code, "locator": "", "required_contents": {"must_include": ["x"]}}
    with pytest.raises(UsageError, match="helper"):
        read(tmp_path, row(eval={"eval_types": ["program_html"], "program_html": [target]}))


def test_hosts_of_all_sites_are_reachable(tmp_path: Path) -> None:
    """A task's browser reaches the sites that the file was read with, and what is to be open beside is told."""
    sites = {**SITES, "MAP": "http://127.0.0.1:7001"}
    (task,) = read(tmp_path, row(start_url="__SHOP__ |AND| __MAP__/here"), sites=sites)
    allow = task.browser().allow
    assert allow is not None
    assert allow.hosts == ("127.0.0.1:7000", "127.0.0.1:7001")
    assert "http://127.0.0.1:7001/here" in task.goal


def test_files_that_are_none(tmp_path: Path) -> None:
    """A file that is missing or no JSON is named."""
    with pytest.raises(UsageError, match="cannot be read"):
        read_webarena(tmp_path / "none.json", SITES)
    (tmp_path / "bad.json").write_text("[")
    with pytest.raises(UsageError, match="is no JSON"):
        read_webarena(tmp_path / "bad.json", SITES)
