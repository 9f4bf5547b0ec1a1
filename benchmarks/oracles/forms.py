"""Tasks of filling in forms."""

from __future__ import annotations

import json
import re

from branchwise.web.tasks import Hand, Oracle

from .common import answering, click_text, goal, pick_date, place, quoted, submit


async def _tick(hand: Hand, names: list[str]) -> None:
    for name in names:
        await hand.click_at("#area label input", await place(hand, "#area label", name))
    await submit(hand)


async def checkboxes(hand: Hand) -> None:
    """Checkboxes by their names."""
    named = (await goal(hand)).removeprefix("Select ").removesuffix(" and click Submit.")
    await _tick(hand, [] if named == "nothing" else named.split(", "))


async def similar_checkboxes(hand: Hand) -> None:
    """Checkboxes by words that mean the same."""
    words = (await goal(hand)).removeprefix("Select words similar to ").removesuffix(" and click Submit.").split(", ")
    labels = await hand.js("[...document.querySelectorAll('#area label')].map((one) => one.textContent)")
    groups = await hand.js("SYNONYMS")
    await _tick(
        hand, [label for label in labels if any(label in group and set(words) & set(group) for group in groups)]
    )


async def option(hand: Hand) -> None:
    """A radio button by its name."""
    await _tick(hand, [(await goal(hand)).removeprefix("Select ").removesuffix(" and click Submit.")])


async def choose_list(hand: Hand) -> None:
    """An option of a list."""
    named = (await goal(hand)).removeprefix("Select ").removesuffix(" from the list and click Submit.")
    await hand.select_at("#options", named)
    await hand.click_at("#area button")


async def scroll_list(hand: Hand) -> None:
    """Some options of a list."""
    named = (await goal(hand)).removeprefix("Select ").removesuffix(" from the scroll list and click Submit.")
    options = await hand.js("[...document.querySelectorAll('#options option')].map((one) => one.textContent)")
    await hand.select_at("#options", *(one for one in options if f", {one}, " in f", {named}, "))
    await hand.click_at("#area button")


async def choose_date(hand: Hand) -> None:
    """A date in a calendar."""
    month, day, year = map(int, re.findall(r"\d+", await goal(hand))[:3])
    await pick_date(hand, month, day, year)
    await submit(hand)


async def enter_date(hand: Hand) -> None:
    """A date in a field."""
    month, day, year = re.findall(r"\d+", await goal(hand))[:3]
    await hand.fill_at("#tt", f"{year}-{month}-{day}")
    await submit(hand)


async def enter_time(hand: Hand) -> None:
    """A time in a field."""
    found = re.search(r"(\d+):(\d+)\s*([AP]M)", await goal(hand))
    assert found is not None
    hour = int(found[1]) % 12 + (12 if found[3] == "PM" else 0)
    await hand.fill_at("#tt", f"{hour:02d}:{found[2]}")
    await submit(hand)


async def password(hand: Hand) -> None:
    """The same password twice."""
    (word,) = await quoted(hand)
    await hand.fill_at("#password", word)
    await hand.fill_at("#verify", word)
    await submit(hand)


async def text(hand: Hand) -> None:
    """A text in a field."""
    await hand.fill_at("#tt", (await quoted(hand))[0])
    await submit(hand)


async def text_in_case(hand: Hand) -> None:
    """A text in the other case."""
    word = (await quoted(hand))[0]
    await hand.fill_at("#tt", word.upper() if "upper" in await goal(hand) else word.lower())
    await submit(hand)


async def log_in(hand: Hand) -> None:
    """A login, whatever pops up while it is filled in."""
    name, word = await quoted(hand)
    for _ in range(2):
        for css, value in (("#username", name), ("#password", word)):
            if await hand.js("(css) => document.querySelector(css).value", css) != value:
                await hand.click_at(css)
                if await hand.js("document.querySelector('#popup-cancel') !== null"):
                    await hand.click_at("#popup-cancel")
                await hand.fill_at(css, value)
    await submit(hand)


async def copy(hand: Hand) -> None:
    """The text of a field in another one."""
    found = re.search(r"(\d)(?:st|nd|rd) text area", await goal(hand))
    css = f"#text-{found[1]}" if found else "#to-copy"
    await hand.fill_at("#answer-input", await hand.js("(css) => document.querySelector(css).value", css))
    await submit(hand)


async def slide(hand: Hand, css: str, wanted: int) -> None:
    """Set a slider: roughly with the pointer, then with the arrow keys."""
    state = "(css) => { const it = $(css), far = it.slider('option'); const box = it[0].getBoundingClientRect();"
    state += " return [it.slider('value'), far.min, far.max, far.orientation, box.width, box.height]; }"
    value, least, most, way, width, height = await hand.js(state, css)
    step = (width if way == "horizontal" else -height) / (most - least)
    far = round((wanted - value) * step)
    if abs(wanted - value) > 3 and abs(far) > 3:
        await hand.drag_at(f"{css} .ui-slider-handle", 0, by=(far, 0) if way == "horizontal" else (0, far))
    else:
        await hand.click_at(f"{css} .ui-slider-handle")
    for _ in range(40):
        value = (await hand.js(state, css))[0]
        if value == wanted:
            return
        await hand.press("ArrowRight" if value < wanted else "ArrowLeft")


