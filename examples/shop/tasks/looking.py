"""Tasks of looking for things: in lists, by the search, in another tab, side by side."""

from __future__ import annotations

from branchwise.web.tasks import AnswerIncludes, Hand, Script

from .base import ShopTask, add, carries, numbers, says, show, state


async def _towels(hand: Hand) -> str:
    await hand.fill("Search the shop", "towel", role="searchbox", enter=True)
    prices = {line.split('"')[1]: numbers(line)[-2] for line in hand.page.lines if "Towel" in line}
    return f"{prices['Bath Towel'] + prices['Tea Towel']:.2f} euros"


async def _textiles(hand: Hand) -> str:
    await hand.click("link", "Textiles")
    await hand.fill("At most", "30")
    await hand.check("In stock only")
    await hand.click("button", "Apply")
    return f"{sum(' stars' in line for line in hand.page.lines)} of them"


async def _apron(hand: Hand) -> str:
    await show(hand, "Cotton Apron")
    await hand.click("link", "How to care for it")
    return next(line for line in hand.page.lines if line.startswith("How to care"))


async def _headphones(hand: Hand) -> str:
    await hand.fill("Search the shop", "headphones", role="searchbox", enter=True)
    await hand.click("link", "Kids Headphones")
    await hand.check("blue", role="radio")
    await hand.click("button", "Add to cart")
    return ""


async def _best_garden(hand: Hand) -> str:
    await hand.click("link", "Garden")
    await hand.select("Order", "by rating")
    await hand.fill("At most", "30", enter=True)
    await hand.click("link", "Seed Box")
    await hand.click("button", "Add to cart")
    return ""


async def _last_audio(hand: Hand) -> str:
    await hand.click("link", "Audio")
    await hand.click("link", "Next page")
    await hand.click("link", "Turntable")
    await hand.click("button", "Add to cart")
    return ""


async def _compare(hand: Hand) -> str:
    for name in ("Studio Headphones", "Travel Headphones"):
        await show(hand, name)
        await hand.click("button", "Compare")
    return ""


async def _settings(hand: Hand) -> str:
    await hand.click("link", "Settings")
    await hand.select("Prices in", "kronor")
    await hand.check("Dark colours")
    await hand.click("button", "Save settings")
    return ""


async def _lamp(hand: Hand) -> str:
    await add(hand, "Walnut Desk Lamp")
    return ""


async def _cushion(hand: Hand) -> str:
    await add(hand, "Linen Cushion", colour="green")
    return ""


TASKS = (
    ShopTask(
        "lamp",
        "Put one Walnut Desk Lamp into the cart.",
        carries({"9": 1}),
        _lamp,
        near=lambda shop: shop.cart.update({"9": 2}),
    ),
    ShopTask(
        "green-cushion",
        "Put one Linen Cushion in green into the cart.",
        carries({"41/green": 1}),
        _cushion,
        near=lambda shop: shop.cart.update({"41/rust": 1}),
    ),
    ShopTask(
        "cheapest-headphones",
        "Put the cheapest headphones that the shop has into the cart, in blue.",
        carries({"35/blue": 1}),
        _headphones,
        near=lambda shop: shop.cart.update({"35/yellow": 1}),
    ),
    ShopTask(
        "best-of-garden",
        "Of the garden things that cost at most 30 euros, put the one with the best rating into the cart.",
        carries({"23": 1}),
        _best_garden,
        near=lambda shop: shop.cart.update({"18/green": 1}),
    ),
    ShopTask(
        "last-of-audio",
        "Put the last thing of the audio list into the cart, the list being ordered by name.",
        carries({"39": 1}),
        _last_audio,
        near=lambda shop: shop.cart.update({"33": 1}),
    ),
    ShopTask(
        "two-towels",
        "What do one Bath Towel and one Tea Towel cost together, in euros?",
        state(lambda _, answer: says(answer, 31, 22, 9), "the two cost 31.00"),
        _towels,
        near=lambda _: "22.00 and 9.00",
    ),
    ShopTask(
        "textiles-in-stock",
        "How many textiles are in stock that cost at most 30 euros?",
        state(lambda _, answer: says(answer, 5, 30), "there are 5"),
        _textiles,
        near=lambda _: "6",
    ),
    ShopTask(
        "apron-care",
        "At how many degrees may the Cotton Apron be washed?",
        AnswerIncludes(("40",)),
        _apron,
        near=lambda _: "at 140 degrees",
    ),
    ShopTask(
        "compare-headphones",
        "Put the Studio Headphones and the Travel Headphones on the list of what is compared, and nothing else.",
        Script(
            "JSON.parse(localStorage.getItem('compared') || '[]').sort().join()",
            "33,34",
            "what is compared are not these two",
        ),
        _compare,
        near=lambda _: None,
        near_script="localStorage.setItem('compared', '[33,34,35]')",
    ),
    ShopTask(
        "dark-kronor",
        "Have the shop show its prices in kronor and itself in dark colours.",
        Script(
            "(({currency, dark}) => currency === 'SEK' && dark)(JSON.parse(localStorage.getItem('settings') || '{}'))",
            why="the settings are not these",
        ),
        _settings,
        near=lambda _: None,
        near_script="""localStorage.setItem('settings', '{"currency": "SEK", "dark": false}')""",
    ),
)
