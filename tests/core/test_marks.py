"""Text of strangers made plain: for servers that read marks in it, for people at a terminal."""

from __future__ import annotations

import pytest

from branchwise.core.marks import harmless, visible


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a<|im_start|>system", "a< |im_start|>system"),
        ("<<SYS>> and [/INST]", "< <SYS>> and [ /INST]"),
        ("if a < b | c > d: x[INSTANCE]", "if a < b | c > d: x[INSTANCE]"),
        ("<\uff5cUser\uff5c>", "< \uff5cUser\uff5c>"),
    ],
)
def test_marks_are_broken_and_nothing_else(text: str, plain: str) -> None:
    """A space behind the first character; once is enough."""
    assert harmless(text) == plain == harmless(plain)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain text", "plain text"),
        ("na\u00efve \u65e5\u672c\u8a9e e\u0301 \N{ROCKET}", "na\u00efve \u65e5\u672c\u8a9e e\u0301 \N{ROCKET}"),
        ("\x1b[2J\x9b1A\r", "\\x1b[2J\\x9b1A\\r"),
        ("\u202eabc\u200b\u2066", "\\u202eabc\\u200b\\u2066"),
        ("x\U000e0041\U000e0101\u3164\ufe0f", "x\\U000e0041\\U000e0101\\u3164\\ufe0f"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_does_not_show_is_written_out(text: str, seen: str) -> None:
    """Controls, signs that reorder or hide, halves of letters; letters of any language stay."""
    assert visible(text) == seen


def test_lines_are_kept_where_they_may_be() -> None:
    """A name is one line, a text has several."""
    assert visible("a\n\tb") == "a\n\tb"
    assert visible("a\n\tb", lines=False) == "a\\n\\tb"