async def slider(hand: Hand) -> None:
    """A slider."""
    found = re.search(r"-?\d+", await goal(hand))
    assert found is not None
    await slide(hand, "#slider", int(found[0]))
    await submit(hand)


async def sliders(hand: Hand) -> None:
    """Three sliders."""
    found = re.search(r"\[.*\]", await goal(hand))
    assert found is not None
    for number, value in enumerate(json.loads(found[0]), 1):
        await slide(hand, f"#slider-{number}", value)
    await submit(hand)


async def slider_and_box(hand: Hand) -> None:
    """A slider, then a checkbox."""
    found = re.search(r"Select (-?\d+) .* the (\d)", await goal(hand))
    assert found is not None
    await slide(hand, "#slider", int(found[1]))
    await hand.click_at(f"#checkbox-{found[2]}")
    await submit(hand)


async def radio_and_text(hand: Hand) -> None:
    """A radio button, then a field."""
    found = re.search(r'the (\d)\w+ radio .*"(-?\d+)" into the (\d)', await goal(hand))
    assert found is not None
    await hand.click_at("#area input[type=radio]", int(found[1]) - 1)
    await hand.fill_at(f"#input-{found[3]}", found[2])
    await submit(hand)


async def list_and_button(hand: Hand) -> None:
    """A list that is made of something else, then a button."""
    found = re.search(r'Choose (.*) from the dropdown.*"(.*)"', await goal(hand))
    assert found is not None
    await hand.click_at(".selectric")
    await click_text(hand, ".selectric-items li", found[1])
    await click_text(hand, "#buttons button", found[2])


async def movie(hand: Hand) -> None:
    """Three fields in any order and any layout."""
    found = re.search(r"Search for (.*) movies directed by (.*) from year (\d+)", await goal(hand))
    assert found is not None
    rows = await hand.js(
        "[...document.querySelectorAll('#area input')].map((one) => one.closest('p,.row,tr,.field,.ui-entry').textContent)"
    )
    values = {"Genre": found[1], "Direct": found[2], "Year": found[3], "Date": found[3]}
    for number, row in enumerate(rows):
        await hand.fill_at("#area input", next(value for word, value in values.items() if word in row), number)
    await hand.click_at("#area button, #area .final, #area .ui-submit")


async def autocomplete(hand: Hand) -> None:
    """A country of which a part is known."""
    first, last = [*await quoted(hand), ""][:2]
    items = await hand.js("ui_utils.COUNTRIES")
    await hand.fill_at("#tags", next(one for one in items if one.startswith(first) and one.endswith(last)))
    await hand.press("Escape")
    await submit(hand)


async def colour(hand: Hand) -> None:
    """A colour, typed as its number."""
    asked = await hand.js(
        "() => { const box = document.querySelector('#query .cc'), name = document.querySelector('#query').textContent;"
        " return box ? box.style.backgroundColor.match(/\\d+/g).map((n) => Number(n).toString(16).padStart(2, '0')).join('')"
        " : ui_utils.colorNameToHex(name.split(' ')[1]).slice(1); }"
    )
    await hand.fill_at("#col", asked)
    await hand.press("Tab")
    await submit(hand)


async def spinner(hand: Hand) -> None:
    """A number that only buttons change."""
    found = re.search(r"-?\d+", await goal(hand))
    assert found is not None
    for _ in range(abs(int(found[0]))):
        await hand.click_at(".ui-spinner-up" if int(found[0]) > 0 else ".ui-spinner-down")
    await submit(hand)


async def guess(hand: Hand) -> None:
    """A number that is guessed by halves."""
    low, high = 0, 9
    while low <= high:
        middle = (low + high) // 2
        await hand.fill_at("#tt", str(middle))
        await submit(hand)
        if await hand.js("WOB_DONE_GLOBAL"):
            return
        higher = await hand.js("!document.querySelector('#higher').classList.contains('hide')")
        low, high = (middle + 1, high) if higher else (low, middle - 1)


ORACLES: dict[str, Oracle] = {
    name: answering(script)
    for name, script in {
        "choose-date": choose_date,
        "choose-date-easy": choose_date,
        "choose-date-medium": choose_date,
        "choose-date-nodelay": choose_date,
        "choose-list": choose_list,
        "click-checkboxes": checkboxes,
        "click-checkboxes-large": checkboxes,
        "click-checkboxes-soft": similar_checkboxes,
        "click-checkboxes-transfer": checkboxes,
        "click-option": option,
        "click-scroll-list": scroll_list,
        "copy-paste": copy,
        "copy-paste-2": copy,
        "enter-date": enter_date,
        "enter-password": password,
        "enter-text": text,
        "enter-text-2": text_in_case,
        "enter-text-dynamic": text,
        "enter-time": enter_time,
        "form-sequence": slider_and_box,
        "form-sequence-2": radio_and_text,
        "form-sequence-3": list_and_button,
        "guess-number": guess,
        "login-user": log_in,
        "login-user-popup": log_in,
        "multi-layouts": movie,
        "multi-orderings": movie,
        "use-autocomplete": autocomplete,
        "use-autocomplete-nodelay": autocomplete,
        "use-colorwheel": colour,
        "use-colorwheel-2": colour,
        "use-slider": slider,
        "use-slider-2": sliders,
        "use-spinner": spinner,
    }.items()
}
