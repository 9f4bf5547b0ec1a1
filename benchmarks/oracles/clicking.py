"""Tasks of clicking on the right thing."""

from __future__ import annotations

import re

from branchwise.web.actions import Wait
from branchwise.web.tasks import Hand, Oracle

from .common import answering, click_text, goal, place, quoted, submit

_MATCHING = """(wanted) => [...document.querySelectorAll("#area_svg > *")].map((one) => {
    const tag = one.tagName, text = one.textContent;
    const size = parseFloat(one.getAttribute("font-size") || one.getAttribute("width") || 2 * one.getAttribute("r")
        || one.getBBox().width);
    const kind = tag !== "text" ? "shape" : /[0-9]/.test(text) ? "digit" : "letter";
    const own = { rect: "rectangle", circle: "circle", polygon: "triangle" }[tag] || text;
    const [big, colour, what] = wanted;
    return (!big || (big === "large") === (size > 15)) && (!colour || colour === one.getAttribute("fill"))
        && ["item", kind, own].includes(what);
}).reduce((found, fits, place) => fits ? [...found, place] : found, [])"""
_COLOURS = "red|green|blue|aqua|black|magenta|yellow"


def described(text: str) -> list[str]:
    """Return size, colour and kind of a description such as "large red digit"; empty where it does not say."""
    found = re.fullmatch(rf"(?:(large|small) )?(?:({_COLOURS}) )?(\S+)", text)
    assert found is not None, text
    return [found[1] or "", found[2] or "", found[3]]


async def ascending_numbers(hand: Hand) -> None:
    """Numbers that turn into blanks once the first is clicked."""
    await click_text(hand, "svg text", "1")
    for _ in range(4):
        await hand.click_at("svg rect")


async def button(hand: Hand) -> None:
    """A button among other things."""
    await click_text(hand, "#area button", (await quoted(hand))[0])


async def button_sequence(hand: Hand) -> None:
    """One button after the other."""
    await hand.click_at("#subbtn")
    await hand.click_at("#subbtn2")


async def numbered_button(hand: Hand) -> None:
    """The button that is named."""
    await hand.click_at("#subbtn2" if "TWO" in await goal(hand) else "#subbtn")


async def collapsible(hand: Hand) -> None:
    """A section to open before submitting."""
    await hand.click_at("#area h3")
    await submit(hand)


async def link(hand: Hand) -> None:
    """A link in a text."""
    await click_text(hand, ".alink", (await quoted(hand))[0])


async def link_in_section(hand: Hand) -> None:
    """A link in one of several sections that are closed."""
    number = await place(hand, ".alink", (await quoted(hand))[0])
    section = await hand.js(
        "(n) => [...document.querySelectorAll('#area > div')].findIndex((one) => "
        "one.contains(document.querySelectorAll('.alink')[n]))",
        number,
    )
    await hand.click_at("#area h3", section)
    await hand.click_at(".alink", number)


async def link_in_tab(hand: Hand) -> None:
    """A link in one of several tabs; where it is nowhere, it was in the second, which is empty now."""
    if (await quoted(hand))[0] not in await hand.js(
        "[...document.querySelectorAll('.alink')].map((one) => one.textContent)"
    ):
        await hand.click_at("#area ul a", 1)
        return
    number = await place(hand, ".alink", (await quoted(hand))[0])
    tab = await hand.js("(n) => document.querySelectorAll('.alink')[n].closest('[id^=tabs-]').id", number)
    if not await hand.js("(id) => document.getElementById(id).checkVisibility()", tab):
        await hand.click_at(f"#area ul a[href='#{tab}']")
    await hand.click_at(".alink", number)


async def tab(hand: Hand) -> None:
    """A tab by its name."""
    found = re.search(r"Tab #\d", await goal(hand))
    assert found is not None
    await click_text(hand, "#area ul a", found[0])


async def colour(hand: Hand) -> None:
    """A box by its colour."""
    name = (await goal(hand)).split()[3]
    await hand.click_at(f"#area [data-color='{name}']")


async def dialog(hand: Hand) -> None:
    """A dialog box to close."""
    await hand.click_at("button.ui-button")


async def dialog_button(hand: Hand) -> None:
    """A button of a dialog box."""
    (name,) = await quoted(hand)
    if name == "x":
        await hand.click_at(".ui-dialog-titlebar button")
    else:
        await click_text(hand, ".ui-dialog-buttonset button", name)


async def menu(hand: Hand) -> None:
    """A menu in several levels."""
    *levels, name = (await goal(hand)).removeprefix("Select ").split(">")
    for level in levels:
        await hand.hover_at("#menu div", await place(hand, "#menu div", level))
        await hand.act(Wait(seconds=0.5))  # menus open a moment after the pointer has come
    await click_text(hand, "#menu div", name)


async def icon_menu(hand: Hand) -> None:
    """A menu whose item is named by its text or its icon."""
    names = await quoted(hand)
    if len(names) > 1:
        number = await place(hand, "#menu li > div", names[1])
    else:
        number = await hand.js(
            "() => { const icon = document.querySelector('#query .ui-icon').className;"
            " return [...document.querySelectorAll('#menu li > div')].findIndex((one) =>"
            " one.firstElementChild && one.firstElementChild.className === icon); }"
        )
    await hand.click_at("#open-menu")
    if not await hand.js("(n) => document.querySelectorAll('#menu li > div')[n].checkVisibility()", number):
        await click_text(hand, "#menu li > div", "Playback")
    await hand.click_at("#menu li > div", number)


async def shades(hand: Hand) -> None:
    """All shades of a colour."""
    name = (await goal(hand)).split()[5]
    for number in range(await hand.js(f"document.querySelectorAll('#area span[data-color={name}]').length")):
        await hand.click_at(f"#area span[data-color={name}]", number)
    await hand.click_at("#submit")


