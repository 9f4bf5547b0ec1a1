"""The identity of a model call."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from branchwise.core.keys import request_key
from branchwise.core.types import Message, ModelRequest, Sampling, ToolCall, ToolSpec

BASE = ModelRequest((Message("user", "hello"),), Sampling(seed=1))


def test_equal_requests_have_equal_keys() -> None:
    """Whatever the order of their JSON's fields."""
    one = replace(BASE, response_schema={"a": 1, "b": {"c": 2, "d": 3}})
    other = replace(BASE, response_schema={"b": {"d": 3, "c": 2}, "a": 1})
    assert request_key("m", one) == request_key("m", other)
    assert len(request_key("m", one)) == 64


def test_everything_that_decides_a_reply_changes_the_key() -> None:
    """Model, messages, tools, schema, sampling and seed."""
    variants = [
        BASE,
        replace(BASE, messages=(Message("system", "hello"),)),
        replace(BASE, messages=(Message("assistant", "hello", (ToolCall("a", "b", {}),)),)),
        replace(BASE, sampling=Sampling(seed=2)),
        replace(BASE, sampling=Sampling(seed=1, temperature=0.0)),
        replace(BASE, sampling=Sampling(seed=1, max_tokens=5)),
        replace(BASE, tools=(ToolSpec("a", "b", {}),)),
        replace(BASE, response_schema={}),
    ]
    keys = {request_key("m", variant) for variant in variants} | {request_key("other", BASE)}
    assert len(keys) == len(variants) + 1


@given(st.text())
def test_any_text_has_a_key(text: str) -> None:
    """Lone surrogates included: models do produce them."""
    assert request_key("m", ModelRequest((Message("user", text),))) == request_key(
        "m", ModelRequest((Message("user", text),))
    )
