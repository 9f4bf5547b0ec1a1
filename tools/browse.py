"""Tools for the pages of a browser: one for each thing that can be done, offered where the page has something to do it to."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from ..core.errors import ActionFailed, ActionHeld, ToolError
from ..core.protocols import Context
from ..core.types import JSON, ToolSpec
from ..web.actions import (
    Acting,
    Back,
    Check,
    Click,
    Dialog,
    Drag,
    Fill,
    Find,
    Goto,
    Hover,
    Press,
    Read,
    Scroll,
    Select,
    Tab,
    Upload,
    Wait,
)
from ..web.observation import meanings
from .tool import Narrow, Tool, Toolset, tool

if TYPE_CHECKING:
    from ..web.environment import Outcome, WebEnvironment
    from ..web.past import PastStep

STEP_SECONDS = 90.0
"""A step may have to bring its state back first."""

RESULT_CHARS = 16_000
"""A browser cuts its pages by itself, in parts that can be read on; this is more than one part."""

FIELDS = frozenset(
    ("textbox", "searchbox", "combobox", "spinbutton", "slider", "date", "time", "datetime", "month", "week", "color")
)
LISTS = frozenset({"combobox", "listbox"})
WRITTEN = frozenset({"textbox", "searchbox"})
"""Fields that a click does nothing to, unless they are read only and open something."""
BOXES = frozenset({"checkbox", "radio", "switch", "menuitemcheckbox", "menuitemradio"})

NAME_CHARS = 40
"""So much of a thing's name stands in its label."""

_DIALOG = "^a dialog is open"
_MORE = r"^\(\d+ more (above|below): "
_PARTS = rf"{_MORE}|^\(part \d+ of "
_BEFORE = "; done from here before: "
_WORDS = {"check": "tick"}
"""How tools are told of that are not told of by their names."""


def _reference(said: str) -> str:
    """Return the reference in what was said of a thing: `e12`, `[e12]` or its label, which ends with it."""
    return said.rpartition(" ")[2].strip("[]")


def _bare(said: object) -> object:
    return _reference(said) if isinstance(said, str) else said


Ref = Annotated[
    str,
    BeforeValidator(_bare),
    Field(pattern=r"^(f[0-9]+)?e[0-9]+$", description="what, by its reference on the page, such as e12"),
]


def things(seen: str) -> dict[str, str]:
    """Return the references in what was shown, each with what is said of it: its role, name or looks; empty where nothing is."""
    return {ref: meaning.replace('\\"', "'").replace('"', "") for ref, meaning in meanings(seen.splitlines()).items()}


def label(ref: str, meaning: str) -> str:
    """Return how a model that must choose from a list names a thing: `Cart (0) link e4`.

    A small model finds what it looks for by its name; of bare references it takes the first that comes, and of labels that begin with roles
    a link, since most things are links.
    """
    role, _, name = meaning.partition(" ")
    return f"{name[:NAME_CHARS]} {role} {ref}".strip()


def _role(meaning: str) -> str:
    return meaning.partition(" ")[0]


def among(roles: frozenset[str] | None = None, *, but: frozenset[str] = frozenset()) -> Narrow:
    """Return what narrows a tool to the things that were shown: of some roles, or all; no tool where there are none.

    A small model that must choose from a list cannot name what is not there, and a tool is not used on the same thing twice from the
    same state while there is another one for it, by other trajectories or earlier in its own: a form whose second field was tried
    first is begun with its first one by the next.

    Args:
        roles: roles of what its argument `ref` may name; None for any.
        but: roles of what its argument `ref` had better not name while there is anything else.

    A tool for some roles is not offered where all such things were used; one for any thing is, for there has to be something.
    """

    def narrow(spec: ToolSpec, seen: str, tried: Sequence[Mapping[str, JSON]]) -> ToolSpec | None:
        known = things(seen)
        fitting = [ref for ref, meaning in known.items() if roles is None or _role(meaning) in roles]
        fitting = [ref for ref in fitting if _role(known[ref]) not in but or _read_only(ref, seen)] or fitting
        done = {_bare(call.get("ref")) for call in tried}
        before = seen.partition("\n")[0].partition(_BEFORE)[2]
        fresh = [ref for ref in fitting if ref not in done and not _was_done(spec.name, known[ref], before)]
        fitting = fresh or ([] if roles else fitting)  # something can always be clicked on
        if not fitting:
            return None
        named: JSON = {"enum": [label(ref, known[ref]) for ref in fitting]}
        properties = {**spec.parameters["properties"], "ref": named}
        return replace(spec, parameters={**spec.parameters, "properties": properties})

    return narrow


def _read_only(ref: str, seen: str) -> bool:
    return re.search(rf"\[{ref}\][^\[\n]*\breadonly\b", seen) is not None


def _was_done(tool: str, meaning: str, before: str) -> bool:
    """Whether a tool was used on a thing, going by the words in which that is told."""
    role, _, name = meaning.partition(" ")
    return bool(name) and f"{_WORDS.get(tool, tool)} {role} {name!r}" in before


