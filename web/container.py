"""What a user sets for a browser that runs in a container."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

_BROWSER_MB = 256


class Container(BaseModel):
    """A container of the Docker engine for the browser: `Browser(..., contained=Container(memory_mb=4096))`.

    Without `image`, one is made from this machine's own Chromium and Python; no registry is needed. An image of your own
    needs a Chromium, fonts, and a `python3` (3.8 or newer) on its PATH.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str | None = Field(
        default=None, min_length=1, description="an image that the engine holds; None: one is made"
    )
    memory_mb: int = Field(default=2048, ge=512, description="of the browser with all its pages, scratch included")
    scratch_mb: int = Field(
        default=512, ge=64, description="size of /tmp: profile, shared memory, downloads in progress"
    )
    cpus: float = Field(default=2.0, gt=0, le=64, description="at most as many as the engine's machine has")
    pids: int = Field(default=2048, ge=128, description="most processes and threads")

    @model_validator(mode="after")
    def _fits(self) -> Container:
        if self.scratch_mb + _BROWSER_MB > self.memory_mb:
            raise ValueError(
                f"memory_mb={self.memory_mb} is too little: scratch counts as memory, and the browser needs {_BROWSER_MB} MiB beside "
                f"scratch_mb={self.scratch_mb}"
            )
        return self
