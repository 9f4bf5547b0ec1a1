"""`web`: agents that work on pages in a real browser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from ..core.errors import UsageError
from ..core.protocols import Committing, Memory, Model, Strategy, Verifier
from ..core.types import Budget, Recall, Sampling
from ..memory.sites import SiteMemories
from ..tools import Tool
from ..tools.browse import browse, fill_secret
from ..tools.for_good import for_good
from ..web.browser import Browser
from ..web.site import Site
from .acting import Approve
from .agent import Agent, FormName
from .examples import Example
from .prompts import fill

if TYPE_CHECKING:
    from ..web.tasks import WebTask

PAGE_CHARS = 6_000
"""How much of a page a model is shown at a time, unless the browser is given."""

THOUGHT = "at most twelve words: what of the task is still to be done, and what comes next"
"""What a turn says first. A small model that describes the page instead forgets what it is there for."""

RECALL = Recall(k=3, floor=0.05)
"""What is shown of the memory of a site at every step: lines that have something to do with the task or the page."""


def web(
    start: str | Browser | Site | WebTask,
    *,
    model: str | Model,
    name: str = "web",
    instructions: str = "",
    search: Strategy | None = None,
    verifiers: Sequence[Verifier] = (),
    final: Sequence[Verifier] = (),
    tools: Sequence[Any] = (),
    memory: Memory | SiteMemories | None = None,
    examples: Sequence[Example] | None = None,
    irreversible: Literal["ask", "never"] | None = None,
    approve: Approve = "external",
    sampling: Sampling | None = None,
    form: FormName = "auto",
    window: int | None = 1,
    screenshot: bool = False,
    limits: Budget | None = None,
    **settings: Any,
) -> Agent:
    """Return an agent that does on pages what it is told: `await bw.agents.web("https://…", model=...).run("Book a table …")`.

    It is an ordinary `Agent` with the tools `bw.tools.browse`, instructions that small models can follow, and a prompt that shows the page
    as it is now and of earlier ones what was done there. Where the model's form is enforced, it can name only what is on the page,
    and only do to it what can be done. With `search=` its trajectories are searched (Koh et al. 2024, Tree Search for Language Model Agents:
    `bw.search.CommitSearch` or `BestFirst` with `bw.verifiers.web_judge()` for the values).

    On a site that remembers, what cannot be taken back is held (`bw.web.Policy`). The tool `for_good` does such things, once a person has seen
    what they are. Searches that throw branches away do not have it, except `CommitSearch`, which holds it until it commits.

    Args:
        start: an address, a `bw.web.Browser`, a `bw.web.Site` that every branch gets afresh, or a web task, whose goal is yours to pass on.
        model: `provider:model` or a `Model`.
        name: what runs and views call it.
        instructions: what it should know beside how to use pages: about the site, or about you.
        search: strategy; None runs one trajectory.
        verifiers: judges of what it does, such as `bw.verifiers.WebCheck(...)` or `bw.verifiers.web_judge()`.
        final: verifiers that judge the choice at the end only.
        tools: further ones, such as `bw.tools.ask_user`.
        memory: what was learnt about the site in earlier runs: `bw.memory.SiteMemories(folder)`, or any memory.
        examples: solved tasks that the instructions show; one of our own unless given, for models whose form is enforced.
        irreversible: `ask` gives it `for_good`, `never` does not. Unless given, `ask` where the site remembers and the strategy allows it.
        approve: which actions a person has to approve; see `Agent`.
        sampling: how the model is sampled; 200 tokens at a temperature of 0.5 unless given.
        form: how the model says what it does; see `Agent`.
        window: steps of which the prompt shows the whole page; see `Agent`.
        screenshot: show it a picture of the page as well, with the references in it and secrets masked; for models that see.
        limits: what it may spend; see `Agent`.
        **settings: further settings of `bw.web.Browser`, such as `allow`, `secrets`, `policy`, `headed`, where `start` is none.

    Raises:
        UsageError: `start` is none of these, or settings are given beside a browser.
    """
    browser = _browser(start, settings)
    asks = _may_ask(browser, search) if irreversible is None else irreversible == "ask"
    return Agent(
        name=name,
        model=model,
        instructions=_instructions(browser, instructions, examples or (), asks=asks),
        thought=THOUGHT,
        example=fill("web_example") if examples is None else "",
        tools=[*_tools(browser, asks=asks), *tools],
        verifiers=verifiers,
        final=final,
        search=search,
        sandbox=browser,
        memory=_memory(memory, browser),
        recall=None if memory is None else RECALL,
        approve=approve,
        sampling=sampling or Sampling(max_tokens=200, temperature=0.5),
        form=form,
        context="none",
        window=window,
        distinct=True,
        screenshot=screenshot,
        limits=limits,
    )


def _browser(start: str | Browser | Site | WebTask, settings: dict[str, Any]) -> Browser:
    """Return the browser that an agent works in."""
    if isinstance(start, Browser):
        if settings:
            raise UsageError(
                f"the browser is given, so {', '.join(settings)} must be among its own settings: Browser(…)"
            )
        return start
    given: dict[str, Any] = {"limit_chars": PAGE_CHARS, **settings}
    try:
        if isinstance(start, str):
            return Browser(start, **given)
        if isinstance(start, Site):
            return Browser(site=start, **given)
        if hasattr(start, "browser"):
            return start.browser(**given)
    except ValueError as error:
        raise UsageError(f"no browser can be had for {start!r}: {_first_problem(error)}") from error
    raise UsageError(f"start={start!r} is no address, browser, site or web task")


def _first_problem(error: ValueError) -> str:
    """Return what pydantic found wrong, without its own words around it."""
    problems = getattr(error, "errors", None)
    return str(problems()[0]["msg"]).removeprefix("Value error, ") if problems is not None else str(error)


def _memory(memory: Memory | SiteMemories | None, browser: Browser) -> Memory | None:
    if not isinstance(memory, SiteMemories):
        return memory
    if browser.url is None:
        raise UsageError("a bw.web.Site has no fixed address to keep a memory by; name it: memory=memories.of('shop')")
    return memory.of(browser.url)


def _may_ask(browser: Browser, search: Strategy | None) -> bool:
    """Whether what cannot be taken back may be done, if a person allows it: where there is such, and no branch is thrown away with it."""
    if browser.site is not None or search is None or not search.speculative:
        return browser.site is None
    return isinstance(search, Committing) and search.commits


def _tools(browser: Browser, *, asks: bool) -> list[Tool]:
    tools = list(browse)
    if browser.secrets:
        tools.append(fill_secret)
    if asks:
        tools.append(for_good)
    return tools


def _instructions(browser: Browser, own: str, examples: Sequence[Example], *, asks: bool) -> str:
    hints: list[str] = []
    if asks:
        hints.append(
            "- What cannot be taken back (to pay, order, send, delete) is refused at first. Where the task wants it, do it with `for_good`."
        )
    elif browser.site is None:
        hints.append("- What cannot be taken back (to pay, order, send, delete) is refused. Leave it to your user.")
    if browser.secrets:
        hints.append(f"- Secrets for `fill_secret`, by their names: {', '.join(browser.secrets)}.")
    shown = "\n\n".join(example.shown() for example in examples)
    return "\n\n".join(filter(None, [fill("web", hints="\n".join(hints)).rstrip(), shown, own]))
