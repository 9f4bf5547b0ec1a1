"""Tasks of reading something and typing what it says."""

from __future__ import annotations

import re

from branchwise.web.actions import Scroll
from branchwise.web.tasks import Hand, Oracle

from .common import answering, goal, quoted, submit


async def _text(hand: Hand, css: str) -> str:
    return str(await hand.js("(css) => document.querySelector(css).textContent", css))


async def nth_word(hand: Hand) -> None:
    """A word by its place."""
    found = re.search(r"(\d+)\w+ word", await goal(hand))
    assert found is not None
    words = (await _text(hand, "#area p")).split()
    await hand.fill_at("#answer-input", re.sub("[^a-zA-Z]", "", words[int(found[1]) - 1]))
    await submit(hand)


async def last_word(hand: Hand) -> None:
    """The last word of a text that has to be scrolled."""
    await hand.fill_at("#answer-input", (await _text(hand, "#text-area")).split()[-1].rstrip("."))
    await submit(hand)


async def scroll(hand: Hand) -> None:
    """A text to be scrolled to its end or its beginning."""
    up = "to the top" in await goal(hand)
    await hand.act(Scroll(ref=await hand.at("#text-area"), direction="up" if up else "down", screens=50))
    await submit(hand)


async def sign(hand: Hand) -> None:
    """An agreement that can be signed once it was scrolled."""
    wanted = await goal(hand)
    if names := await quoted(hand):
        await hand.act(Scroll(ref=await hand.at("#text-area"), screens=50))
        await hand.fill_at("#name", names[0])
    await hand.click_at("#agree" if "Agree" in wanted else "#cancel")


async def _row(hand: Hand, name: str) -> str:
    rows = await hand.js(
        "[...document.querySelectorAll('#tab tr')].map((row) => [...row.cells].map((one) => one.textContent))"
    )
    return str(dict(rows)[name])


async def table(hand: Hand) -> None:
    """A row of a table."""
    await hand.fill_at("#tt", await _row(hand, await _text(hand, "#query .bold")))
    await submit(hand)


async def two_rows(hand: Hand) -> None:
    """Two rows of a table."""
    for number in (1, 2):
        await hand.fill_at(f"#tt{number}", await _row(hand, (await _text(hand, f"#ll{number}")).rstrip(":")))
    await submit(hand)


async def algebra(hand: Hand) -> None:
    """An equation with one unknown."""
    left, sign_, right, _, result = (await _text(hand, "#math-problem")).split()
    known = int(right if left == "x" else left)
    value = {"+": int(result) - known, "-": int(result) + known if left == "x" else known - int(result)}[sign_]
    await hand.fill_at("#math-answer", str(value))
    await submit(hand)


async def arithmetic(hand: Hand) -> None:
    """A sum, a difference or a product."""
    left, sign_, right, _ = (await _text(hand, "#math-problem")).split()
    one, two = int(left), int(right)
    await hand.fill_at("#math-answer", str({"+": one + two, "-": one - two, "x": one * two}[sign_]))
    await submit(hand)


async def blocks(hand: Hand) -> None:
    """Blocks to be counted."""
    await hand.fill_at("#math-answer", str(await hand.js("document.querySelectorAll('.addition-block').length")))
    await submit(hand)


async def skewed(hand: Hand) -> None:
    """Letters that stand askew."""
    await hand.fill_at("#tt", await _text(hand, "#captcha"))
    await submit(hand)


async def terminal(hand: Hand) -> None:
    """A file to be deleted at a prompt."""
    files, end = await hand.js(
        "[currentFiles, (document.querySelector('#query .bold').textContent.match(/^\\.\\S+/) || [''])[0]]"
    )
    name = next(one for one in files if (one.endswith(end) if end else "." not in one))
    await hand.fill_at("#terminal-target", f"rm {name}", keys=True, enter=True)


async def editor(hand: Hand) -> None:
    """Text to be given a style or a colour."""
    bold = await hand.js("[...document.querySelectorAll('#query .bold')].map((one) => one.textContent.trim())")
    word, style = bold[0], bold[-1]
    await hand.click_at(".ql-editor")
    if word == "everything":
        await hand.press("Control+a")
    else:
        content = await _text(hand, ".ql-editor")
        start = re.search(rf"(?<!\S){re.escape(word)}(?!\S)", content)
        assert start is not None
        await hand.press("Control+Home")
        for _ in range(start.start()):
            await hand.press("ArrowRight")
        for _ in word:
            await hand.press("Shift+ArrowRight")
    buttons = {"bold": ".ql-bold", "italics": ".ql-italic", "underlined": ".ql-underline"}
    if style in buttons:
        await hand.click_at(buttons[style])
    else:
        await hand.click_at(".ql-color .ql-picker-label")
        shade = await hand.js("(name) => COLOR_MAP[name][0]", style)
        await hand.click_at(f".ql-color .ql-picker-item[data-value='{shade}']")
    await submit(hand)


ORACLES: dict[str, Oracle] = {
    name: answering(script)
    for name, script in {
        "find-word": nth_word,
        "read-table": table,
        "read-table-2": two_rows,
        "scroll-text": last_word,
        "scroll-text-2": scroll,
        "sign-agreement": sign,
        "simple-algebra": algebra,
        "simple-arithmetic": arithmetic,
        "terminal": terminal,
        "text-editor": editor,
        "text-transform": skewed,
        "visual-addition": blocks,
    }.items()
}
