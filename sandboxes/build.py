"""Images from a folder with a Dockerfile, built once and found again by what went into them."""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
import tempfile
import time
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import IO

from docker.utils.build import exclude_paths

from ..core.errors import SandboxStartFailed, UsageError
from .docker_engine import ENGINE_ERRORS, DockerEngine, advice, reason_of
from .owner import LABEL
from .progress import say
from .recipe import Recipe

BUILT = "branchwise/build"
STEP_LABEL = "branchwise.step"
"""On what a build leaves half done, and not on what it ends with, nor on what is built upon that."""
_RECIPE = 1
_DOCKERFILE = ".branchwise.Dockerfile"
_LAST_LINES = 12
_BUILD_SECONDS = 3600


def ensure_built(engine: DockerEngine, recipe: Recipe, run_id: str) -> str:
    """Return the name of the image, built where the engine does not hold one of the same content yet.

    Steps of the Dockerfile reach the network as in every `docker build`; the sandbox's policy is not theirs.

    Raises:
        SandboxStartFailed: the build failed; the message has the step and the last it said.
        UsageError: there is no such folder or Dockerfile.
    """
    with tempfile.TemporaryFile(prefix="branchwise-context-") as context:
        name = f"{BUILT}:{pack_context(recipe, context)}"
        try:
            if not engine.has_image(name):
                _build(engine, recipe, context, name, run_id)
        except (*ENGINE_ERRORS, OSError) as error:
            reason = reason_of(error)
            raise SandboxStartFailed(
                f"{str(recipe.dockerfile)!r} could not be built: {reason}{_hint(reason)}"
            ) from error
    return name


def pack_context(recipe: Recipe, into: IO[bytes]) -> str:
    """Write the context as a tar archive in which nothing depends on when or by whom it was written; return its hash.

    Raises:
        UsageError: there is no such folder or Dockerfile.
    """
    try:
        text = recipe.dockerfile.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the Dockerfile {str(recipe.dockerfile)!r} cannot be read: {error}") from error
    with tarfile.open(fileobj=into, mode="w", format=tarfile.PAX_FORMAT) as archive:
        add_folder(archive, recipe.context, ignored(recipe.context, recipe.dockerfile))
        content = labelled(text).encode()
        info = tarfile.TarInfo(_DOCKERFILE)
        info.size = len(content)
        archive.addfile(info, BytesIO(content))
    digest = hashlib.sha256(repr((_RECIPE, sorted(recipe.arguments.items()), recipe.target)).encode())
    into.seek(0)
    while piece := into.read(1 << 20):
        digest.update(piece)
    into.seek(0)
    return digest.hexdigest()[:16]


def ignored(context: Path, dockerfile: Path | None = None) -> list[str]:
    """Return the patterns of the folder's `.dockerignore`, or of the one that belongs to the Dockerfile alone."""
    own = [] if dockerfile is None else [dockerfile.with_name(dockerfile.name + ".dockerignore")]
    for path in (*own, context / ".dockerignore"):
        if path.is_file():
            lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
            return [line for line in lines if line and not line.startswith("#")]
    return []


def add_folder(archive: tarfile.TarFile, folder: Path, patterns: Iterable[str]) -> None:
    """Add what the patterns leave of a folder. Owner and times are left out; sockets, pipes and devices too.

    Raises:
        UsageError: it is no folder, or something in it cannot be read.
    """
    if not folder.is_dir():
        raise UsageError(f"{str(folder)!r} is no folder; give one, with a Dockerfile or a .devcontainer in it")
    for name in sorted(exclude_paths(os.fspath(folder), list(patterns))):
        path = folder / name
        info = archive.gettarinfo(path, arcname=name)
        if not (info.isfile() or info.isdir() or info.issym() or info.islnk()):
            continue
        if info.islnk():
            info.type, info.size = tarfile.REGTYPE, path.stat().st_size
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mtime = 0
        try:
            if info.isfile():
                with path.open("rb") as content:
                    archive.addfile(info, content)
            else:
                archive.addfile(info)
        except OSError as error:
            raise UsageError(
                f"{str(path)!r} cannot be read: {error}; name it in .dockerignore to leave it out"
            ) from error


def labelled(dockerfile: str) -> str:
    """Return a Dockerfile whose every stage begins with our label, so that what a failed build leaves is known as ours."""
    lines: list[str] = []
    continued = False
    for line in dockerfile.splitlines():
        lines.append(line)
        stripped = line.strip()
        begins = not continued and re.match(r"(?i)from\s", stripped) is not None
        continues = stripped.endswith("\\")
        if begins and not continues:
            lines.append(f"LABEL {LABEL}=image {STEP_LABEL}=yes")
        if stripped and not stripped.startswith("#"):
            continued = continues
    return "\n".join(lines) + "\n"


def _build(engine: DockerEngine, recipe: Recipe, context: IO[bytes], name: str, run_id: str) -> None:
    say(f"building an image from {recipe.dockerfile} (once, until its folder changes)")
    begun = time.monotonic()
    stream = engine.api.build(
        fileobj=context,
        custom_context=True,
        dockerfile=_DOCKERFILE,
        tag=name,
        labels={**engine.labels("image", run_id), STEP_LABEL: ""},
        buildargs=dict(recipe.arguments),
        target=recipe.target,
        rm=True,
        forcerm=True,
        decode=True,
        timeout=_BUILD_SECONDS,
        use_config_proxy=True,
    )
    said: list[str] = []
    step, failure = "its first step", None
    for record in stream:  # to its end in any case, or its connection would stay open
        if "error" in record:
            failure = _failure(recipe, step, str(record["error"]), said)
        for line in str(record.get("stream", record.get("status", ""))).splitlines():
            if line.startswith("Step "):
                step = line
                say(f"  {line}")
            elif line.strip():
                said = [*said, line.rstrip()][-_LAST_LINES:]
    if failure is not None:
        raise SandboxStartFailed(failure)
    say(f"built in {time.monotonic() - begun:.1f} s: {name}")


def _failure(recipe: Recipe, step: str, error: str, said: list[str]) -> str:
    words = " | ".join(line for line in said if not line.startswith(" --->"))
    reason = " ".join(error.split())
    told = f"{str(recipe.dockerfile)!r} could not be built: {step} failed: {reason}{_hint(reason)}"
    return f"{told} (it said: {words})" if words else told


def _hint(reason: str) -> str:
    """Return what to do about it, where that is known, as the end of a sentence."""
    if re.search(r"unknown instruction|unknown flag|--mount", reason, re.IGNORECASE):
        return "; the engine's own builder is used, which knows no BuildKit syntax (RUN --mount, here-documents)"
    if re.search(r"manifest unknown|pull access denied|lookup|no such host|registry", reason, re.IGNORECASE):
        return "; the image in FROM is neither in the engine nor can it be pulled"
    return advice(reason)
