"""What went wrong on the wire, as Branchwise's errors: the one table that says which failures are worth a retry."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import cast

import openai

from ..core.errors import ModelError, ModelRefused, ModelTimeout, ModelUnavailable

RETRYABLE_STATUS = frozenset({408, 425, 429})
"""Beside every 5xx."""

UNSERVED_STATUS = frozenset({429, 503})
"""Statuses with which a server says that it did not begin to work on the request, beside every 4xx."""


def translate(error: openai.APIError, *, name: str, base_url: str, pictures: bool = False) -> ModelError:
    """Return the error to raise for one of the client library.

    Args:
        error: what the library raised.
        name: the model's name, for the message.
        base_url: the server's address, for the message.
        pictures: whether the request had some, which most models do not take.
    """
    where = f"{name} at {base_url}"
    if isinstance(error, openai.APITimeoutError):
        return ModelTimeout(f"{where} could not be reached in time; is the server running and not overloaded?")
    if isinstance(error, openai.APIStatusError):
        return _from_status(error, where, pictures=pictures)
    if isinstance(error, openai.APIConnectionError):
        reason = error.__cause__ or error
        return ModelUnavailable(f"lost the connection to {where}: {type(reason).__name__}: {reason}")
    return _from_stream(error, where)


def served(error: openai.APIError) -> bool:
    """Whether the server may have worked on the request, so that its prompt has to be paid for."""
    if isinstance(error, openai.APIStatusError):
        return error.status_code >= 500 and error.status_code not in UNSERVED_STATUS
    cause = type(error.__cause__).__name__
    return cause not in {"ConnectError", "ConnectTimeout", "PoolTimeout"}


def _from_status(error: openai.APIStatusError, where: str, *, pictures: bool) -> ModelError:
    status, said = error.status_code, _short(error.message)
    if status in RETRYABLE_STATUS or status >= 500:
        wait = retry_after_seconds(error.response.headers)
        return ModelUnavailable(f"{where} answered {status}: {said}", retry_after_seconds=wait)
    hints = {401: "; check the API key", 403: "; check the API key", 404: "; check the base URL and the model's name"}
    hint = hints.get(
        status, "; it was shown a picture: take a model that sees, or leave the picture out" if pictures else ""
    )
    return ModelRefused(f"{where} refused the request with {status}: {said}{hint}", status=status)


def _from_stream(error: openai.APIError, where: str) -> ModelError:
    """An error that the server sent inside the stream: its own code says what kind it is."""
    body: object = error.body
    code = cast("dict[str, object]", body).get("code") if isinstance(body, dict) else None
    status = int(code) if isinstance(code, int | str) and str(code).isdigit() else 500
    message = f"{where} broke off with an error: {_short(error.message)}"
    if 400 <= status < 500 and status not in RETRYABLE_STATUS:
        return ModelRefused(message, status=status)
    return ModelUnavailable(message)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return what `Retry-After` asks for (RFC 9110, 10.2.3: seconds or a date), None where it is absent or nonsense."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _short(text: str) -> str:
    return " ".join(text.split())[:500]
