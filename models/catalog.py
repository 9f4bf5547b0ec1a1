"""Which models can be brought by one command, and which are here."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ..core.errors import CatalogError, UsageError
from ..core.settings import home

_Strict = ConfigDict(frozen=True, extra="forbid")


class HubSource(BaseModel):
    """A file of a repository on the Hugging Face hub, or on the mirror that `HF_ENDPOINT` names."""

    model_config = _Strict
    hub: str
    revision: str
    path: str


class PackageSource(BaseModel):
    """Python packages that carry the file. `{n}` in the texts is the part's number, from 1."""

    model_config = _Strict
    package: str
    member: str
    parts: int = Field(ge=1)


Source = Annotated[HubSource | PackageSource, Field(union_mode="left_to_right")]


class Entry(BaseModel):
    """One model of the catalogue: one GGUF file, wherever it comes from."""

    model_config = _Strict
    name: str
    description: str
    file: str
    size_bytes: int = Field(gt=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    licence: str
    licence_url: str
    context_tokens: int = Field(gt=0)
    native_tools: bool = False
    """Whether the model is good enough at the server's own tool calling to be used with it."""
    sources: tuple[Source, ...] = Field(min_length=1)

    @property
    def installed_path(self) -> Path:
        """Where the file is once it is here."""
        return models_folder() / self.file

    @property
    def installed(self) -> bool:
        """Whether the whole file is here. Its hash was checked before it got its name."""
        try:
            return self.installed_path.stat().st_size == self.size_bytes
        except OSError:
            return False


def models_folder() -> Path:
    """Return the folder of models. Not created here."""
    return home() / "models"


@cache
def entries() -> dict[str, Entry]:
    """Return the catalogue, by name."""
    text = resources.files(__package__ or "branchwise.models").joinpath("catalog.toml").read_text(encoding="utf-8")
    return {name: Entry(name=name, **row) for name, row in tomllib.loads(text)["models"].items()}


def entry(name: str) -> Entry:
    """Return a model of the catalogue.

    Raises:
        UsageError: there is none of that name.
    """
    found = entries().get(name)
    if found is None:
        raise UsageError(f"no model {name!r} in the catalogue; there are: {', '.join(sorted(entries()))}")
    return found


def path(name: str) -> Path:
    """Return the file of an installed model.

    Raises:
        UsageError: there is no such model in the catalogue.
        CatalogError: it is not here yet.
    """
    model = entry(name)
    if not model.installed:
        raise CatalogError(
            f"the model {name} is not on this machine; bring it ({model.size_bytes / 2**20:,.0f} MiB, {model.licence}) with: "
            f"branchwise models pull {name}"
        )
    return model.installed_path
