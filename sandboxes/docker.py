"""Sandboxes in hardened Docker containers: the default."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from ..core.protocols import Capability
from .devcontainer import find_devcontainer, read_devcontainer
from .door import brought
from .environment import WorkerSandboxes
from .launch import SandboxLimits, open_supply
from .mounts import Mount
from .recipe import Recipe
from .service import Service, check_names

if TYPE_CHECKING:
    from .docker_engine import DockerEngine
    from .egress import Egress

_log = logging.getLogger(__name__)

_PLAIN_RUNTIMES = frozenset({None, "runc", "crun"})


class Docker(SandboxLimits):
    """Sandboxes as containers of the Docker engine that DOCKER_HOST names, else of the local one.

    Without `image` and `build`, an image is made from this machine's own Python and its usual command-line programs; no
    registry is needed. An image of your own needs nothing but a `python3` (3.8 or newer) on its PATH.
    """

    image: str | None = Field(
        default=None, min_length=1, description="an image that the engine holds; None: one is made"
    )
    build: Path | None = Field(
        default=None,
        description="a folder with a Dockerfile or a .devcontainer, or such a file; built once and found again by content",
    )
    setup: tuple[str, ...] = Field(
        default=(),
        description="lines for a shell that root runs once over the image, with the network that `network` allows; the "
        "result is kept as an image, so they get no secrets",
    )
    setup_files: tuple[Path, ...] = Field(
        default=(), description="files, and folders for what is in them, that `setup` finds in its working folder"
    )
    mounts: tuple[Mount, ...] = Field(default=(), description="folders and files of this machine")
    services: dict[str, Service] = Field(
        default_factory=dict[str, Service], description="programs beside each sandbox, by the name it reaches them at"
    )
    inodes: int = Field(default=20_000, ge=100, description="most files and folders in the work space")
    cpus: float = Field(default=1.0, gt=0, le=64)
    runtime: str | None = Field(
        default=None, min_length=1, description="a runtime of the engine, such as 'runsc' (gVisor)"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.image is not None and self.build is not None:
            raise ValueError("image= and build= both name an image; give one of them")
        if self.setup_files and not self.setup:
            raise ValueError("setup_files= are for the commands of setup=, and there are none; mounts= brings files in")
        if self.runtime == "runsc" and (self.services or self.network != "none"):
            raise ValueError(
                "runtime='runsc' has a network of its own for every container: services= and network=Allow(...) do not work "
                "with it; use one or the other"
            )
        check_names(self.services)
        return self

    @property
    def isolation(self) -> str:
        """What keeps a guest in, in words."""
        kernel = "the host's kernel is shared" if self.runtime in _PLAIN_RUNTIMES else f"runtime {self.runtime}"
        if self.runtime == "runsc":
            kernel = "gVisor's kernel stands before the host's"
        writable = [str(mount.source) for mount in self.mounts if mount.writable]
        more = [f"services {', '.join(self.services)} that are not forked"] if self.services else []
        more += [f"WRITES to {', '.join(writable)}, which all branches share"] if writable else []
        keeps = (
            f"docker: {self.network_words}, unprivileged user, no capabilities, read-only system, own system-call filter, "
            f"limits on memory ({self.memory_mb} MiB), processors ({self.cpus:g}), processes and files"
        )
        return "; ".join([keeps, *more, kernel])

    @property
    def capability(self) -> Capability:
        """What can be done about a state: services are not forked with it, and what mounts hold is not brought back."""
        if any(mount.writable for mount in self.mounts):
            return "irreversible"
        return "replayable" if self.services else "forkable"

    async def start(self, run_id: str, store: Path) -> WorkerSandboxes:
        """Return a supply of sandboxes whose snapshots live in the folder `store`; one is ready when this returns.

        Raises:
            SandboxStartFailed: no engine answers, or it cannot start a sandbox; the message says what to do.
            UsageError: something that was named is not there.
        """
        from .docker_engine import DockerEngine  # the client library takes its time to load
        from .docker_supply import DockerSupply, check_engine, far_governor

        secrets = self.given_secrets()
        engine = await brought(asyncio.to_thread(DockerEngine.connect), DockerEngine.close)
        egress = self.way_out()

        async def on_close() -> None:
            if egress is not None:
                egress.close()
            await asyncio.to_thread(engine.close)

        try:
            await asyncio.to_thread(check_engine, engine, self)
            image, environment = await self._image(engine, egress, run_id)
            make = DockerSupply(engine, self, image=image, run_id=run_id, egress=egress, environment=environment)
            await make.prepare()
            supply = await open_supply(
                make,
                self,
                store=store,
                isolation=self.isolation,
                on_close=on_close,
                secrets=secrets,
                capability=self.capability,
                beside_bytes=sum(service.memory_mb << 20 for service in self.services.values()),
                governor=await asyncio.to_thread(far_governor, engine),
            )
        except BaseException:
            await on_close()
            raise
        return supply

    async def _image(self, engine: DockerEngine, egress: Egress | None, run_id: str) -> tuple[str, Mapping[str, str]]:
        """Return the name of the image, made where need be, and the variables that come with it."""
        from .image import ensure_base_image
        from .image_setup import SetUp, ensure_set_up

        environment: dict[str, str] = {}
        commands, files = list(self.setup), list(self.setup_files)
        recipe, image = None, self.image
        path = None if self.build is None else _build_file(self.build.expanduser())
        if path is not None and path.suffix == ".json":
            given = read_devcontainer(path)
            recipe, image = given.recipe, given.image
            environment.update(given.environment)
            if given.commands:
                commands, files = [*given.commands, *commands], [given.project, *files]
        elif path is not None:
            recipe = Recipe(path.parent, path)
        if recipe is not None:
            from .build import ensure_built

            image = await asyncio.to_thread(ensure_built, engine, recipe, run_id)
        elif image is None:
            image = await asyncio.to_thread(ensure_base_image, engine, self.packages, run_id)
        environment.update(self.env)
        if commands:
            work = SetUp(commands, files, environment, cpus=self.cpus)
            image = await ensure_set_up(engine, image, work, egress=egress, run_id=run_id, runtime=self.runtime)
        return image, environment


def _build_file(build: Path) -> Path:
    """Return the Dockerfile or devcontainer.json that `build` means."""
    if build.is_file():
        return build
    dockerfile, devcontainer = build / "Dockerfile", find_devcontainer(build)
    if dockerfile.is_file():
        if devcontainer is not None:
            _log.warning("%s is built; to use %s instead, name it in build=", dockerfile, devcontainer)
        return dockerfile
    return devcontainer or dockerfile
