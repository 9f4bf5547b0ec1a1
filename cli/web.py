"""`branchwise run --url`: a web agent without a file that defines it."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console

from ..core.errors import UsageError
from ..sandboxes.network import Allow

if TYPE_CHECKING:
    from ..agents import Agent
    from ..core.types import Budget

_MARK = "web:"
"""What the source of such an agent begins with."""


class WebRun(BaseModel):
    """What the command line says of a web agent. Values of secrets are not part of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    model: str
    headed: bool = False
    contained: bool = False
    allow: tuple[str, ...] = ()
    """Hosts beside the start page's own."""
    search: str | None = None
    """The strategy's name, with which the agent is made: one that throws branches away gets no tool for what is done for good."""
    secrets: dict[str, str] = {}
    """Variables of this process by the secrets' names."""

    @classmethod
    def of_source(cls, source: str) -> Self | None:
        """Return what `source` has written down; None where an agent's source is a file.

        Raises:
            UsageError: it cannot be read.
        """
        if not source.startswith(_MARK):
            return None
        try:
            return cls(**json.loads(source.removeprefix(_MARK)))
        except (ValueError, TypeError) as error:
            raise UsageError(f"{source!r} describes no web agent; begin a new one by --url") from error

    @property
    def source(self) -> str:
        """What a run notes, so that it can be resumed from the command line."""
        return _MARK + self.model_dump_json(exclude_defaults=True)

    @property
    def hosts(self) -> tuple[str, ...]:
        """What pages may reach.

        Raises:
            UsageError: the address or a host is none.
        """
        from ..web import Browser

        with _plainly():
            own = Browser(self.url).allowed(self.url).hosts
            return Allow(*own, *self.allow).hosts

    def agent(self) -> Agent:
        """Return the agent.

        Raises:
            UsageError: the address or a host is none, or a secret's variable is not set or its value too short.
        """
        from ..agents import web
        from ..search.named import parse_strategy

        missing = [variable for variable in self.secrets.values() if variable not in os.environ]
        if missing:
            raise UsageError(f"--secret: the environment has no variable {', '.join(missing)}; set it, then run again")
        settings: dict[str, Any] = {
            "headed": self.headed,
            "contained": self.contained,
            "allow": Allow(*self.hosts),
            "secrets": {name: os.environ[variable] for name, variable in self.secrets.items()},
        }
        search = None if self.search is None else parse_strategy(self.search)
        with _plainly():
            return web(self.url, model=self.model, search=search, **settings)


@contextmanager
def _plainly() -> Generator[None]:
    """Say what pydantic finds wrong in its own words alone."""
    try:
        yield
    except ValidationError as error:
        raise UsageError("; ".join(str(one["msg"]).removeprefix("Value error, ") for one in error.errors())) from None


def read_web_run(
    url: str | None,
    *,
    model: str | None,
    headed: bool,
    contained: bool = False,
    allow: Sequence[str],
    secrets: Sequence[str],
    search: str | None,
) -> WebRun | None:
    """Return what the options say; None without `--url`.

    Raises:
        UsageError: options for a web agent without one, or one without a model.
    """
    if url is None:
        given = {
            "--model": model,
            "--headed": headed,
            "--contained": contained,
            "--allow": allow,
            "--secret": secrets,
        }
        if used := [name for name, value in given.items() if value]:
            raise UsageError(f"{', '.join(used)} belongs to --url; an agent in a file says it there")
        return None
    if model is None:
        raise UsageError("--url needs a model: --model PROVIDER:MODEL, such as embedded:qwen2.5-coder-1.5b")
    if headed and contained:
        raise UsageError(
            "--headed shows the browser's window, and --contained has no display to show it on; give one of the two"
        )
    return WebRun(
        url=url,
        model=model,
        headed=headed,
        contained=contained,
        allow=tuple(allow),
        secrets=read_secrets(secrets),
        search=search,
    )


def read_secrets(given: Sequence[str]) -> dict[str, str]:
    """Return what `--secret NAME=VARIABLE` options say.

    Raises:
        UsageError: one is not of that form. What is given is not repeated: it may be the secret itself.
    """
    found: dict[str, str] = {}
    for number, text in enumerate(given, 1):
        name, equals, variable = text.partition("=")
        if not name or not equals or not variable.isidentifier():
            raise UsageError(
                f"--secret number {number} must be NAME=VARIABLE, with the name of an environment variable that holds the value, "
                "such as password=SHOP_PASSWORD; values themselves would be seen by others on this machine"
            )
        found[name] = variable
    return found


def announce(console: Console, run: WebRun, budget: Budget) -> None:
    """Print where the agent may go and what it may spend, before it begins."""
    limits = budget.model_dump(exclude_defaults=True)
    spend = ", ".join(f"{value:g} {name}" for name, value in limits.items() if value is not None) or "no limit"
    contained = ", in a browser in a container" if run.contained else ""
    secrets = f"; secrets: {', '.join(run.secrets)}" if run.secrets else ""
    console.print(
        f"pages of {', '.join(run.hosts)}{contained}{secrets}; budget: {spend}; what cannot be taken back is asked about first",
        style="dim",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
