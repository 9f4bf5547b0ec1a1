"""A policy that knows nothing and does nothing invalid: it draws among the things that an observation shows, then among what can be done with each.

What is filled in comes from the goal: what stands there in quotes, and words that are numbers, names or addresses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from branchwise.web import Check, Click, Dialog, Fill, Observation, Select
from branchwise.web.actions import Acting

THING = re.compile(r'\[((?:f\d+)?e\d+)\](?: ([a-z]+))?(?: "((?:[^"\\]|\\.)*)")?([^\[]*)')
_OPTIONS = re.compile(r" of (.+?)(?: \| \+\d+)?(?: (?:required|disabled|focused)| *$)")
_QUOTED = re.compile(r'"([^"]+)"|\'([^\']{2,})\'')
_TELLING = re.compile(r"\S*[\d@]\S*|[A-Z][\w-]+|\w+-\w+")
_TYPED = frozenset({"textbox", "searchbox", "spinbutton", "date", "time", "datetime", "month", "week"})
_LISTS = frozenset({"combobox", "listbox"})
_TICKED = frozenset({"checkbox", "radio", "switch"})
_OFFERED = 12


def texts(goal: str) -> list[str]:
    """Return what of a goal may have to be filled in."""
    quoted = [one or other for one, other in _QUOTED.findall(goal)]
    words = [word.strip(".,:;!?()\"'") for word in _TELLING.findall(goal)]
    return list(dict.fromkeys(text for text in (*quoted, *words) if text))[:_OFFERED] or ["x"]


def options(seen: Observation, goal: str) -> list[list[Acting]]:
    """Return what can be done, an entry for each thing that is shown."""
    if any(note.startswith("a dialog is open") for note in seen.notes):
        return [[Dialog(accept=True), Dialog(accept=False)]]
    found: dict[str, list[Acting]] = {}
    for line in seen.lines:
        for ref, role, name, rest in THING.findall(line):
            if " disabled" not in rest and ref not in found:
                found[ref] = _doing(ref, role, rest, texts(goal))
            del name
    return [doing for doing in found.values() if doing]


def _doing(ref: str, role: str, rest: str, offered: Sequence[str]) -> list[Acting]:
    if role in _TYPED:
        return [Fill(ref=ref, text=text, enter=role == "searchbox") for text in offered]
    if role in _LISTS:
        given = _OPTIONS.search(rest)
        return [Select(ref=ref, options=(label,)) for label in given[1].split(" | ")] if given and given[1] else []
    if role in _TICKED:
        return [Check(ref=ref, on=role == "radio" or " checked" not in rest)]
    return [] if role in {"file", "iframe", "video", "audio", "slider", "canvas"} else [Click(ref=ref)]


def draw(rng: Random, given: Sequence[Sequence[Acting]]) -> Acting:
    """Return one: every thing is as likely as every other, and so is all that can be done with it."""
    return rng.choice(rng.choice(given))
