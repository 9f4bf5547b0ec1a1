"""Folders and files of this machine inside of a sandbox."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..core.errors import SandboxStartFailed

_TAKEN = ("/", "/proc", "/sys", "/dev", "/tmp", "/workspace", "/run/branchwise", "/etc/hosts")  # noqa: S108  # inside
_NEVER = ("/", "/proc", "/sys", "/dev", "/run", "/var/run", "/var/lib/docker")


class Mount(BaseModel):
    """A folder or file of this machine that programs in a sandbox see, read-only unless said otherwise.

    What a mount holds is outside of snapshots and forks: every branch sees the same. With `writable=True` branches can see
    what others write, and nothing takes it back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Path = Field(description="on this machine")
    target: str = Field(description="absolute path inside, outside of the work space")
    writable: bool = Field(default=False, description="by the sandbox's user, uid 65532, as far as the mode lets it")

    def __init__(self, source: str | Path, target: str, *, writable: bool = False) -> None:
        super().__init__(source=source, target=target, writable=writable)

    @field_validator("target")
    @classmethod
    def _is_free(cls, target: str) -> str:
        parts = target.split("/")
        if not target.startswith("/") or ".." in parts or "" in parts[1:] or "\0" in target:
            raise ValueError(f"target={target!r} must be an absolute path without '..', such as '/data'")
        if any(target == taken or (taken != "/" and target.startswith(taken + "/")) for taken in _TAKEN):
            raise ValueError(f"target={target!r} is the sandbox's own; choose another, such as '/data'")
        return target

    def settings(self) -> dict[str, Any]:
        """Return what the engine is told.

        Raises:
            SandboxStartFailed: there is nothing at the source, or nothing that a sandbox may have.
        """
        source = self.source.expanduser().resolve()
        try:
            mode = source.stat().st_mode
        except OSError as error:
            raise SandboxStartFailed(f"the mount {str(self.source)!r} cannot be made: {error.strerror}") from error
        if (
            not (stat.S_ISDIR(mode) or stat.S_ISREG(mode))
            or str(source) in _NEVER
            or source.parts[1] in {"proc", "sys", "dev"}
        ):
            raise SandboxStartFailed(
                f"the mount {str(self.source)!r} is refused: it would let programs reach this machine's services or devices; "
                "mount a folder or a file with data"
            )
        return {
            "Type": "bind",
            "Source": str(source),
            "Target": self.target,
            "ReadOnly": not self.writable,
            # Only the folder itself is made read-only by the kernel, not what is mounted further below it.
            "BindOptions": {"Propagation": "rprivate", "NonRecursive": True},
        }
