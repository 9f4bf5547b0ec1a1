"""The identity of a model call: equal keys mean that the same reply would do; and the seeds that tell calls apart."""

from __future__ import annotations

import hashlib
import json

from pydantic import TypeAdapter

from .types import JSON, ModelRequest

_REQUEST: TypeAdapter[ModelRequest] = TypeAdapter(ModelRequest)


def request_key(model_name: str, request: ModelRequest) -> str:
    """Return the SHA-256 of everything that decides a reply: model, messages, tools, schema, sampling and seed.

    Fields at their default are left out, so that a field added later does not change the keys of older requests.

    Args:
        model_name: `provider:model`.
        request: what would be sent.

    Returns:
        64 hexadecimal digits.
    """
    fields = _REQUEST.dump_python(request, mode="json", exclude_defaults=True)
    return hashlib.sha256(canonical_json({"model": model_name, "request": fields})).hexdigest()


def canonical_json(value: JSON) -> bytes:
    """Return the one JSON text of `value`: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def derive_seed(seed: int, number: int | str) -> int:
    """Return the seed of the part `number` of what has `seed`: 31 bits, a function of the two. A name will do, too.

    A work item's sampling seed is that of its number in the run.
    """
    digest = hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") & 0x7FFFFFFF
