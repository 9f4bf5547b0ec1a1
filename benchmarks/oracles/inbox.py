"""Tasks of e-mail."""

from __future__ import annotations

import re

from branchwise.web.tasks import Hand, Oracle

from .common import answering, goal, place


async def _known(hand: Hand) -> dict[str, str]:
    """Return what is to be done, with whose mail, and with what: as the page's fields say, else as its words do."""
    fields: dict[str, str] | None = await hand.js("core.getUtterance().fields || null")
    text = await goal(hand)
    if fields is not None:
        return {"task": "forward", **fields}
    by = re.search(r"(?:email by|by) (\w+)", text)
    assert by is not None, text
    if said := re.search(r'with the text "(.*)"', text):
        return {"task": "reply", "by": by[1], "message": said[1]}
    if to := re.search(r"forward that email to (\w+)", text):
        return {"task": "forward", "by": by[1], "to": to[1]}
    return {"task": "delete" if "trash" in text else "star", "by": by[1]}


async def mail(hand: Hand) -> None:
    """A mail to be answered, passed on, deleted or marked."""
    known = await _known(hand)
    number = await place(hand, "#main .email-sender", known["by"])
    if known["task"] in {"delete", "star"}:
        await hand.click_at("#main .trash" if known["task"] == "delete" else "#main .star", number)
        return
    await hand.click_at("#main .email-thread", number)
    if known["task"] == "reply":
        await hand.click_at(".email-reply")
        await hand.fill_at("#reply-text", known["message"])
        await hand.click_at("#send-reply")
    else:
        await hand.click_at(".email-forward")
        await hand.fill_at(".forward-sender", known["to"])
        await hand.click_at("#send-forward")


ORACLES: dict[str, Oracle] = {
    name: answering(mail)
    for name in (
        "email-inbox",
        "email-inbox-delete",
        "email-inbox-forward",
        "email-inbox-forward-nl",
        "email-inbox-forward-nl-turk",
        "email-inbox-important",
        "email-inbox-nl-turk",
        "email-inbox-noscroll",
        "email-inbox-reply",
        "email-inbox-star-reply",
    )
}
