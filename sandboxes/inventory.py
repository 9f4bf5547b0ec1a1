"""What an engine holds of ours, by label: to be listed and pruned. Nothing without our label is ever touched."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from docker.errors import APIError, NotFound

from ..core.errors import SandboxError
from .build import BUILT, STEP_LABEL
from .containers import ROLES
from .docker_engine import DockerEngine, reason_of
from .image import BROWSERS, REPOSITORY
from .image_setup import SET_UP
from .owner import LABEL, OWNER_LABEL, RUN_LABEL, Owner

Kind = Literal["container", "image", "network", "volume"]

IMAGES = frozenset({REPOSITORY, BROWSERS, BUILT, SET_UP})
"""The repositories that hold our images and nothing else."""
_CONFLICT = 409


@dataclass(frozen=True, slots=True)
class EngineObject:
    """Something of ours in an engine."""

    kind: Kind
    id: str
    name: str
    run: str | None
    """The run that made it; an image serves others too."""
    created: float
    """In seconds since the epoch; 0 where the engine does not say."""
    size_bytes: int | None
    """What it takes on disk for itself alone; None where the engine does not say."""
    owner_alive: bool | None
    """Whether the process that made it lives; None where that cannot be known from here."""
    in_use: bool
    """A container that runs for a living process, an image that a container was made of."""


def objects(engine: DockerEngine) -> list[EngineObject]:
    """Return everything that carries our label, containers first."""
    filters = {"label": [LABEL]}
    containers: list[dict[str, Any]] = engine.api.containers(all=True, size=True, filters=filters)
    images: list[dict[str, Any]] = engine.api.images(filters=filters)
    used = {container["ImageID"] for container in engine.api.containers(all=True)}
    found = [_container(engine, record) for record in containers if record["Labels"].get(LABEL) in ROLES]
    found += [_image(engine, record, name, used) for record in images if (name := _our_name(record)) is not None]
    for record in engine.api.networks(filters=filters):
        found.append(_other(engine, "network", str(record["Id"]), record))
    for record in engine.api.volumes(filters=filters)["Volumes"] or ():
        found.append(_other(engine, "volume", str(record["Name"]), record))
    return found


def remove_object(engine: DockerEngine, thing: EngineObject) -> None:
    """Remove something of ours; what is gone already is fine.

    Raises:
        SandboxError: it is not ours, or in use.
    """
    try:
        labels = _labels(engine, thing)
        label = labels.get(LABEL)
        if label is None or (thing.kind == "container" and label not in ROLES):
            raise SandboxError(f"the {thing.kind} {thing.name!r} does not carry our label {LABEL!r}; it is left alone")
        if thing.kind == "container":
            if _alive(engine, labels) is not False and thing.in_use:
                raise SandboxError(
                    f"the container {thing.name!r} belongs to run {thing.run!r}, which is still alive; stop the run first"
                )
            engine.remove(thing.id)
        elif thing.kind == "image":
            # The engine refuses only the last name of an image; a run in progress needs ours.
            if engine.api.containers(all=True, filters={"ancestor": thing.name}):
                raise SandboxError(f"the image {thing.name!r} is in use: a container was made from it")
            # By name: what else the user calls it stays.
            engine.api.remove_image(thing.name, force=False, noprune=False)
        elif thing.kind == "network":
            engine.api.remove_network(thing.id)
        else:
            engine.api.remove_volume(thing.id)
    except NotFound:
        return
    except APIError as error:
        if error.status_code != _CONFLICT:
            raise
        raise SandboxError(f"the {thing.kind} {thing.name!r} is in use: {reason_of(error)}") from error


def _labels(engine: DockerEngine, thing: EngineObject) -> Mapping[str, str]:
    """Ask the engine anew: what was listed may have become another's."""
    if thing.kind == "container":
        record: Any = engine.api.inspect_container(thing.id)["Config"]
    elif thing.kind == "image":
        record = engine.api.inspect_image(thing.name)["Config"]
    elif thing.kind == "network":
        record = engine.api.inspect_network(thing.id)
    else:
        record = engine.api.inspect_volume(thing.id)
    return _labels_of(record or {})


def _labels_of(record: Mapping[str, Any]) -> dict[str, str]:
    labels: Any = record.get("Labels")
    return dict(labels) if labels else {}


def _container(engine: DockerEngine, record: Mapping[str, Any]) -> EngineObject:
    labels = record["Labels"]
    alive = _alive(engine, labels)
    return EngineObject(
        kind="container",
        id=str(record["Id"]),
        name=str(next(iter(record["Names"] or ()), record["Id"][:12])).lstrip("/"),
        run=labels.get(RUN_LABEL),
        created=float(record["Created"]),
        size_bytes=record.get("SizeRw", 0),
        owner_alive=alive,
        in_use=alive is not False and record["State"] == "running",
    )


def _our_name(record: Mapping[str, Any]) -> str | None:
    """Return the name under which an image is ours, None where it is not: what a user builds on ours inherits our label."""
    tags = [tag for tag in record["RepoTags"] or () if tag != "<none>:<none>"]
    if not tags and _labels_of(record).get(STEP_LABEL):
        return str(record["Id"]).removeprefix("sha256:")[:12]
    return next((tag for tag in tags if tag.partition(":")[0] in IMAGES), None)


def _image(engine: DockerEngine, record: Mapping[str, Any], name: str, used: set[str]) -> EngineObject:
    labels = _labels_of(record)
    return EngineObject(
        kind="image",
        id=str(record["Id"]),
        name=name,
        run=labels.get(RUN_LABEL),
        created=float(record["Created"]),
        size_bytes=int(record["Size"]),
        owner_alive=_alive(engine, labels),
        in_use=record["Id"] in used,
    )


def _other(engine: DockerEngine, kind: Kind, number: str, record: Mapping[str, Any]) -> EngineObject:
    labels = _labels_of(record)
    alive = _alive(engine, labels)
    return EngineObject(
        kind=kind,
        id=number,
        name=str(record["Name"]),
        run=labels.get(RUN_LABEL),
        created=_seconds(str(record.get("Created", record.get("CreatedAt", "")))),
        size_bytes=None,
        owner_alive=alive,
        in_use=alive is not False,
    )


def _alive(engine: DockerEngine, labels: Mapping[str, str]) -> bool | None:
    owner = Owner.parse(labels.get(OWNER_LABEL, ""))
    if owner is None or (owner.boot, owner.namespace) != (engine.owner.boot, engine.owner.namespace):
        return None
    return not owner.is_dead(engine.owner)


def _seconds(text: str) -> float:
    """Return the time that the engine writes as 2026-11-22T14:08:56.472Z; 0 where it is none."""
    found = re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", text)
    return float(calendar.timegm(time.strptime(found[0], "%Y-%m-%dT%H:%M:%S"))) if found else 0.0
