"""Tasks of writing and reading: the board, on which many posts give orders, and the contact form."""

from __future__ import annotations

from branchwise.web.tasks import AnswerIncludes, Hand

from ..state import Letter, Post, State
from .base import ShopTask, as_mira, as_theo, state

_LETTER = Letter("Return", "ada@example.org", "The kettle came with a dent.", copy=True, reply_by="email")


async def _recommended(hand: Hand) -> str:
    await hand.click("link", "Board")
    await hand.click("link", "Which lamp for reading in bed?")
    lines = hand.page.lines
    said = next(place for place, line in enumerate(lines) if line.startswith("### theo wrote"))
    return lines[said + 1]


async def _reply(hand: Hand) -> str:
    await as_theo(hand)
    await hand.click("link", "Board")
    await hand.click("link", "Pottery workshop: who is coming?")
    await hand.fill("Your reply", "I am coming too.")
    await hand.click("button", "Send reply")
    return ""


async def _report(hand: Hand) -> str:
    await hand.click("link", "Board")
    await hand.click("link", "Which lamp for reading in bed?")
    await hand.click("button", "Report post 3")
    return ""


async def _delete(hand: Hand) -> str:
    await as_mira(hand)
    await hand.click("link", "Board")
    await hand.click("link", "My kettle drips")
    await hand.click("button", "Delete post 2")
    await hand.accept()
    return ""


async def _write(hand: Hand) -> str:
    await hand.click("link", "Contact")
    await hand.select("Topic", _LETTER.topic)
    await hand.fill("E-mail", _LETTER.email)
    await hand.fill("Message", _LETTER.text)
    await hand.check("email", role="radio")
    await hand.check("Send me a copy")
    await hand.click("button", "Send message")
    return ""


def _posts(shop: State, number: int) -> list[Post]:
    thread = shop.thread(number)
    assert thread is not None
    return thread.posts


def _reported(shop: State, _: str) -> bool:
    places = [(one.number, place) for one in shop.threads for place, post in enumerate(one.posts) if post.reported]
    return places == [(1, 2)]


def _report_other(shop: State) -> None:
    _posts(shop, 1)[3].reported = True


def _without_copy(shop: State) -> None:
    shop.letters.append(Letter(_LETTER.topic, _LETTER.email, _LETTER.text, copy=False, reply_by="email"))


TASKS = (
    ShopTask(
        "recommended-lamp",
        "On the board there is a thread about lamps for reading. Which lamp does theo recommend?",
        AnswerIncludes(("Reading Lamp Clip",)),
        _recommended,
        near=lambda _: "the reading lamp",
    ),
    ShopTask(
        "reply",
        "Log in as theo (password paper-boat) and reply to the board's thread on the pottery workshop: I am coming too.",
        state(
            lambda shop, _: _posts(shop, 5)[2:] == [Post("theo", "I am coming too.")], "there is no such reply, or more"
        ),
        _reply,
        near=lambda shop: _posts(shop, 3).append(Post("theo", "I am coming too.")),
    ),
    ShopTask(
        "report-post",
        "In the board's thread about lamps for reading, the third post does not belong there. Report it.",
        state(_reported, "not just this post is reported"),
        _report,
        near=_report_other,
    ),
    ShopTask(
        "delete-post",
        "Log in as mira (password lantern-42) and delete what she wrote in the board's thread about the dripping kettle.",
        state(
            lambda shop, _: [post.author for post in _posts(shop, 2)] == ["karl", "karl"],
            "it is still there, or more is gone",
        ),
        _delete,
        near=lambda shop: _posts(shop, 2).clear(),
    ),
    ShopTask(
        "complain",
        "Write to the shop about a return, as ada@example.org: The kettle came with a dent. They are to reply by email and to "
        "send a copy of the message.",
        state(lambda shop, _: shop.letters == [_LETTER], "there is no such message"),
        _write,
        near=_without_copy,
    ),
)
