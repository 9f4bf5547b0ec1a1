"""What many of the scripts do."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from branchwise.core.errors import ActionFailed
from branchwise.web.tasks import Hand, Oracle

Script = Callable[[Hand], Awaitable[None]]


def answering(script: Script) -> Oracle:
    """Return a script as an oracle: these tasks want no answer."""

    async def oracle(hand: Hand) -> str:
        await script(hand)
        return ""

    return oracle


async def goal(hand: Hand) -> str:
    """Return what the page asks for."""
    return str(await hand.js("() => { const said = core.getUtterance(); return said.utterance || said; }"))


async def quoted(hand: Hand) -> list[str]:
    """Return what stands in double quotes in what the page asks for."""
    return re.findall(r'"(.*?)"', await goal(hand))


async def place(hand: Hand, css: str, text: str) -> int:
    """Return the number of the first element whose text is this.

    Raises:
        ActionFailed: there is none.
    """
    texts = await hand.js("(css) => [...document.querySelectorAll(css)].map((one) => one.textContent.trim())", css)
    if text.strip() not in texts:
        raise ActionFailed(f"none of {css!r} says {text!r}: {texts}")
    return int(texts.index(text.strip()))


async def click_text(hand: Hand, css: str, text: str) -> None:
    """Click on the first element whose text is this."""
    await hand.click_at(css, await place(hand, css, text))


async def submit(hand: Hand) -> None:
    """Press the button that all forms have."""
    await hand.click_at("#subbtn")


async def pick_date(hand: Hand, month: int, day: int, year: int) -> None:
    """Choose a date in the calendar that a click on the field opens."""
    await hand.click_at("#datepicker")
    for _ in range(24):
        shown = await hand.js(
            "() => { const day = document.querySelector('.ui-datepicker-calendar td[data-month]'); "
            "return [Number(day.dataset.year), Number(day.dataset.month) + 1]; }"
        )
        if tuple(shown) == (year, month):
            break
        await hand.click_at(".ui-datepicker-prev" if tuple(shown) > (year, month) else ".ui-datepicker-next")
    await click_text(hand, ".ui-datepicker-calendar a", str(day))
