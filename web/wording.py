"""What was done on a page in a few words, for people who look on and for prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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

_WORDS_MOST = 120
_TEXT_MOST = 60


def in_words(action: Acting, targets: Mapping[str, Mapping[str, Any]]) -> str:  # noqa: C901 - a case for each action
    """Return an action in words, such as `fill textbox 'Name' with 'Ann'`. A secret is told by its name.

    Args:
        action: what was done.
        targets: what its references meant, as `past.PastStep` has them.
    """

    def thing(ref: str | None) -> str:
        if ref is None:
            return "the page"
        meant = targets.get(ref)
        return ref if meant is None else f"{meant['role']} {str(meant['name'])[:_TEXT_MOST]!r}"

    match action:
        case Click():
            kind = "double-click" if action.double else "click"
            said = f"{'right-' if action.button == 'right' else ''}{kind} {thing(action.ref)}"
        case Fill():
            text = repr(_short(action.text)) if action.secret is None else f"the secret {action.secret}"
            said = f"fill {thing(action.ref)} with {text}{' and press Enter' if action.enter else ''}"
        case Select():
            said = f"select {', '.join(map(repr, action.options))} in {thing(action.ref)}"
        case Check():
            said = f"{'tick' if action.on else 'untick'} {thing(action.ref)}"
        case Press():
            said = f"press {action.keys}{'' if action.ref is None else f' in {thing(action.ref)}'}"
        case Scroll():
            said = f"scroll {action.direction}{'' if action.ref is None else f' in {thing(action.ref)}'}"
        case Hover():
            said = f"point at {thing(action.ref)}"
        case Drag():
            by = "" if action.by is None else f"by {action.by[0]}, {action.by[1]}"
            said = f"drag {thing(action.ref)} {by if action.to is None else f'to {thing(action.to)}'}"
        case _:
            said = _about_the_page(action)
    return _short(said, _WORDS_MOST)


def _about_the_page(action: Upload | Goto | Back | Tab | Dialog | Wait) -> str:
    match action:
        case Upload():
            said = f"upload {', '.join(action.paths)}"
        case Goto():
            said = f"go to {action.url}"
        case Back():
            said = "go back"
        case Tab(number=None):
            said = "open a tab"
        case Tab():
            said = f"{'close' if action.close else 'go to'} tab {action.number}"
        case Dialog():
            said = f"{'accept' if action.accept else 'dismiss'} the dialog"
        case Wait():
            said = f"wait for {_short(action.text)!r}" if action.text else f"wait {action.seconds:g} s"
    return said


def _short(text: str, most: int = _TEXT_MOST) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
