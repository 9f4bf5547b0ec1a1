"""Writing to the shop: a long form."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import Response

from ..state import Letter
from ..visit import Visited

TOPICS = ("Delivery", "Return", "Workshops", "Something else")
REPLIES = ("email", "phone", "none")

router = APIRouter()


@router.get("/contact")
async def contact(visit: Visited) -> Response:
    """Show the form."""
    return visit.page(
        "contact", topics=TOPICS, replies=REPLIES, letter=Letter("", "", "", copy=False, reply_by=""), problem=""
    )


@router.post("/contact")
async def send(
    visit: Visited,
    *,
    topic: Annotated[str, Form()] = "",
    email: Annotated[str, Form()] = "",
    text: Annotated[str, Form()] = "",
    want_copy: Annotated[str, Form()] = "",
    reply_by: Annotated[str, Form()] = "",
) -> Response:
    """Take a letter."""
    letter = Letter(topic, email.strip(), text.strip(), bool(want_copy), reply_by)
    problem = ""
    if topic not in TOPICS:
        problem = "Choose a topic."
    elif "@" not in letter.email:
        problem = "That is no e-mail address."
    elif reply_by not in REPLIES:
        problem = "Say how we are to reply."
    elif len(letter.text) < 10:
        problem = "Please write at least ten characters."
    if problem:
        return visit.page("contact", topics=TOPICS, replies=REPLIES, letter=letter, problem=problem, status=422)
    visit.state.letters.append(letter)
    return visit.page("sent", letter=letter)
