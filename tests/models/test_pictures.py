"""Pictures in requests: what is sent, what they cost, who refuses them, and that only their digests are written down."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from branchwise.core.errors import ModelRefused, UsageError
from branchwise.core.keys import request_key
from branchwise.core.protocols import Meter, can_see
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import Message, ModelRequest, Picture, Sampling, Screen
from branchwise.models import EmbeddedModel, EngineSettings, HttpModel, RecordedModel, Retrying
from branchwise.models.counting import picture_tokens, upper_bound
from branchwise.models.fake_server import PICTURE_TOKENS, FakeServer, pictures, prompt_tokens
from branchwise.models.registry import may_see
from branchwise.models.wire import request_json

Ask = Callable[..., ModelRequest]

DATA = b"\xff\xd8 a picture, as far as anybody here looks \xff\xd9"
PICTURE = Picture(DATA, 1280, 720)
SHOWN = ModelRequest((Message("system", "Look."), Message("user", "What is it?", pictures=(PICTURE,))), Sampling(8))
TEXT = replace(SHOWN, messages=(SHOWN.messages[0], Message("user", "What is it?")))


def client(server: FakeServer, **options: Any) -> HttpModel:
    """A client of the server."""
    return HttpModel("vllm:seer", **{"model": "seer", "base_url": server.base_url, "api_key": "none", **options})


def test_pictures_follow_the_text_as_parts() -> None:
    """In the form of OpenAI's API, as data; marks of chat templates in the text are broken as ever."""
    request = replace(
        SHOWN, messages=(Message("user", "<|im_end|>", pictures=(PICTURE, Picture(b"P", 1, 1, "image/png"))),)
    )
    [message] = request_json("m", request, "vllm")["messages"]
    text, first, second = message["content"]
    assert text["type"] == "text"
    assert "<|im_end|>" not in text["text"]
    assert first == {
        "type": "image_url",
        "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(DATA).decode()}"},
    }
    assert second["image_url"]["url"] == "data:image/png;base64,UA=="
    assert request_json("m", TEXT, "vllm")["messages"][1]["content"] == "What is it?"


def test_what_cannot_be_a_picture_is_refused() -> None:
    """Where it is made, and where only a run could have put one in."""
    with pytest.raises(UsageError, match="messages of the user"):
        Message("tool", "seen", tool_call_id="c1", pictures=(PICTURE,))
    for picture in ((b"", 1, 1), (b"P", 0, 1)):
        with pytest.raises(UsageError, match="at least 1 x 1"):
            Picture(*picture)
    named = replace(SHOWN, messages=(Message("user", "now", pictures=(Screen("abc"),)),))
    with pytest.raises(UsageError, match="which only a run"):
        request_json("m", named, "openai")


def test_requests_are_told_apart_by_what_their_pictures_show() -> None:
    """And the key is made of the digest, not of the bytes."""
    other = replace(
        SHOWN, messages=(SHOWN.messages[0], Message("user", "What is it?", pictures=(replace(PICTURE, data=b"x"),)))
    )
    assert len({request_key("m", request) for request in (SHOWN, other, TEXT)}) == 3
    assert request_key("m", SHOWN) == request_key("m", replace(SHOWN))
    assert str(DATA) not in repr(SHOWN)


async def test_a_server_gets_the_very_bytes_and_its_count_is_charged() -> None:
    """Before the first reply pictures are reserved at what they can cost, afterwards at what this server has charged."""
    bodies: list[Any] = []

    def reply(body: Any) -> str:
        bodies.append(body)
        return "a picture"

    async with FakeServer(reply) as server:
        model, meter = client(server, dialect="vllm"), Meter()
        before = await model.prompt_tokens(SHOWN)
        text = await model.prompt_tokens(TEXT)
        await model.generate(SHOWN, meter)
        after = await model.prompt_tokens(SHOWN)
        await model.aclose()
    [url] = pictures(bodies[0])
    assert base64.b64decode(url.partition(",")[2]) == DATA
    assert before == text + picture_tokens(PICTURE)
    assert meter.prompt_tokens == prompt_tokens(bodies[0]) == after == text + PICTURE_TOKENS
    assert text < PICTURE_TOKENS < picture_tokens(PICTURE)


async def test_a_server_that_charges_more_is_believed() -> None:
    """Also where it counts nothing beforehand: what it charged is reserved the next time at least."""
    async with FakeServer(counts=False, picture_tokens=36_000) as server:
        model = client(server)
        before = await model.prompt_tokens(SHOWN)
        meter = Meter()
        await model.generate(SHOWN, meter)
        after = await model.prompt_tokens(SHOWN)
        await model.aclose()
    assert before == upper_bound(SHOWN) < 36_000 < meter.prompt_tokens <= after < 40_000


def test_a_picture_is_reserved_as_no_more_than_the_dearest_of_the_usual_models() -> None:
    """Patches of 14 pixels and a token for each row: above what Qwen2-VL, Pixtral and GPT-4o charge, and not the bytes as text."""
    assert 3_645 < picture_tokens(PICTURE) < 5_000
    assert picture_tokens(Picture(b"P", 14, 14)) == 2
    assert upper_bound(SHOWN) == upper_bound(TEXT) + picture_tokens(PICTURE)
    large = replace(
        SHOWN,
        messages=(SHOWN.messages[0], Message("user", "What is it?", pictures=(replace(PICTURE, data=DATA * 9999),))),
    )
    assert upper_bound(large) == upper_bound(SHOWN)


async def test_a_model_that_takes_none_says_what_to_do() -> None:
    """A server in its own words, with ours; it is not tried again."""
    async with FakeServer(sees=False) as server:
        model = client(server)
        with pytest.raises(
            ModelRefused, match=r"At most 0 image\(s\).*take a model that sees, or leave the picture out"
        ):
            await Retrying(model).generate(SHOWN, Meter())
        assert (await model.generate(TEXT, Meter())).text == "What is it?"
        await model.aclose()
        assert server.stats.started.total() == 1


async def test_the_embedded_engine_is_not_even_started() -> None:
    """It serves text only, whatever the model."""
    model = EmbeddedModel("embedded:m", EngineSettings("/nowhere.gguf", "m"))
    with pytest.raises(UsageError, match=r"embedded:m takes no pictures.*a model that sees on a server"):
        await model.generate(SHOWN, Meter())
    assert [may_see(name) for name in ("embedded:m", "vllm:m", "openai:m")] == [False, True, True]


async def test_who_can_see_is_asked_of_the_model_behind(tmp_path: Path) -> None:
    """Wrappers say what it says; a model of one's own that says nothing takes none."""
    blind, seeing = ScriptedModel(lambda _: "no"), ScriptedModel(lambda _: "yes", sees=True)
    assert [can_see(Retrying(model)) for model in (blind, seeing)] == [False, True]
    recorded = RecordedModel(tmp_path / "replies.jsonl", inner=seeing)
    await recorded.generate(SHOWN, Meter())
    assert DATA[4:20] not in (tmp_path / "replies.jsonl").read_bytes()
    alone = RecordedModel(tmp_path / "replies.jsonl", name=seeing.name)
    assert can_see(alone)
    assert (await alone.generate(SHOWN, Meter())).text == "yes"
