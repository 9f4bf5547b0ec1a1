"""devcontainer.json, as far as it says something that a sandbox can follow."""

from __future__ import annotations

import json
import logging
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ..core.errors import UsageError
from .recipe import Recipe

_log = logging.getLogger(__name__)

_STRING = r'"(?:\\.|[^"\\])*"'
_COMMENT = re.compile(rf"({_STRING})|//[^\n]*|/\*.*?\*/", re.DOTALL)
_TRAILING_COMMA = re.compile(rf"({_STRING})|,(?=\s*[}}\]])")
_COMMANDS = ("onCreateCommand", "updateContentCommand", "postCreateCommand")
"""In the order in which they run."""
_FOLLOWED = frozenset({"image", "build", "dockerFile", "context", "containerEnv", "remoteEnv", *_COMMANDS})
_FOR_EDITORS = frozenset({
    "$schema", "name", "customizations", "forwardPorts", "portsAttributes", "otherPortsAttributes", "waitFor",
    "shutdownAction", "hostRequirements", "overrideCommand", "updateRemoteUserUID", "userEnvProbe", "secrets",
})  # fmt: skip
"""Means nothing to a sandbox, or nothing that would be missed."""
_WHY = {
    "remoteUser": "programs run as the sandbox's own user",
    "containerUser": "programs run as the sandbox's own user",
    "mounts": "use mounts=",
    "runArgs": "the sandbox's limits stand",
    "features": "put them into a Dockerfile or setup=",
    "privileged": "the sandbox's limits stand",
    "capAdd": "the sandbox's limits stand",
    "securityOpt": "the sandbox's limits stand",
    "workspaceFolder": "the work space is /workspace",
    "workspaceMount": "the work space is /workspace",
    "appPort": "no port leads into a sandbox",
    "postStartCommand": "nothing runs when a sandbox starts",
    "postAttachCommand": "nothing runs when a sandbox starts",
    "initializeCommand": "nothing of it runs on this machine",
}


@dataclass(frozen=True, slots=True)
class DevContainer:
    """What is taken from a devcontainer.json."""

    path: Path
    image: str | None
    recipe: Recipe | None
    commands: tuple[str, ...]
    """For a shell, in order; they run in a copy of the project's folder."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def project(self) -> Path:
        """The folder that the file is about."""
        folder = self.path.parent
        if folder.parent.name == ".devcontainer":
            folder = folder.parent
        return folder.parent if folder.name == ".devcontainer" else folder


def find_devcontainer(folder: Path) -> Path | None:
    """Return the devcontainer.json of a project's folder, or of a `.devcontainer` folder itself; None: it has none."""
    for path in (
        folder / ".devcontainer" / "devcontainer.json",
        folder / ".devcontainer.json",
        folder / "devcontainer.json",
    ):
        if path.is_file():
            return path
    return None


def read_devcontainer(path: Path) -> DevContainer:
    """Read a devcontainer.json; what it asks for in vain is named in a warning.

    Raises:
        UsageError: it cannot be read, or describes nothing that a sandbox can be made of.
    """
    try:
        given: Any = json.loads(_plain(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise UsageError(f"{str(path)!r} cannot be read: {error}") from error
    given = _object(path, "the file", given)
    if "dockerComposeFile" in given:
        raise UsageError(
            f"{str(path)!r} is about docker compose; describe its services by Docker(services={{...}}) instead"
        )
    ignored = sorted(given.keys() - _FOLLOWED - _FOR_EDITORS)
    if ignored:
        told = ", ".join(f"{key} ({_WHY[key]})" if key in _WHY else key for key in ignored)
        _log.warning("%s: not followed: %s", path, told)
    recipe = _recipe(path, given)
    image = given.get("image")
    if recipe is None and not isinstance(image, str):
        raise UsageError(f"{str(path)!r} names neither an 'image' nor a Dockerfile in 'build'")
    return DevContainer(
        path=path,
        image=None if recipe is not None else image,
        recipe=recipe,
        commands=tuple(line for key in _COMMANDS for line in _lines(path, key, given.get(key))),
        environment=_environment(path, "containerEnv", given.get("containerEnv", {}))
        | _environment(path, "remoteEnv", given.get("remoteEnv", {})),
    )


def _plain(text: str) -> str:
    """Return JSON without the comments and trailing commas that these files may have."""
    text = _COMMENT.sub(lambda found: found[1] or " ", text)
    return _TRAILING_COMMA.sub(lambda found: found[1] or "", text)


def _recipe(path: Path, given: Mapping[str, Any]) -> Recipe | None:
    build = _object(path, "build", given.get("build", {}))
    dockerfile = build.get("dockerfile", given.get("dockerFile"))
    if dockerfile is None:
        return None
    left = sorted(build.keys() - {"dockerfile", "context", "args", "target"})
    if left:
        _log.warning("%s: not followed: %s", path, ", ".join(f"build.{key}" for key in left))
    context = path.parent / str(build.get("context", given.get("context", ".")))
    arguments = _environment(path, "build.args", build.get("args", {}))
    target = None if build.get("target") is None else str(build["target"])
    return Recipe(context.resolve(), (path.parent / str(dockerfile)).resolve(), arguments, target)


def _object(path: Path, key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{str(path)!r}: {key} must be an object {{...}}, not {value!r}")
    return cast("dict[str, Any]", value)


def _lines(path: Path, key: str, value: Any) -> list[str]:
    """Return a command, given as a line, as words, or as several by name, as lines for a shell."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [shlex.join(map(str, cast("Sequence[Any]", value)))]
    if isinstance(value, dict):
        return [line for inner in cast("dict[str, Any]", value).values() for line in _lines(path, key, inner)]
    raise UsageError(f"{str(path)!r}: {key!r} must be a text, a list or an object, not {value!r}")


def _environment(path: Path, key: str, values: Any) -> dict[str, str]:
    """Return variables; those that would take something from this machine's own environment are left out."""
    kept: dict[str, str] = {}
    for name, value in _object(path, key, values).items():
        text = str(value).replace("${containerWorkspaceFolder}", "/workspace")
        if value is None or "${" in text:
            if value is not None:
                _log.warning("%s: not followed: %s=%r; give it by env= or secrets=", path, name, value)
            continue
        kept[name] = text
    return kept
