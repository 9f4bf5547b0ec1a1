"""Doing things on pages: each action by the pointer and the keys that a person would use."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from playwright.async_api import ElementHandle, Error, FilePayload

from ..core.errors import ActionFailed
from .actions import (
    Acting,
    Back,
    Check,
    Click,
    Dialog,
    Drag,
    Fill,
    Goto,
    Hover,
    Press,
    Scroll,
    Select,
    Tab,
    Upload,
    Wait,
)
from .chromium import new_page
from .live import Live, PageStuck
from .script import ELEMENT
from .settling import Patience
from .targets import Found, find, point_of

_DRAG_STEPS = 8
_POINTINGS_MOST = 20
"""So often a pointer is moved to where an element is, before it is pressed all the same."""
_WAIT_LOOKS_SECONDS = 0.1


@dataclass(frozen=True)
class Hands:
    """What acts on one context.

    Args:
        live: the context.
        patience: how long pages are waited for.
        secret: returns a secret's value for a page, or raises ActionFailed.
        check_url: raises ActionFailed for an address that may not be opened.
        file: returns a file of the work space, or raises ActionFailed.
    """

    live: Live
    patience: Patience
    secret: Callable[[str, str], str]
    check_url: Callable[[str], None]
    file: Callable[[str], Awaitable[bytes]]

    async def aim(self, action: Acting, known: Mapping[str, str]) -> Found | None:
        """Return what an action is about; None where it is about the page.

        Raises:
            ActionFailed: it is not there, or cannot be reached.
        """
        if self.live.dialog is not None and not isinstance(action, Dialog):
            raise ActionFailed("a dialog is open, and the page waits for it: answer it by the action dialog")
        ref = getattr(action, "ref", None)
        if ref is None:
            return await self._focused() if isinstance(action, Press) else None
        point = isinstance(action, Click | Check | Hover | Drag)
        return await find(self.live, ref, known, point=point, enabled=not isinstance(action, Hover | Scroll))

    async def _focused(self) -> Found | None:
        """Return what has the focus, for whoever has to know what a key would do."""
        frame = self.live.page.main_frame
        number = await self.live.call(frame, "focusedRef")
        return None if number is None else await find(self.live, f"e{number}", {}, point=False, enabled=False)

    async def do(self, action: Acting, found: Found | None, known: Mapping[str, str]) -> str:
        """Do an action, and return what is to be said of it beside what the page shows.

        Raises:
            ActionFailed: it could not be done.
            SandboxLost: the browser is gone.
        """
        self.live.arrivals_counted()
        try:
            return await self._do(action, found, known)
        except TimeoutError:
            seconds = self.patience.action_seconds
            raise ActionFailed(
                f"{action.do}: the page does not react within {seconds:g} s; its scripts are busy"
            ) from None
        except PageStuck:
            return ""  # it went elsewhere while it was acted on: what is there now is what counts
        except Error as error:
            self.live.check(error)
            raise ActionFailed(f"{action.do}: {error.message.partition(chr(10))[0][:200]}") from error

    async def _do(self, action: Acting, found: Found | None, known: Mapping[str, str]) -> str:
        match action:
            case Goto():
                self.check_url(action.url)
                await self.live.goto(action.url, timeout_seconds=self.patience.load_seconds)
            case Back():
                await self._back()
            case Tab():
                await self._tab(action)
            case Dialog():
                return await self._dialog(action)
            case Wait():
                return await self._wait(action)
            case Press():
                if found is not None and action.ref is not None:
                    await self.live.call(found.frame, "focusOn", found.number)
                await self._reacting(self.live.page.keyboard.press(action.keys))
            case Scroll():
                return await self._scroll(action, found)
            case Upload():
                return await self._upload(action, found)
            case _:
                assert found is not None  # these name what they are about
                return await self._on(action, found, known)
        return ""

    async def _on(
        self, action: Click | Fill | Select | Check | Hover | Drag, found: Found, known: Mapping[str, str]
    ) -> str:
        mouse = self.live.page.mouse
        match action:
            case Click():
                x, y = await self._reached(found, known)
                await self._reacting(mouse.click(x, y, button=action.button, click_count=2 if action.double else 1))
            case Hover():
                x, y = await point_of(found)
                await self._reacting(mouse.move(x, y))
            case Check():
                return await self._check_box(action, found, known)
            case Fill():
                return await self._fill(action, found)
            case Select():
                return await self._select(action, found)
            case Drag():
                await self._drag(action, found, known)
        return ""

    async def _reached(self, found: Found, known: Mapping[str, str]) -> tuple[float, float]:
        """Move the pointer to an element and return where it is, once pressing there would press that element.

        Things change when a pointer comes over them: a picture that stands for the element has to be loaded first, a menu opens
        above it. Whoever presses in the same instant presses something else, and at another time not.

        Raises:
            ActionFailed: something has come over it.
        """
        x = y = 0.0
        for attempt in range(_POINTINGS_MOST):
            if attempt == _POINTINGS_MOST // 2:
                found = await find(
                    self.live, found.ref, known, point=True
                )  # another spot of it, or what is above it in words
            x, y = await point_of(found)
            # Again at the same place, too: the browser may not have noticed yet that what is under the pointer has grown back.
            await self._reacting(self.live.page.mouse.move(x, y))
            if self.live.dialog is not None:
                break
            spot = (found.told["x"], found.told["y"])
            if await self.live.call(found.frame, "reached", found.number, *spot) is not False:
                break
        return x, y

    async def _reacting(self, work: Awaitable[Any]) -> None:
        await self.live.unless_dialog(work, self.patience.action_seconds)

    async def _back(self) -> None:
        page = self.live.page
        if await page.go_back(wait_until="commit", timeout=self.patience.load_seconds * 1000) is None:
            depth = await page.evaluate("history.length")
            if depth <= 1:
                raise ActionFailed("there is no page before this one")

    async def _tab(self, action: Tab) -> None:
        live = self.live
        if action.number is not None and action.number > len(live.pages):
            raise ActionFailed(f"there is no tab {action.number}; there are {len(live.pages)}")
        if action.number is None:
            if action.close:
                raise ActionFailed("say which tab is to be closed: its number")
            await new_page(live.context, self.patience.action_seconds)  # the context tells of it
            return
        page = live.pages[action.number - 1]
        if not action.close:
            live.active = action.number - 1
            await page.bring_to_front()
            return
        if len(live.pages) == 1:
            raise ActionFailed("this is the last tab; it stays")
        await page.close()

    async def _dialog(self, action: Dialog) -> str:
        dialog, self.live.dialog = self.live.dialog, None
        if dialog is None:
            raise ActionFailed("no dialog is open")
        answer = dialog.accept(action.text) if action.accept and dialog.type == "prompt" else None
        await self._reacting(answer or (dialog.accept() if action.accept else dialog.dismiss()))
        return f"the {dialog.type} was {'accepted' if action.accept else 'dismissed'}"

    async def _wait(self, action: Wait) -> str:
        clock = asyncio.get_running_loop().time
        deadline = clock() + action.seconds
        while action.text and clock() < deadline:
            if not await self.live.call(self.live.page.main_frame, "lacks", action.text):
                return f"{action.text!r} is there"
            await asyncio.sleep(_WAIT_LOOKS_SECONDS)
        if action.text:
            return f"{action.text!r} has not appeared within {action.seconds:g} s"
        await asyncio.sleep(action.seconds)
        return ""

    async def _scroll(self, action: Scroll, found: Found | None) -> str:
        steps = {"down": (0, 1), "up": (0, -1), "right": (1, 0), "left": (-1, 0)}[action.direction]
        frame = self.live.page.main_frame if found is None else found.frame
        number = None if found is None else found.number
        far = [step * action.screens for step in steps]
        result = await self.live.call(frame, "scrollIt", number, *far)
        return "" if result is None or result.get("moved") else f"it does not scroll any further {action.direction}"

    async def _upload(self, action: Upload, found: Found | None) -> str:
        names = [path.rpartition("/")[2] for path in action.paths]
        contents = [await self.file(path) for path in action.paths]
        payloads: list[FilePayload] = [
            {"name": name, "mimeType": mimetypes.guess_type(name)[0] or "application/octet-stream", "buffer": content}
            for name, content in zip(names, contents, strict=True)
        ]
        chooser, self.live.chooser = self.live.chooser, None
        milliseconds = self.patience.action_seconds * 1000
        if found is not None:
            handle = (await found.frame.evaluate_handle(ELEMENT, found.number)).as_element()
            if not isinstance(handle, ElementHandle) or found.told["type"] != "file":
                raise ActionFailed(
                    f"{found.ref} is no field for files; click what opens the chooser, then upload without a ref"
                )
            await handle.set_input_files(payloads, timeout=milliseconds)
        elif chooser is not None:
            await chooser.set_files(payloads, timeout=milliseconds)
        else:
            raise ActionFailed("no chooser is open; name a file field, or click what opens one first")
        return f"gave it {', '.join(names)}"

    async def _check_box(self, action: Check, found: Found, known: Mapping[str, str]) -> str:
        state = await self.live.call(found.frame, "isChecked", found.number)
        if state is None:
            raise ActionFailed(f"{found.ref} ({found.target}) can be neither on nor off; click it")
        if state == action.on:
            return f"{found.ref} is {'on' if state else 'off'} already"
        x, y = await self._reached(found, known)
        await self._reacting(self.live.page.mouse.click(x, y))
        if self.live.dialog is None and await self._state(found) not in {None, action.on}:
            return f"{found.ref} was clicked but is still {'off' if action.on else 'on'}"
        return ""

    async def _state(self, found: Found) -> bool | None:
        try:
            on: bool | None = await self.live.call(found.frame, "isChecked", found.number)
        except PageStuck:
            return None
        return on

    async def _fill(self, action: Fill, found: Found) -> str:
        text = action.text
        if action.secret is not None:
            text = self.secret(action.secret, found.frame.url)
            await self.live.call(found.frame, "hush", found.number)
        begun: Mapping[str, Any] | None = await self.live.call(found.frame, "begin", found.number, text)
        if begun is None:
            return ""
        if "problem" in begun:
            raise ActionFailed(_unfillable(found, begun["problem"]))
        keyboard = self.live.page.keyboard
        if not begun["set"]:
            if not text:
                await self._reacting(keyboard.press("Delete"))
            elif action.keys:
                if not begun["empty"]:
                    await self._reacting(keyboard.press("Delete"))
                await self._reacting(keyboard.type(text))
            else:
                await self._reacting(keyboard.insert_text(text))
        told = await self._taken(found, text, hidden=action.secret is not None)
        if action.enter:
            await self._reacting(keyboard.press("Enter"))
        return told

    async def _taken(self, found: Found, text: str, *, hidden: bool) -> str:
        """Return what is to be said where a field holds something else than what was typed into it."""
        value = None if self.live.dialog is not None else await self.live.call(found.frame, "valueOf", found.number)
        if value is None or str(value).split() == text.split():
            return ""
        return f"{found.ref} has taken something else" + ("" if hidden else f": it holds {str(value)[:80]!r}")

    async def _select(self, action: Select, found: Found) -> str:
        result: Mapping[str, Any] = (
            await self.live.call(found.frame, "select", found.number, list(action.options)) or {}
        )
        problem = result.get("problem")
        if problem == "option":
            labels = ", ".join(map(repr, result["labels"]))
            raise ActionFailed(f"{found.ref} has no option {result['wanted']!r}; it has {labels}")
        if problem == "kind":
            raise ActionFailed(
                f"{found.ref} ({found.target}) is no list of the browser's own; click it, then click what it offers"
            )
        if problem is not None:
            only = {"single": "takes one option only", "disabled": "has that option disabled", "gone": "has just gone"}
            raise ActionFailed(f"{found.ref} {only[problem]}")
        return ""

    async def _drag(self, action: Drag, found: Found, known: Mapping[str, str]) -> None:
        end: tuple[float, float] | None = None
        if action.to is not None:
            end = await point_of(await find(self.live, action.to, known, point=True, enabled=False))
            # Looking for the other may have scrolled the first away.
            found = await find(self.live, action.ref, known, point=True)
        elif action.by is None:
            raise ActionFailed("say where it is to be dragged: `to` something, or `by` so many pixels")
        start = await self._reached(found, known)
        if end is None:
            right, down = action.by or (0, 0)
            end = (start[0] + right, start[1] + down)
        mouse = self.live.page.mouse
        await self._reacting(mouse.down())
        await self._reacting(mouse.move(*end, steps=_DRAG_STEPS))
        await self._reacting(mouse.up())


def _unfillable(found: Found, problem: str) -> str:
    if problem == "readonly":
        return f"{found.ref} ({found.target}) cannot be typed into; click it, it may open something to choose from"
    if problem == "gone":
        return f"{found.ref} has just gone; look at the page again"
    other = {"checkbox": "check", "radio": "check", "combobox": "select", "listbox": "select", "file": "upload"}
    return f"{found.ref} ({found.target}) is no field for text; use {other.get(found.target.role, 'click')}"
