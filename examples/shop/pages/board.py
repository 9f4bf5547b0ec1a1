"""The message board, where everybody may write what they like."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, HTTPException
from fastapi.responses import Response

from ..state import POST_CHARS, Post, Thread
from ..visit import Visit, Visited

PER_PAGE = 10

router = APIRouter()


@router.get("/board")
async def board(visit: Visited) -> Response:
    """Show all threads."""
    return visit.page("board", threads=visit.state.threads, problem="")


@router.post("/board")
async def begin(visit: Visited, title: Annotated[str, Form()] = "", text: Annotated[str, Form()] = "") -> Response:
    """Begin a thread."""
    owner, threads = visit.owner, visit.state.threads
    if not title.strip() or not text.strip():
        return visit.page("board", threads=threads, problem="A thread needs a title and a text.", status=422)
    thread = Thread(
        max(one.number for one in threads) + 1, title.strip()[:120], [Post(owner.login, text.strip()[:POST_CHARS])]
    )
    threads.append(thread)
    return visit.go(f"/board/{thread.number}")


@router.get("/board/{number}")
async def thread(visit: Visited, number: int, page: int = 1) -> Response:
    """Show a page of a thread."""
    found = _thread(visit, number)
    pages = -(-len(found.posts) // PER_PAGE)
    page = min(max(page, 1), pages)
    first = (page - 1) * PER_PAGE
    shown = list(enumerate(found.posts))[first : first + PER_PAGE]
    return visit.page("thread", thread=found, posts=shown, page=page, pages=pages)


@router.post("/board/{number}")
async def reply(visit: Visited, number: int, text: Annotated[str, Form()] = "") -> Response:
    """Take a reply."""
    owner, found = visit.owner, _thread(visit, number)
    if text.strip():
        found.posts.append(Post(owner.login, text.strip()[:POST_CHARS]))
    return visit.go(f"/board/{number}?page={-(-len(found.posts) // PER_PAGE)}")


@router.post("/board/{number}/{place}/report")
async def report(visit: Visited, number: int, place: int) -> Response:
    """Note that a post does not belong here."""
    found = _thread(visit, number)
    _post(found, place).reported = True
    return visit.go(f"/board/{number}?page={place // PER_PAGE + 1}")


@router.post("/board/{number}/{place}/delete")
async def delete(visit: Visited, number: int, place: int) -> Response:
    """Delete somebody's own post."""
    found = _thread(visit, number)
    if _post(found, place).author != visit.owner.login:
        raise HTTPException(403, "this post is somebody else's")
    del found.posts[place]
    return visit.go(f"/board/{number}")


def _thread(visit: Visit, number: int) -> Thread:
    found = visit.state.thread(number)
    if found is None:
        raise HTTPException(404, "there is no such thread")
    return found


def _post(thread: Thread, place: int) -> Post:
    if not 0 <= place < len(thread.posts):
        raise HTTPException(404, "there is no such post")
    return thread.posts[place]