def where(shown: str) -> Narrow:
    """Return what offers a tool only where a regular expression finds something in what was shown."""
    return lambda spec, seen, _tried: spec if re.search(shown, seen, re.MULTILINE) else None


def listed(spec: ToolSpec, seen: str, tried: Sequence[Mapping[str, JSON]]) -> ToolSpec | None:
    """Narrow the choice from lists to the lists that were shown, and to one option where each of them takes one."""
    narrowed = among(LISTS)(spec, seen, tried)
    if narrowed is None:
        return None
    properties: dict[str, JSON] = dict(narrowed.parameters["properties"])
    if among(frozenset({"listbox"}))(spec, seen, tried) is None:
        properties["options"] = {**properties["options"], "minItems": 1, "maxItems": 1}
    return replace(narrowed, parameters={**narrowed.parameters, "properties": properties})


def later(spec: ToolSpec, seen: str, tried: Sequence[Mapping[str, JSON]]) -> ToolSpec | None:  # noqa: ARG001 - a `Narrow`
    """Offer a tool once something was done: at first, what is shown begins with the page's address."""
    return None if re.match(r"(https?|file):", seen) else spec


def nowhere(spec: ToolSpec, seen: str, tried: Sequence[Mapping[str, JSON]]) -> ToolSpec | None:  # noqa: ARG001 - a `Narrow`
    """Offer a tool to models with a call form of their own only: small ones take it where it does not fit."""
    return None


