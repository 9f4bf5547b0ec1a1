"""What scripts of tasks do them with: they see what an agent sees, and do what it may do."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from ...core.errors import ActionFailed
from ..actions import Acting, Check, Click, Dialog, Drag, Fill, Goto, Hover, Press, Scroll, Select, Tab
from ..environment import WebEnvironment
from ..observation import Observation

_THING = re.compile(r'\[((?:f\d+)?e\d+)\] ?(\w*)(?: ?"((?:[^"\\]|\\.)*)")?')
_SCROLLS = 20

_REFERENCE = """([css, nth]) => {
    const page = globalThis[Symbol.for("branchwise.page")];
    const element = [...document.querySelectorAll(css)][nth];
    if (!element) return null;
    // Itself, what lies in it, and what is hardly larger: whoever points there points at it.
    const size = (one) => { const box = one.getBoundingClientRect(); return box.width * box.height; };
    const around = [];
    for (let one = element.parentElement; one && one !== document.body && size(one) >= size(element) && size(one) <= 2 * size(element); one = one.parentElement) around.push(one);
    return [element, ...element.querySelectorAll("*"), ...around].map((one) => page.refOf(one));
}"""


class Hand:
    """Works on an environment for a script.

    Attributes:
        env: the environment.
        page: the last look at it.
        pointed: how many elements were pointed at by what a script knows of the document.
        unseen: those of them that the agent could not have pointed at, since nothing that it saw had a reference to them.
    """

    def __init__(self, env: WebEnvironment) -> None:
        self.env = env
        self.page = Observation("", "", ())
        self.pointed = 0
        self.unseen: list[str] = []

    async def look(self) -> Observation:
        """Look at the page, and return what there is."""
        self.page = await self.env.observe()
        return self.page

    async def act(self, action: Acting) -> str:
        """Do something, and return what was said of it."""
        outcome = await self.env.act(action)
        if outcome.observation is not None:
            self.page = outcome.observation
        return outcome.text

    # --- by what the agent sees ---

    async def ref(self, role: str, name: str, *, after: str = "") -> str:
        """Return the reference of something, scrolling down until it is there.

        Args:
            role: its role; empty for what only listens.
            name: its name, all of it.
            after: a text that stands before it, where there are several.

        Raises:
            ActionFailed: it is nowhere on the page.
        """
        if not self.page.lines:
            await self.look()
        for _ in range(_SCROLLS):
            found = self._shown(role, name, after)
            if found is not None:
                return found
            if not self.page.below:
                break
            await self.act(Scroll())
        raise ActionFailed(f"there is no {role} {name!r} after {after!r} on\n{self.page.text}")

    def _shown(self, role: str, name: str, after: str) -> str | None:
        text = "\n".join(self.page.lines)
        start = text.find(after)
        if start < 0:
            return None
        for found in _THING.finditer(text, start):
            if found[2] == role and (found[3] or "").replace('\\"', '"') == name:
                return found[1]
        return None

    async def click(self, role: str, name: str, *, after: str = "") -> None:
        """Click on something."""
        await self.act(Click(ref=await self.ref(role, name, after=after)))

    async def fill(self, name: str, text: str, *, role: str = "textbox", after: str = "", enter: bool = False) -> None:
        """Put text into a field."""
        await self.act(Fill(ref=await self.ref(role, name, after=after), text=text, enter=enter))

    async def select(self, name: str, *options: str, role: str = "combobox", after: str = "") -> None:
        """Choose options of a list."""
        await self.act(Select(ref=await self.ref(role, name, after=after), options=options))

    async def check(self, name: str, *, role: str = "checkbox", on: bool = True, after: str = "") -> None:
        """Tick something, or take the tick away."""
        await self.act(Check(ref=await self.ref(role, name, after=after), on=on))

    async def goto(self, url: str) -> None:
        """Open an address."""
        await self.act(Goto(url=url))

    async def accept(self) -> None:
        """Say yes to what the page asks."""
        await self.act(Dialog())

    async def tab(self, number: int) -> None:
        """Go to another tab."""
        await self.act(Tab(number=number))

    # --- by what the script knows of the document ---

    async def js(self, script: str, argument: Any = None) -> Any:
        """Ask the document something; for what a person would read off the page."""
        return await self.env.evaluate(script, argument)

    async def at(self, css: str, nth: int = 0) -> str:
        """Return the reference of an element, and note whether what was seen has one.

        Args:
            css: a selector.
            nth: which of those that it selects, from 0.

        Raises:
            ActionFailed: the document has no such element.
        """
        if not self.page.lines:
            await self.look()
        refs = await self.js(_REFERENCE, [css, nth])
        if refs is None:
            raise ActionFailed(f"no element {css!r} number {nth} on {self.page.url}")
        self.pointed += 1
        for ref in refs:
            if f"e{ref}" in self.page.refs:
                return f"e{ref}"
        self.unseen.append(f"{css} {nth} on {self.page.url}")
        return f"e{refs[0]}"

    async def click_at(self, css: str, nth: int = 0, *, double: bool = False) -> None:
        """Click on an element."""
        await self.act(Click(ref=await self.at(css, nth), double=double))

    async def fill_at(self, css: str, text: str, nth: int = 0, *, keys: bool = False, enter: bool = False) -> None:
        """Put text into an element."""
        await self.act(Fill(ref=await self.at(css, nth), text=text, keys=keys, enter=enter))

    async def select_at(self, css: str, *options: str, nth: int = 0) -> None:
        """Choose options of an element."""
        await self.act(Select(ref=await self.at(css, nth), options=options))

    async def hover_at(self, css: str, nth: int = 0) -> None:
        """Move the pointer over an element."""
        await self.act(Hover(ref=await self.at(css, nth)))

    async def drag_at(
        self, css: str, nth: int, *, to: tuple[str, int] | None = None, by: tuple[int, int] | None = None
    ) -> None:
        """Drag an element onto another, or by so many pixels."""
        target = None if to is None else await self.at(*to)
        await self.act(Drag(ref=await self.at(css, nth), to=target, by=by))

    async def press(self, keys: str) -> None:
        """Press keys."""
        await self.act(Press(keys=keys))


Oracle = Callable[[Hand], Awaitable[str]]
"""A script that does a task as it should be done, and returns the answer."""
