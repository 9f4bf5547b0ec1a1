"""From names to models; every wrong use is one clear line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.protocols import Meter
from branchwise.core.types import ModelRequest, Usage
from branchwise.models import EngineSettings, HttpModel, Price, connect
from branchwise.models.fake_server import FakeServer

Ask = Callable[..., ModelRequest]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No addresses or keys of the machine's user."""
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "VLLM_BASE_URL", "VLLM_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("gpt-5", {}, "write PROVIDER:MODEL"),
        ("openai:", {}, "write PROVIDER:MODEL"),
        ("ollama:x", {}, "embedded, openai, vllm"),
        ("openai:gpt-5", {}, "set OPENAI_API_KEY"),
        ("vllm:qwen", {}, "vllm serve qwen.*VLLM_BASE_URL"),
        ("vllm:qwen", {"base_url": "localhost:8000"}, "begins with http://"),
        ("vllm:qwen", {"base_url": "http://x/v1", "slots": 0}, "slots=0"),
        ("vllm:qwen", {"base_url": "http://x/v1", "context_tokens": 4096}, "for the embedded engine"),
        ("embedded:nonsense", {}, "no model 'nonsense' in the catalogue"),
        ("embedded:smollm2-135m-instruct", {"api_key": "x"}, "leave them out"),
    ],
)
async def test_wrong_names_and_options(name: str, options: dict[str, Any], says: str) -> None:
    """What was got, what is allowed, what to do; in one line."""
    with pytest.raises(UsageError, match=says) as caught:
        await connect(name, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"parallel": 0}, {"context_tokens": 10}, {"threads": 0}])
def test_impossible_engine_settings(wrong: dict[str, int]) -> None:
    """With the field and the value."""
    name, value = next(iter(wrong.items()))
    with pytest.raises(UsageError, match=f"{name}={value}"):
        EngineSettings("x.gguf", "x", **wrong)


async def test_addresses_and_keys_come_from_the_environment(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """For both kinds of server; a key is optional where an address is given."""
    async with FakeServer(lambda _: "hi", api_key="secret") as server:
        for provider in ("VLLM", "OPENAI"):
            monkeypatch.setenv(f"{provider}_BASE_URL", server.base_url)
            monkeypatch.setenv(f"{provider}_API_KEY", "secret")
            model = await connect(f"{provider.lower()}:fake")
            assert (await model.generate(ask(), Meter())).text == "hi"
            assert model.slots == 16
            assert model.native_tools
            await model.aclose()


async def test_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """One's own server costs nothing, anybody else's is unknown until it is given."""
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    used = Usage(prompt_tokens=1_000_000)
    own = await connect("vllm:x", base_url="http://127.0.0.1:1/v1")
    unknown, given = await connect("openai:x"), await connect("openai:x", price=Price(2.0, 8.0))
    assert (own.price(used), unknown.price(used), given.price(used)) == (0.0, None, 2.0)
    assert isinstance(unknown, HttpModel)
    assert unknown.base_url == "https://api.openai.com/v1"
    for model in (own, unknown, given):
        await model.aclose()
