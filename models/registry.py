"""From `provider:model` to a `Model`."""

from __future__ import annotations

import os
from pathlib import Path

from ..core.errors import UsageError
from ..core.protocols import Model, can_see
from . import catalog
from .client import FREE, HttpModel, Price, Timeouts
from .embedded import EmbeddedModel
from .engine import EngineSettings

PROVIDERS = ("embedded", "openai", "vllm")

DEFAULT_HTTP_SLOTS = 16
"""Requests at once to a server that does not say how many it serves."""


async def connect(
    name: str,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    slots: int | None = None,
    context_tokens: int | None = None,
    native_tools: bool | None = None,
    price: Price | None = None,
    timeouts: Timeouts | None = None,
) -> Model:
    """Return the model `name`. It makes one attempt per call; wrap it in `Retrying` for more. Close it after use.

    Args:
        name: `embedded:NAME` (a model of the catalogue), `embedded:PATH` (a GGUF file), `vllm:MODEL` or `openai:MODEL` (any
            server with OpenAI's API).
        base_url: the API's address; default VLLM_BASE_URL or OPENAI_BASE_URL.
        api_key: default VLLM_API_KEY or OPENAI_API_KEY.
        slots: requests served at once; default 16, for the embedded engine 4.
        context_tokens: of the embedded engine, for each request; default 4096.
        native_tools: whether to use the server's own tool calling; default what the model is known to do well.
        price: in US dollars; local models cost nothing, others are unknown by default.
        timeouts: how long the server may be silent.

    Raises:
        UsageError: the name, address or key is missing or wrong, or the engine is not installed.
        CatalogError: the embedded model is not on this machine.
        ModelUnavailable: the embedded engine did not start.
    """
    provider, colon, model = name.partition(":")
    if not colon or not model or provider not in PROVIDERS:
        raise UsageError(
            f"no such model: {name!r}; write PROVIDER:MODEL with one of the providers {', '.join(PROVIDERS)}, for example "
            "embedded:qwen2.5-coder-1.5b"
        )
    if provider == "embedded":
        if base_url is not None or api_key is not None:
            raise UsageError(f"{name}: the embedded engine has no base_url or api_key to set; leave them out")
        settings, known_tools = _embedded_settings(model, slots, context_tokens)
        embedded = EmbeddedModel(
            name, settings, native_tools=known_tools if native_tools is None else native_tools, timeouts=timeouts
        )
        await embedded.start()
        return embedded
    if context_tokens is not None:
        raise UsageError(f"{name}: context_tokens is for the embedded engine; a server decides for itself")
    return HttpModel(
        name,
        model=model,
        base_url=_base_url(provider, model, base_url),
        api_key=_api_key(provider, api_key, base_url),
        dialect="vllm" if provider == "vllm" else "openai",
        slots=DEFAULT_HTTP_SLOTS if slots is None else slots,
        native_tools=True if native_tools is None else native_tools,
        price=price or (FREE if provider == "vllm" else None),
        timeouts=timeouts,
    )


def may_see(named: str | Model) -> bool:
    """Whether a model may be shown pictures, as far as that is known before it is connected: the embedded engine serves text only."""
    return not named.startswith("embedded:") if isinstance(named, str) else can_see(named)


def _embedded_settings(model: str, slots: int | None, context_tokens: int | None) -> tuple[EngineSettings, bool]:
    """The engine's settings, and whether the model is good at native tool calling."""
    native_tools = False
    if model.endswith(".gguf") or os.sep in model:
        path, alias = Path(model).expanduser().resolve(), Path(model).stem
    else:
        known = catalog.entry(model)
        path, alias, native_tools = catalog.path(model), model, known.native_tools
    given = {"parallel": slots, "context_tokens": context_tokens}
    settings = EngineSettings(str(path), alias, **{key: value for key, value in given.items() if value is not None})
    return settings, native_tools


def _base_url(provider: str, model: str, given: str | None) -> str:
    variable = f"{provider.upper()}_BASE_URL"
    url = given or os.environ.get(variable)
    if url is None and provider == "openai":
        return "https://api.openai.com/v1"
    if not url:
        raise UsageError(
            f"vllm:{model}: no server given; start one with `vllm serve {model}` and set {variable}=http://127.0.0.1:8000/v1"
        )
    if not url.startswith(("http://", "https://")):
        raise UsageError(
            f"{variable}={url!r} is not an address; it begins with http:// or https:// and usually ends in /v1"
        )
    return url


def _api_key(provider: str, given: str | None, base_url: str | None) -> str:
    variable = f"{provider.upper()}_API_KEY"
    key = given or os.environ.get(variable)
    if key:
        return key
    own_server = provider == "vllm" or base_url or os.environ.get("OPENAI_BASE_URL")
    if not own_server:
        raise UsageError(f"no API key for {provider}; set {variable}, or OPENAI_BASE_URL for a server that needs none")
    return "none"
