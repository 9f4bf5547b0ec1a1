"""What a user grants the programs of every kind of sandbox: network, variables, secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from .network import Allow
from .secret import SHORTEST, Secrets

if TYPE_CHECKING:
    from .egress import Egress


class Grants(BaseModel):
    """What programs get beside their work space: nothing, unless the user says so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: Literal["none"] | Allow = Field(
        default="none", description="'none', or Allow('pypi.org', '*.example.com:443') for these hosts and no others"
    )
    env: dict[str, str] = Field(
        default_factory=dict[str, str], description="environment variables; no place for secrets: they show in records"
    )
    secrets: dict[str, SecretStr] | tuple[str, ...] = Field(
        default=(),
        description="values by name, or names of this process's own variables; programs get them as environment variables, "
        "they are replaced by their names in all that programs write, and no snapshot may hold them",
    )

    @field_validator("network", mode="before")
    @classmethod
    def _no_bridge(cls, network: Any) -> Any:
        if isinstance(network, str) and network != "none":
            raise ValueError(
                f"network={network!r} is neither 'none' nor an allow-list; use Allow('pypi.org', ...), or Allow('*') for "
                "everything public. A network of the engine would lead to this machine and its neighbours too"
            )
        return network

    @field_validator("env")
    @classmethod
    def _can_be_variables(cls, env: dict[str, str]) -> dict[str, str]:
        for name, value in env.items():
            _check_variable(name, value)
        return env

    @field_validator("secrets")
    @classmethod
    def _can_be_kept(cls, secrets: dict[str, SecretStr] | tuple[str, ...]) -> dict[str, SecretStr] | tuple[str, ...]:
        if isinstance(secrets, tuple):
            return secrets
        for name, value in secrets.items():
            _check_variable(name, value.get_secret_value())
            if len(value.get_secret_value()) < SHORTEST:
                raise ValueError(
                    f"the secret {name!r} has fewer than {SHORTEST} characters, so it cannot be kept out of output; give it by "
                    "env={...} if it is none"
                )
        return secrets

    @property
    def network_words(self) -> str:
        """What programs reach, in words."""
        return "no network" if self.network == "none" else f"network by a proxy to {self.network} only"

    def given_secrets(self) -> Secrets:
        """Return the secrets with their values.

        Raises:
            UsageError: a variable that is named is not there.
        """
        return Secrets.of(self.secrets)

    def way_out(self) -> Egress | None:
        """Return what opens connections for the sandboxes of one run; None where they get none."""
        if self.network == "none":
            return None
        from .egress import Egress  # what it stands on takes its time to load

        return Egress(self.network)


def _check_variable(name: str, value: str) -> None:
    if not name or "=" in name or "\0" in name:
        raise ValueError(f"{name!r} cannot be the name of an environment variable")
    if "\0" in value:
        raise ValueError(f"the value of {name!r} holds a NUL character, which no environment variable can")
