"""What a program beside a sandbox, such as a database, is described by."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, field_validator

from .network import PROXY_PORT, is_name


class Service(BaseModel):
    """A program beside every sandbox, for `Docker(services={"db": Service(...)})`.

    Programs in the sandbox reach it at its name or at localhost, on whatever ports it listens. It sees neither the
    Internet, nor this machine, nor the sandbox's files. It starts afresh with every sandbox: its state belongs to no snapshot
    and is not forked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str = Field(min_length=1, description="an image that the engine holds")
    command: tuple[str, ...] | None = Field(default=None, description="arguments; None: what the image has")
    env: dict[str, str] = Field(default_factory=dict[str, str], description="seen by all who may ask the engine")
    ready: int | str | tuple[str, ...] | None = Field(
        default=None,
        description="it is ready once this port listens, or once this command, run in it, ends with 0; a string goes to its "
        "shell; None: once it has run for a moment",
    )
    ready_seconds: float = Field(default=60.0, gt=0, description="how long it may take until it is ready")
    scratch: tuple[str, ...] = Field(
        default=(), description="folders it writes into, beside /tmp, /run and the volumes of its image; lost with it"
    )
    scratch_mb: int = Field(default=256, ge=1, description="size of each of these folders; counts as memory")
    memory_mb: int = Field(default=512, ge=16)
    cpus: float = Field(default=1.0, gt=0, le=64)
    pids: int = Field(default=256, ge=16, description="most processes and threads")

    @field_validator("ready")
    @classmethod
    def _can_be_checked(cls, ready: int | str | tuple[str, ...] | None) -> int | str | tuple[str, ...] | None:
        if isinstance(ready, int) and (not 0 < ready < 1 << 16 or ready == PROXY_PORT):
            raise ValueError(f"ready={ready} is no port that a service can have (1 to 65535, but {PROXY_PORT})")
        if ready in {"", ()}:
            raise ValueError("ready is empty; give a port, a command, or leave it away")
        return ready


def check_names(services: Mapping[str, Service]) -> None:
    """Raise ValueError where a service has no name by which it could be reached."""
    for name in services:
        if not is_name(name) or name in {"localhost", "sandbox"}:
            raise ValueError(
                f"services: {name!r} cannot be a host's name; use small letters, digits and '-', such as 'db'"
            )