async def shape(hand: Hand) -> None:
    """A shape by its description."""
    wanted = described((await goal(hand)).removeprefix("Click on a "))
    await hand.click_at("#area_svg > *", (await hand.js(_MATCHING, wanted))[0])


async def count_shape(hand: Hand) -> None:
    """How many shapes fit a description."""
    wanted = described((await goal(hand)).removeprefix("How many ").removesuffix("s are there?"))
    await click_text(hand, "#count-buttons button", str(len(await hand.js(_MATCHING, wanted))))


async def count_sides(hand: Hand) -> None:
    """How many sides a drawn polygon has: the strongest wave in the distances of its line from the middle."""
    sides = await hand.js(
        """() => {
            const canvas = document.getElementById("c"), ctx = canvas.getContext("2d"), far = [];
            const data = ctx.getImageData(0, 0, canvas.width, canvas.height).data;
            for (let n = 0; n < 360; n++) {
                const angle = n * Math.PI / 180;
                let most = 0;
                for (let r = 5; r < 45; r += 0.5) {
                    const x = Math.round(75 + r * Math.cos(angle)), y = Math.round(50 + r * Math.sin(angle));
                    if (data[4 * (y * canvas.width + x) + 3] > 100) most = r;
                }
                far.push(most);
            }
            const wave = (k) => Math.hypot(...[Math.cos, Math.sin].map((f) =>
                far.reduce((sum, r, n) => sum + r * f(k * n * Math.PI / 180), 0)));
            return [3, 4, 5, 6, 7].sort((a, b) => wave(b) - wave(a))[0];
        }"""
    )
    await hand.click_at(f"#form [data-sides='{sides}']")


async def identify_shape(hand: Hand) -> None:
    """What kind of thing a figure is."""
    kind = await hand.js(
        """() => {
            const one = document.querySelector("#area_svg > *");
            const known = { rect: "rectangle", circle: "circle", polygon: "triangle" };
            return known[one.tagName] || (/[0-9]/.test(one.textContent) ? "digit" : "letter");
        }"""
    )
    await hand.click_at(f"#area-buttons [data-type={kind}]")


async def widget(hand: Hand) -> None:
    """A widget by its kind."""
    await hand.click_at(f"#area [data-type={(await quoted(hand))[0]}]")


async def focus(hand: Hand) -> None:
    """The only field."""
    await hand.click_at("#tt")


async def focus_nth(hand: Hand) -> None:
    """One of three fields."""
    found = re.search(r"\d", await goal(hand))
    assert found is not None
    await hand.click_at(f"#tt{found[0]}")


async def grid_coordinate(hand: Hand) -> None:
    """A point of a grid."""
    found = re.search(r"\(.*\)", await goal(hand))
    assert found is not None
    await hand.click_at(f"[id='{found[0]}']")


async def greatest(hand: Hand) -> None:
    """The highest of three cards."""
    values = await hand.js("[...document.querySelectorAll('.card-value')].map((one) => Number(one.textContent))")
    await hand.click_at(".card", values.index(max(values)))
    await hand.click_at("#submit")


async def odd_or_even(hand: Hand) -> None:
    """Numbers to be told apart."""
    values = await hand.js("[...document.querySelectorAll('.display-number')].map((one) => Number(one.textContent))")
    for number, value in enumerate(values):
        await hand.click_at(".odd" if value % 2 else ".even", number)
    await hand.click_at("#submit")


async def generate_number(hand: Hand) -> None:
    """A number that is drawn until it fits."""
    wanted = await goal(hand)
    found = re.search(r"\d+", wanted)
    limit = int(found[0]) if found else 0
    for _ in range(40):
        await hand.click_at("#generate")
        value = await hand.js("Number(document.getElementById('display-number').textContent)")
        fits = {"less": value < limit, "greater": value > limit, " odd": value % 2 == 1, " even": value % 2 == 0}
        if next(fits[word] for word in fits if word in wanted):
            break
    await hand.click_at("#submit")


async def number_checkboxes(hand: Hand) -> None:
    """A digit drawn in checkboxes."""
    pattern = await hand.js("(digit) => PATTERNS[digit].flat()", int((await quoted(hand))[0]))
    for number, on in enumerate(pattern):
        if on:
            await hand.click_at("#checkboxes input", number)
    await submit(hand)


ORACLES: dict[str, Oracle] = {
    name: answering(script)
    for name, script in {
        "ascending-numbers": ascending_numbers,
        "click-button": button,
        "click-button-sequence": button_sequence,
        "click-collapsible": collapsible,
        "click-collapsible-2": link_in_section,
        "click-collapsible-2-nodelay": link_in_section,
        "click-collapsible-nodelay": collapsible,
        "click-color": colour,
        "click-dialog": dialog,
        "click-dialog-2": dialog_button,
        "click-link": link,
        "click-menu": menu,
        "click-menu-2": icon_menu,
        "click-shades": shades,
        "click-shape": shape,
        "click-tab": tab,
        "click-tab-2": link_in_tab,
        "click-tab-2-easy": link_in_tab,
        "click-tab-2-hard": link_in_tab,
        "click-tab-2-medium": link_in_tab,
        "click-test": numbered_button,
        "click-test-2": numbered_button,
        "click-test-transfer": numbered_button,
        "click-widget": widget,
        "count-shape": count_shape,
        "count-sides": count_sides,
        "find-greatest": greatest,
        "focus-text": focus,
        "focus-text-2": focus_nth,
        "generate-number": generate_number,
        "grid-coordinate": grid_coordinate,
        "identify-shape": identify_shape,
        "number-checkboxes": number_checkboxes,
        "odd-or-even": odd_or_even,
        "unicode-test": button,
    }.items()
}
