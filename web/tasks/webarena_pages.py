"""What WebArena's tasks ask of pages: where to look, what to look at, and what must be in it."""

from __future__ import annotations

import ast
import html
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, model_validator

from ...core.errors import ActionFailed, UsageError
from ..actions import Goto
from ..environment import WebEnvironment
from .checks import mentions, plain
from .task import DONE, Ending, Mark

Helper = Callable[..., Awaitable[str]]
"""Takes the page and the texts that a file gives, and returns a text: what is on the page, or an address."""

_EITHER = " |OR| "
_LAST = "__last_url__"


class Contents(BaseModel):
    """What must be in what is looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    exact_match: str | None = None
    must_include: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _wants_something(self) -> Contents:
        if self.exact_match is None and self.must_include is None:
            raise ValueError("it names neither exact_match nor must_include")
        return self

    def mark(self, text: str) -> Mark:
        """Return what a text is worth."""
        wanted = [] if self.exact_match is None else [plain(text) == plain(self.exact_match)]
        wanted += [any(mentions(text, one) for one in either.split(_EITHER)) for either in self.must_include or ()]
        if all(wanted):
            return DONE
        missing = self.exact_match if self.exact_match is not None else self.must_include
        return Mark(sum(wanted) / len(wanted), f"{missing!r} is not in {text[:80]!r}")


@dataclass(frozen=True, slots=True)
class Call:
    """A helper's call, as a file has it."""

    helper: Helper
    arguments: tuple[str, ...]


def parse_call(text: str, helpers: Mapping[str, Helper]) -> str | Call:
    """Return what a file says in the place of an address or a locator: a text as it is, or the call of a helper.

    Calls look like Python, `func:helper('text')`. They are read, not run: a name that is known, and texts.

    Raises:
        UsageError: it is no such call, or the helper is not known.
    """
    if not text.startswith("func:"):
        return text
    try:
        call = ast.parse(text.removeprefix("func:").strip(), mode="eval").body
    except SyntaxError as error:
        raise UsageError(f"{text!r} is no call of a helper: {error.msg}") from error
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.keywords:
        raise UsageError(f"{text!r} is no call of a helper, such as func:reddit_get_post_url('{_LAST}')")
    if call.func.id not in helpers:
        raise UsageError(
            f"the helper {call.func.id!r} is not known; give it by helpers={{...}}. Known are: {', '.join(sorted(helpers))}"
        )
    arguments: list[str] = []
    for argument in call.args:
        match argument:
            case ast.Constant(value=str() as value):
                arguments.append(value)
            case ast.Name(id="__page__"):
                continue  # helpers get it anyway
            case _:
                raise UsageError(f"{text!r} gives a helper something else than texts: {ast.unparse(argument)}")
    return Call(helpers[call.func.id], tuple(arguments))


@dataclass(frozen=True, slots=True)
class PageHas:
    """Something is on a page.

    Args:
        url: the page; empty for the one in front.
        locator: what to look at: a JavaScript expression that begins with `document`, a helper, or nothing for all of it.
        contents: what must be there.
        before: JavaScript that is run first; where it fails that is no matter.
    """

    url: str | Call
    locator: str | Call
    contents: Contents
    before: tuple[str, ...] = ()

    async def __call__(self, ending: Ending, /) -> Mark:
        """Return whether it is there. Leaves the page."""
        env = ending.env
        if self.url:
            url = await _called(env, self.url) if isinstance(self.url, Call) else self.url
            try:
                await env.act(Goto(url=url))
            except ActionFailed as error:
                return Mark(0.0, str(error))
        return self.contents.mark(html.unescape(await self._text(env)))

    async def _text(self, env: WebEnvironment) -> str:
        if isinstance(self.locator, Call):
            return await _called(env, self.locator)
        for script in self.before:
            await _text_of(env, script)
        return await _text_of(env, self.locator.strip() or "document.documentElement.outerHTML")


async def _text_of(env: WebEnvironment, script: str) -> str:
    """Return what an expression gives as text; nothing where it fails: the page is another one than was expected."""
    try:
        value = await env.evaluate(f"() => {script}")
    except ActionFailed:
        return ""
    return "" if value is None else str(value)


async def _called(env: WebEnvironment, call: Call) -> str:
    url = (await env.observe()).url
    return await call.helper(env, *(argument.replace(_LAST, url) for argument in call.arguments))


async def reddit_get_post_url(env: WebEnvironment, url: str) -> str:
    """Return the address of the post that a page of the forum belongs to; any other address as it is."""
    del env
    parts = urlsplit(url)
    names = [part for part in parts.path.split("/") if part]
    if len(names) < 3 or names[0] != "f":
        return url
    return f"{parts.scheme}://{parts.netloc}/f/{names[1]}/{names[2]}/"


async def gitlab_get_project_memeber_role(env: WebEnvironment, account: str) -> str:
    """Return the role of somebody on the page of a project's members; nothing where they are not on it."""
    rows = await env.evaluate(
        """() => [...document.querySelectorAll("tr")].map((row) => [
            row.querySelector("td[data-label='Account'] span.gl-avatar-labeled-sublabel")?.outerText,
            row.querySelector("td.col-max-role span")?.outerText,
        ])"""
    )
    return next((role or "" for name, role in rows if name == f"@{account}"), "")


HELPERS: Mapping[str, Helper] = {
    "reddit_get_post_url": reddit_get_post_url,
    "gitlab_get_project_memeber_role": gitlab_get_project_memeber_role,  # spelt as the files spell it
}
