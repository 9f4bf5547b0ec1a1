"""Tasks of dragging."""

from __future__ import annotations

import re

from branchwise.web.tasks import Hand, Oracle

from .common import answering, goal, place, submit

_BOX = (
    "([css, n]) => { const box = document.querySelectorAll(css)[n].getBoundingClientRect();"
    " return [box.x, box.y, box.width, box.height]; }"
)
_WAYS = {"left": (-15, 0), "right": (15, 0), "up": (0, -15), "down": (0, 15)}
_SHAPES = "svg rect:not(#shape-container), svg circle, svg polygon"


async def _box(hand: Hand, css: str, number: int = 0) -> tuple[float, float, float, float]:
    x, y, width, height = await hand.js(_BOX, [css, number])
    return x, y, width, height


async def _move(hand: Hand, css: str, number: int, x: float, y: float) -> None:
    """Drag something so that its middle comes to a point."""
    left, top, width, height = await _box(hand, css, number)
    await hand.drag_at(css, number, by=(round(x - left - width / 2), round(y - top - height / 2)))


async def box(hand: Hand) -> None:
    """A small box into a large one, which is moved away first where it lies over the small one."""
    small, large = await _box(hand, "#draggableSmall"), await _box(hand, "#draggableLarge")
    if all(large[n] - 25 < small[n] < large[n] + 55 for n in (0, 1)):
        away = 60 if small[0] < 75 else -60
        await hand.drag_at("#draggableLarge", 0, by=(away, 0))
        large = await _box(hand, "#draggableLarge")
    await _move(hand, "#draggableSmall", 0, large[0] + large[2] / 2, large[1] + large[3] / 2)
    await submit(hand)


async def shape(hand: Hand) -> None:
    """A shape in a direction."""
    found = re.search(r"left|right|up|down", await goal(hand))
    assert found is not None
    await hand.drag_at("#area svg > *", 0, by=_WAYS[found[0]])
    await submit(hand)


async def shapes(hand: Hand) -> None:
    """All shapes of a kind into a box."""
    tags = {"rectangles": "rect", "circles": "circle", "triangles": "polygon"}
    wanted = tags[(await goal(hand)).split()[2]]
    names = await hand.js("(css) => [...document.querySelectorAll(css)].map((one) => one.tagName)", _SHAPES)
    left, top, *_ = await _box(hand, "#shape-container")
    for count, number in enumerate(n for n, name in enumerate(names) if name == wanted):
        await _move(hand, _SHAPES, number, left + 14 + 17 * count, top + 20)
    await submit(hand)


async def two_boxes(hand: Hand) -> None:
    """Some shapes into the left box, all others into the right one."""
    word = (await goal(hand)).split()[2]
    tags = {"rectangles": "rect", "circles": "circle", "triangles": "polygon"}
    told = await hand.js(
        "(css) => [...document.querySelectorAll(css)].map((one) => [one.tagName, one.getAttribute('fill')])", _SHAPES
    )
    counts = [0, 0]
    for number, (tag, fill) in enumerate(told):
        side = 0 if tags.get(word, word) in {tag, fill} else 1
        left, top, *_ = await _box(hand, "#shape-container", side)
        column, row = counts[side] % 3, counts[side] // 3
        counts[side] += 1
        await _move(hand, _SHAPES, number, left + 13 + 19 * column, top + 13 + 20 * row)
    await submit(hand)


async def _sorted_to(hand: Hand, number: int, target: int) -> None:
    """Drag an element of a list to another one's place, a little beyond it."""
    css = "#sortable li"
    own, other = await _box(hand, css, number), await _box(hand, css, target)
    beyond = [4 if b > a else -4 if b < a else 0 for a, b in zip(own[:2], other[:2], strict=True)]
    await hand.drag_at(css, number, by=(round(other[0] - own[0]) + beyond[0], round(other[1] - own[1]) + beyond[1]))


async def items(hand: Hand) -> None:
    """An element of a list to another place."""
    found = re.match(r"Drag (\S+) (.*)", await goal(hand))
    assert found is not None
    number, where = await place(hand, "#sortable li", found[1]), found[2]
    digits = re.search(r"\d", where)
    if digits:
        target = int(digits[0]) - 1
    else:
        places = {"to the top": 0, "to the bottom": 4, "down by": number + 1, "up by": number - 1}
        target = next(target for words, target in places.items() if where.startswith(words))
    await _sorted_to(hand, number, target)


async def grid(hand: Hand) -> None:
    """An element of a grid to another place."""
    found = re.match(r"Drag (\S+) (.*)\.", await goal(hand))
    assert found is not None
    number = await place(hand, "#sortable li", found[1])
    names = ("top left", "top center", "top right", "center left", "center", "center right")
    names = (*names, "bottom left", "bottom center", "bottom right")
    steps = {"up by one": -3, "down by one": 3, "left by one": -1, "right by one": 1}
    where = found[2].removeprefix("to the ")
    await _sorted_to(hand, number, number + steps[where] if where in steps else names.index(where))


async def sort(hand: Hand) -> None:
    """Numbers to be put into order."""
    for target in range(3):
        values = await hand.js("[...document.querySelectorAll('#sortable li')].map((one) => Number(one.textContent))")
        least = values.index(min(values[target:]), target)
        if least != target:
            await _sorted_to(hand, least, target)
    await submit(hand)


async def line(hand: Hand) -> None:
    """A line through a dot."""
    x, y, *_ = await _box(hand, "#circ")
    far = (60 if x < 80 else -60, 0) if "horizontal" in await goal(hand) else (0, 40 if y < 110 else -40)
    await hand.drag_at("#circ", 0, by=far)
    await hand.click_at("#controls button")


async def resize(hand: Hand) -> None:
    """A field to be made larger or smaller."""
    text = await goal(hand)
    far = 20 if "larger" in text else -20
    await hand.drag_at(".ui-resizable-se", 0, by=(far, 0) if "width" in text else (0, far))
    await hand.click_at("#submit")


async def calendar(hand: Hand) -> None:
    """An event to be drawn into a calendar, clear of those that are there."""
    text = await goal(hand)
    found = re.search(r'Create a ([\d.]+) (hour|min).*"(.*)", between (\d+)([AP]M)', text)
    assert found is not None, text
    halves = round(float(found[1]) * 2) if found[2] == "hour" else int(found[1]) // 30
    first = (int(found[4]) % 12 + (12 if found[5] == "PM" else 0)) * 2
    taken = await hand.js(
        "[...document.querySelectorAll('.event')].map((one) => { const top = parseFloat(one.style.top);"
        " return [Math.floor(top / 20.42), Math.ceil((top + parseFloat(one.style.height)) / 20.42)]; })"
    )
    start = next(n for n in range(first, first + 8 - halves + 1) if all(n + halves < a or n > b for a, b in taken))
    by = (0, 20 * (halves - 1) + 3)
    await hand.drag_at(f"#hh-{start}", 0, by=by)
    await hand.fill_at("#event-name", found[3])
    await hand.click_at("#controls .create")


ORACLES: dict[str, Oracle] = {
    name: answering(script)
    for name, script in {
        "daily-calendar": calendar,
        "drag-box": box,
        "drag-circle": shape,
        "drag-items": items,
        "drag-items-grid": grid,
        "drag-shapes": shapes,
        "drag-shapes-2": two_boxes,
        "drag-single-shape": shape,
        "drag-sort-numbers": sort,
        "draw-line": line,
        "resize-textarea": resize,
    }.items()
}
