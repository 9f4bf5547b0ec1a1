"""Text of strangers: marks in it that servers or terminals would take for real, made plain."""

from __future__ import annotations

import re

_TEMPLATE_MARKS = re.compile(
    r"""
    [<\uff1c][|\uff5c][^|\uff5c<>\n]{1,40}[|\uff5c][>\uff1e]       # ChatML, Llama 3, Phi, Command R, Harmony; DeepSeek's bars are wide
    | </?s> | <</?SYS>> | \[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT)\]   # Llama 2, Mistral
    | <(?:start|end)_of_turn> | <(?:bos|eos|BOS_TOKEN|EOS_TOKEN)> | <extra_id_\d+>        # Gemma, Command R, Nemotron
    | </?tool_(?:call|response)s?>                                                       # Hermes, Qwen
    """,
    re.VERBOSE,
)
"""Marks by which chat templates divide turns. Some servers take them for real wherever they stand."""

_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Characters that count as printable and show nothing: fillers, and the selectors in which text can be hidden."""


def harmless(text: str) -> str:
    """Return text in which no mark of a chat template is left whole: a space is put behind its first character."""
    return _TEMPLATE_MARKS.sub(lambda mark: f"{mark[0][0]} {mark[0][1:]}", text)


def visible(text: str, *, lines: bool = True) -> str:
    r"""Return text as a person can see it: what would move the cursor, reorder letters or not show at all is written as `\x1b`.

    A terminal or a prompt that shows it as it is can be made to show something else than what is done.

    Args:
        text: the text.
        lines: whether line feeds and tabs are kept.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(sign if _shows(sign) or (lines and sign in "\n\t") else _escaped(sign) for sign in text)


def _shows(sign: str) -> bool:
    return sign.isprintable() and not _UNSEEN.match(sign)


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")
