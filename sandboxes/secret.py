"""Secrets of the user that programs in a sandbox may use: given as environment only, and kept out of all that is kept."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Self
from urllib.parse import quote, quote_plus

from pydantic import SecretStr

from ..core.errors import SandboxError, UsageError
from ..core.protocols import Process
from ..core.types import ExecResult

SHORTEST = 8
"""Shorter values would be found in innocent text all the time."""
_TELLING_BYTES = 4
"""As much of a secret's beginning as is worth hiding where output was cut in the middle of it."""


class Secrets:
    """Values by name, and what they look like in output.

    Redaction is against accidents: programs that print their environment, a token in an error message. A program that
    wants to give a secret away can write it backwards; what keeps it from others is the sandbox's network policy.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        for name, value in values.items():
            if len(value) < SHORTEST:
                raise UsageError(
                    f"the secret {name!r} has {len(value)} characters; what has fewer than {SHORTEST} cannot be kept out of "
                    "output: give it by env={...} if it is none"
                )
        self._values = dict(values)
        forms = {form: name for name, value in values.items() for form in _forms(value)}
        self._names = forms
        self._longest = max(map(len, forms), default=0)
        ordered = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, ordered))) if forms else None

    @classmethod
    def of(cls, given: Mapping[str, SecretStr] | Sequence[str]) -> Self:
        """Return the secrets that a user has given by value, or by the name of a variable of this process.

        Raises:
            UsageError: there is no such variable, or a value is too short.
        """
        if isinstance(given, Mapping):
            return cls({name: value.get_secret_value() for name, value in given.items()})
        missing = [name for name in given if name not in os.environ]
        if missing:
            raise UsageError(
                f"secrets={missing!r}: this process has no such environment variables; set them, or give values"
            )
        return cls({name: os.environ[name] for name in given})

    @property
    def environment(self) -> dict[str, str]:
        """What programs get."""
        return dict(self._values)

    def redact(self, data: bytes, *, cut: bool = False) -> bytes:
        """Return `data` with every secret replaced by its name.

        Args:
            data: what a program wrote.
            cut: whether it ends where it does because there was too much of it.
        """
        if self._pattern is None:
            return data
        clean = self._pattern.sub(self._named, data)
        begun = self.begun(clean) if cut else 0
        return clean if begun < _TELLING_BYTES else clean[:-begun] + b"[secret]"

    def redact_text(self, text: str) -> str:
        """Return `text` with every secret replaced by its name."""
        if self._pattern is None:
            return text
        return self.redact(text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")

    def places(self, data: bytes) -> list[tuple[int, int]]:
        """Return where `data` holds secrets: first byte, and the one after the last."""
        return [] if self._pattern is None else [found.span() for found in self._pattern.finditer(data)]

    def redactor(self) -> Redactor:
        """Return a redactor for a stream that arrives in pieces."""
        return Redactor(self)

    def cleaned(self, result: ExecResult) -> ExecResult:
        """Return what a program's end looks like without secrets."""
        if self._pattern is None:
            return result
        stdout, stderr = (
            self.redact(text.encode("utf-8", "surrogatepass"), cut=result.truncated).decode("utf-8", "replace")
            for text in (result.stdout, result.stderr)
        )
        return replace(result, stdout=stdout, stderr=stderr)

    def refuse(self, paths: Iterable[str], contents: Iterable[bytes]) -> None:
        """Raise SandboxError where a file that is about to be kept holds a secret."""
        if self._pattern is None:
            return
        for path, content in zip(paths, contents, strict=True):
            found = self._pattern.search(content)
            if found is not None:
                raise SandboxError(
                    f"the file {path!r} holds the secret {self._names[found[0]]!r}, so this state cannot be kept; let programs "
                    "take it from their environment, or write it below /tmp, which is never kept"
                )

    def __bool__(self) -> bool:
        return self._pattern is not None

    def _named(self, found: re.Match[bytes]) -> bytes:
        return b"[secret %s]" % self._names[found[0]].encode()

    def begun(self, data: bytes) -> int:
        """Return how many bytes at the end of `data` may be the beginning of a secret."""
        for size in range(min(self._longest - 1, len(data)), 0, -1):
            if any(form.startswith(data[-size:]) for form in self._names):
                return size
        return 0


class Redactor:
    """Redacts a stream; holds back no more than what may be the beginning of a secret."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Take the next piece and return what is known to be clean."""
        data = self._secrets.redact(self._held + data)
        begun = self._secrets.begun(data)
        self._held = data[len(data) - begun :]
        return data[: len(data) - begun]

    def flush(self) -> bytes:
        """Return what was held back: at the stream's end it is no secret's beginning any more."""
        held, self._held = self._held, b""
        return held


class CleanProcess:
    """A program that one talks to, without the secrets that it says; implements `core.protocols.Process`."""

    def __init__(self, process: Process, secrets: Secrets) -> None:
        self._process = process
        self._secrets = secrets
        self._redactor = secrets.redactor()
        self.send = process.send
        self.close_input = process.close_input

    async def receive(self) -> bytes:
        while data := await self._process.receive():
            clean = self._redactor.feed(data)
            if clean:
                return clean
        return self._redactor.flush()

    async def wait(self) -> ExecResult:
        result = await self._process.wait()
        held = self._redactor.flush().decode("utf-8", "replace")
        return self._secrets.cleaned(replace(result, stdout=held + result.stdout))


def _forms(value: str) -> set[bytes]:
    """Return how a value may be written: plainly, in a URL, in a form that is sent, in JSON, in HTML, in base64."""
    plain = value.encode("utf-8", "surrogateescape")
    encoded = base64.b64encode(plain).rstrip(b"=")
    sent = quote_plus(plain, safe="*").replace("~", "%7E").encode()
    return {
        plain,
        quote(plain, safe="").encode(),
        sent,
        json.dumps(value)[1:-1].encode(),
        escape(value).encode("utf-8", "surrogateescape"),
        encoded[: len(plain) * 4 // 3],
    }
