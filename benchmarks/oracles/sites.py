"""Tasks on pages that are small sites."""

from __future__ import annotations

import re

from branchwise.web.tasks import Hand, Oracle

from .common import answering, click_text, goal, pick_date, place, quoted


async def ticket(hand: Hand) -> None:
    """The cheapest, dearest, shortest or longest ticket."""
    text = await goal(hand)
    prices, lasts = await hand.js(
        "[['.buy-ticket', 'price'], ['.time-duration', 'duration']].map(([css, name]) =>"
        " [...document.querySelectorAll(css)].map((one) => Number(one.dataset[name])))"
    )
    values = prices if "cost" in text else lasts
    best = min(values) if re.search("cheapest|shortest", text) else max(values)
    await hand.click_at(".buy-ticket", values.index(best))


async def flight(hand: Hand) -> None:
    """A flight to be found by a form, then the best one of it."""
    text = await goal(hand)
    found = re.search(r"Book the (\w+) one-way flight from: (.*?) to: (.*?) on (\d+)/(\d+)/(\d+)", text)
    assert found is not None, text
    flights = await hand.js("DOMESTIC_FLIGHTS")
    for css, name in (("#flight-from", found[2]), ("#flight-to", found[3])):
        await hand.fill_at(css, next(one for one in flights if name in one))
        await hand.press("Escape")
    await pick_date(hand, *map(int, found.group(4, 5, 6)))
    await hand.click_at("#search")
    css, name = (".flight-price", "price") if found[1] == "cheapest" else (".time-duration", "duration")
    values = await hand.js(f"[...document.querySelectorAll('{css}')].map((one) => Number(one.dataset.{name}))")
    await hand.click_at(".flight-price", values.index(min(values)))


async def tree(hand: Hand) -> None:
    """A file in folders that are closed."""
    (name,) = await quoted(hand)
    number = await place(hand, "#tree span", name)
    folders = await hand.js(
        """(n) => {
            const spans = [...document.querySelectorAll("#tree span")], found = [];
            for (let one = spans[n].closest("ul").closest("li"); one; one = one.parentElement.closest("li")) {
                found.unshift(spans.indexOf(one.querySelector("span")));
            }
            return found;
        }""",
        number,
    )
    for folder in folders:
        await hand.click_at("#tree span", folder)
    await hand.click_at("#tree span", number)


async def food(hand: Hand) -> None:
    """Dishes by their names, or by what they are."""
    text = await goal(hand)
    menu = await hand.js("MENU")
    by_name = re.match(r"Order one of each item: (.*)", text)
    if by_name:
        chosen = [one["id"] for one in menu if one["name"].strip() in map(str.strip, by_name[1].split(", "))]
    else:
        found = re.match(r"Order (\d) items that are (\S+)", text)
        assert found is not None, text
        chosen = [next(one["id"] for one in menu if found[2] in one["types"])] * int(found[1])
    for number in chosen:
        await hand.click_at(f"[data-id='{number}'] .add")
    await hand.click_at("#submit-order button")


async def phone_book(hand: Hand) -> None:
    """Somebody's entry, several pages on."""
    found = re.match(r"Find (\S+) in the contact book and click on their (\w+)", await goal(hand))
    assert found is not None
    for _ in range(5):
        if await hand.js("document.querySelector('#contact .name').textContent") == found[1]:
            break
        await hand.click_at("#pagination .next a")
    await hand.click_at(f"#contact a.{found[2]}")


async def search(hand: Hand) -> None:
    """A result of a search, by its place."""
    name = (await quoted(hand))[0]
    found = re.search(r"the (\d)\w+ search result", await goal(hand))
    assert found is not None
    number = int(found[1]) - 1
    await hand.fill_at("#search-text", name)
    await hand.click_at("#search")
    if number >= 3:
        await click_text(hand, "#pagination a", str(number // 3 + 1))
    await hand.click_at("#page-content a", number % 3)


async def media(hand: Hand) -> None:
    """A button of one post, some of them in a menu."""
    user, action = await hand.js("[...document.querySelectorAll('#query .bold')].map((one) => one.textContent)")
    number = await place(hand, ".media .username", user)
    name = await hand.js("(label) => Object.keys(ACTIONS).find((key) => ACTIONS[key] === label)", action)
    if name not in {"reply", "retweet", "like"}:
        await hand.click_at(".media .more", number)
    await hand.click_at(f".media .{name}", number)


async def posts(hand: Hand) -> None:
    """A button of all of somebody's posts, or of some."""
    bold = await hand.js("[...document.querySelectorAll('#query .bold')].map((one) => one.textContent)")
    users = await hand.js("[...document.querySelectorAll('.media .username')].map((one) => one.textContent)")
    theirs = [number for number, user in enumerate(users) if user == bold[-1]]
    for number in theirs[: int(bold[1]) if len(bold) == 3 else None]:
        await hand.click_at(f".media .{bold[0].lower()}", number)
    await hand.click_at("#submitRow button")


ORACLES: dict[str, Oracle] = {
    name: answering(script)
    for name, script in {
        "book-flight": flight,
        "book-flight-nodelay": flight,
        "buy-ticket": ticket,
        "navigate-tree": tree,
        "order-food": food,
        "phone-book": phone_book,
        "search-engine": search,
        "social-media": media,
        "social-media-all": posts,
        "social-media-some": posts,
    }.items()
}