def _browses(
    narrow: Narrow | None = None, *, pure: bool = False, seldom: bool = False
) -> Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a function that acts on pages."""

    def make(function: Callable[..., Any]) -> Tool:
        made = tool(effects="pure" if pure else "sandbox", timeout=STEP_SECONDS)(function)
        return replace(made, narrow=narrow, result_chars=RESULT_CHARS, seldom=seldom)

    return make


@_browses(among(but=WRITTEN))
async def click(ctx: Context, ref: Ref) -> str:
    """Click on something.

    Args:
        ref: what, by its reference on the page, such as e12
    """
    return await acted(ctx, Click(ref=ref))


@_browses(nowhere, seldom=True)
async def double_click(ctx: Context, ref: Ref) -> str:
    """Click on something twice.

    Args:
        ref: what
    """
    return await acted(ctx, Click(ref=ref, double=True))


@_browses(among(FIELDS))
async def fill(ctx: Context, ref: Ref, text: str, enter: bool = False) -> str:
    """Put text into a field; what was in it goes.

    Args:
        ref: the field
        text: the text
        enter: press Enter afterwards
    """
    return await acted(ctx, Fill(ref=ref, text=text, enter=enter))


@_browses(among(FIELDS))
async def fill_secret(ctx: Context, ref: Ref, secret: str) -> str:
    """Put a secret into a field, by its name. Nobody sees the secret itself.

    Args:
        ref: the field
        secret: the secret's name
    """
    return await acted(ctx, Fill(ref=ref, secret=secret))


@_browses(listed)
async def select(ctx: Context, ref: Ref, options: list[str]) -> str:
    """Choose options of a list by their labels.

    Args:
        ref: the list
        options: one label, or several where the list takes several
    """
    if not options:
        raise ToolError("no option was named; name at least one of the list's labels")
    return await acted(ctx, Select(ref=ref, options=tuple(options)))


@_browses(among(BOXES))
async def check(ctx: Context, ref: Ref, on: bool = True) -> str:
    """Tick a checkbox, switch or radio button, or take the tick away.

    Args:
        ref: the box
        on: whether it is to be ticked
    """
    return await acted(ctx, Check(ref=ref, on=on))


@_browses(nowhere, seldom=True)
async def press(ctx: Context, keys: Annotated[str, Field(min_length=1, max_length=40)]) -> str:
    """Press a key or a combination.

    Args:
        keys: such as Enter, Escape, ArrowDown or Control+a
    """
    return await acted(ctx, Press(keys=keys))


@_browses(where(_MORE), seldom=True)
async def scroll(ctx: Context, direction: Literal["down", "up", "left", "right"] = "down") -> str:
    """Scroll the page by a screen.

    Args:
        direction: where to
    """
    return await acted(ctx, Scroll(direction=direction))


@_browses(nowhere, seldom=True)
async def hover(ctx: Context, ref: Ref) -> str:
    """Move the pointer over something.

    Args:
        ref: what
    """
    return await acted(ctx, Hover(ref=ref))


@_browses(nowhere, seldom=True)
async def drag(ctx: Context, ref: Ref, to: Ref) -> str:
    """Drag something onto something else.

    Args:
        ref: what is dragged
        to: where it is dropped
    """
    return await acted(ctx, Drag(ref=ref, to=to))


@_browses(among(frozenset({"file"})), seldom=True)
async def upload(ctx: Context, ref: Ref, path: str) -> str:
    """Give a file of the work space to a file field.

    Args:
        ref: the field
        path: path relative to the work space
    """
    return await acted(ctx, Upload(ref=ref, paths=(path,)))


@_browses(nowhere, seldom=True)
async def goto(ctx: Context, url: Annotated[str, Field(min_length=1, max_length=2000)]) -> str:
    """Open an address.

    Args:
        url: the whole address, http or https
    """
    return await acted(ctx, Goto(url=url))


@_browses(later)
async def back(ctx: Context) -> str:
    """Go back to the page before."""
    return await acted(ctx, Back())


@_browses(where(r"^tab \d+ of \d+: "), seldom=True)
async def tab(ctx: Context, number: Annotated[int, Field(ge=1, le=20)], close: bool = False) -> str:
    """Go to another tab, or close it.

    Args:
        number: the tab's number
        close: close it instead
    """
    return await acted(ctx, Tab(number=number, close=close))


@_browses(where(_DIALOG), seldom=True)
async def dialog(ctx: Context, accept: bool, text: str = "") -> str:
    """Answer a dialog that the page has opened.

    Args:
        accept: yes, or no
        text: what is typed where it asks for text
    """
    return await acted(ctx, Dialog(accept=accept, text=text))


@_browses(nowhere, seldom=True)
async def wait(ctx: Context, text: Annotated[str, Field(max_length=200)]) -> str:
    """Wait until a text appears on the page, for some seconds at most.

    Args:
        text: the text
    """
    return await acted(ctx, Wait(text=text, seconds=5.0))


@_browses(where(_PARTS), pure=True, seldom=True)
async def read(ctx: Context, part: Annotated[int, Field(ge=1, le=200)] = 1) -> str:
    """Read the whole page, also what is out of view, in parts.

    Args:
        part: which part
    """
    return told(await pages_of(ctx).act(Read(part=part)), f"read part {part} of the page")


@_browses(where(_PARTS), pure=True, seldom=True)
async def find(ctx: Context, text: Annotated[str, Field(min_length=1, max_length=200)]) -> str:
    """Find a text anywhere on the page.

    Args:
        text: the text
    """
    env = pages_of(ctx)
    return f"{told(await env.act(Find(text=text)), f'looked for {text!r}')}\n{await _page(env)}"


browse = Toolset(
    "browse",
    (
        click,
        double_click,
        fill,
        select,
        check,
        press,
        scroll,
        hover,
        drag,
        upload,
        goto,
        back,
        tab,
        dialog,
        wait,
        read,
        find,
    ),
)
"""See pages and act on them, in an agent whose sandbox is `bw.web.Browser`."""


# --- what is told -----------------------------------------------------------------------------------------------------


def pages_of(ctx: Context) -> WebEnvironment:
    """Return the pages that a tool call works on; Playwright, which takes its time to load, is there by then."""
    from ..web.environment import pages

    return pages(ctx)


async def acted(ctx: Context, action: Acting, *, final: bool = False) -> str:
    """Do an action and return what a model is told: in the first line what was done and where that led, then the page.

    Args:
        ctx: of the tool call.
        action: what is done.
        final: whether it may be what cannot be taken back.

    Raises:
        ActionFailed: it could not be done.
        ActionHeld: it cannot be taken back, and is not to be.
    """
    env = pages_of(ctx)
    before = await env.observe()  # what has changed is told against this, and errors name what was there
    try:
        outcome = await env.act(action, final=final)
    except ActionHeld as error:
        hint = "by for_good, where there is such a tool and the task wants it"
        raise ActionHeld(f"{error}: {hint}\n{await _page(env)}") from error
    except ActionFailed as error:
        raise ActionFailed(f"{error}\n{await _page(env)}") from error
    after, place = outcome.observation, env.place
    led = "" if after is None or after.url == before.url else f", which led to {after.url[:120]}"
    done = env.done_here
    again = f"{_BEFORE}{', '.join(done)}" if done else ""
    return told(outcome, f"{place.action if place is not None else action.do}{led}{circled(env.history)}{again}")


async def _page(env: WebEnvironment) -> str:
    """Return the page after something that was not done: a prompt may show nothing from before it."""
    return (await env.observe()).text


def circled(history: Sequence[PastStep]) -> str:
    """Return a word for who goes in circles, or presses what does nothing; empty where the page is a new one."""
    prints = [step.fingerprint for step in history]
    if len(prints) < 2 or prints[-1] not in prints[:-1]:
        return ""
    since = len(prints) - 1 - prints.index(prints[-1])
    return "; nothing has changed" if prints[-1] == prints[-2] else f"; the page is again what it was {since} steps ago"


def told(outcome: Outcome, first: str) -> str:
    """Return what a model is told: a first line, and what came of it."""
    page = "" if outcome.observation is None else outcome.observation.text
    return "\n".join(filter(None, [first, outcome.text, page]))
