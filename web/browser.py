"""How a user says which pages an agent works on, and within which limits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from ..core.errors import SandboxStartFailed, UsageError
from ..core.protocols import Capability
from ..sandboxes.network import Allow
from ..sandboxes.secret import SHORTEST
from .container import Container
from .policy import REVERSIBLE, Policy
from .site import Site

if TYPE_CHECKING:
    from .supply import WebSandboxes

_LOOPBACK = ("127.0.0.1", "[::1]")


class Browser(BaseModel):
    """Pages in a real Chromium; give it to an agent as its sandbox: `Agent(sandbox=bw.web.Browser("https://example.org/"))`.

    Every branch has a context of its own in one browser: cookies, storage and tabs are never shared. A state is brought
    back by doing its actions again in a fresh context, or faster where the page allows; what comes out is compared with
    what was there, and a state that comes out differently is refused, not searched on.

    Where the server can be had afresh (`site`), everything may be tried. Where it is what it is, actions that cannot be
    taken back are held, by `policy`, until somebody commits to them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    url: str | None = Field(default=None, description="the start page: http(s)://… or file://…")
    site: Site | None = Field(default=None, description="instead of `url`: a site that every branch gets afresh")
    storage: Path | None = Field(
        default=None,
        description="a file with cookies and local storage to begin with, as Playwright's storage_state writes it",
    )
    allow: Allow | None = Field(
        default=None, description="hosts that pages may reach; the start page's own unless given"
    )
    file_roots: tuple[Path, ...] = Field(
        default=(), description="folders whose files pages may show, for file:// pages"
    )
    policy: Policy | None = Field(
        default=None,
        description="what is irreversible; nothing with `site`, else what pays, sends, deletes or is no GET",
    )
    secrets: dict[str, SecretStr] = Field(
        default_factory=dict[str, SecretStr],
        description="values by name: filled in by name only, and replaced by their names in all that is shown or kept",
    )
    secret_hosts: tuple[str, ...] = Field(
        default=(), description="hosts that get secrets; the start page's unless given"
    )
    executable: str | None = Field(default=None, description="a Chromium; found unless given")
    headed: bool = Field(default=False, description="show the browser's window")
    sandboxed: bool | None = Field(
        default=None, description="Chromium's own sandbox; unless given, where it works: not for root"
    )
    contained: bool | Container = Field(
        default=False, description="run the browser in a container of the Docker engine; True: as `Container()` says"
    )
    viewport: tuple[int, int] = (1280, 720)
    locale: str = "en-US"
    timezone: str = "UTC"
    user_agent: str | None = None
    seed: int | None = Field(
        default=0, description="of pages' Math.random, so that they can be had again; None: theirs"
    )
    ignore: tuple[str, ...] = Field(default=(), description="CSS selectors of what changes by itself, such as clocks")
    over: str | None = Field(
        default=None,
        description="JavaScript that says whether a page has come to an end by itself, `() => window.over === true`; the "
        "trajectory is over then, with an empty answer; what it throws means no",
    )
    screens: float = Field(default=1.0, ge=0, le=20, description="screens above and below the view that are told too")
    limit_chars: int = Field(default=14_000, ge=500, description="most characters of a page at a time")
    action_seconds: float = Field(default=5.0, gt=0)
    load_seconds: float = Field(default=15.0, gt=0)
    quiet_seconds: float = Field(
        default=0.06, gt=0, description="nothing may happen so long before a page is looked at"
    )
    settle_seconds: float = Field(default=1.0, gt=0, description="a page that never rests is looked at after that")
    contexts: int = Field(default=8, ge=1, le=64, description="most contexts open at a time; each takes 50 to 80 MB")
    kept_contexts: int = Field(
        default=3, ge=0, le=32, description="of those, most that wait open for their branch to go on"
    )
    pictures_mb: int = Field(
        default=16,
        ge=0,
        le=4096,
        description="most MiB of a run's small pictures of pages, the oldest dropped; 0: none",
    )
    marked_mb: int = Field(
        default=256,
        ge=1,
        le=65536,
        description="most MiB of a run's pictures for models, the oldest dropped, and taken again where they are needed",
    )
    download_mb: int = Field(default=32, ge=1, description="most MiB of one downloaded file")

    def __init__(self, url: str | None = None, **settings: Any) -> None:
        super().__init__(url=url, **settings)

    @field_validator("secrets")
    @classmethod
    def _can_be_hidden(cls, secrets: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in secrets.items():
            if len(value.get_secret_value()) < SHORTEST:
                raise ValueError(
                    f"the secret {name!r} has fewer than {SHORTEST} characters, so it cannot be kept out of what is shown"
                )
        return secrets

    @model_validator(mode="after")
    def _begins_somewhere(self) -> Self:
        if (self.url is None) == (self.site is None):
            raise ValueError(
                "give a start page, Browser('https://…'), or site=... for pages that every branch gets afresh, and not both"
            )
        if self.url is not None and not (
            self.url.startswith("file:///")
            or (self.url.startswith(("http://", "https://")) and urlsplit(self.url).hostname)
        ):
            raise ValueError(f"url={self.url!r} is no address; give one that begins with https://, http:// or file:///")
        if self.headed and self.contained:
            raise ValueError(
                "headed=True shows the browser's window, and a contained browser has no display to show it on; give one of the two"
            )
        if self.kept_contexts >= self.contexts and self.contexts > 1:
            raise ValueError(
                f"kept_contexts={self.kept_contexts} must be less than contexts={self.contexts}, or none is left to work in"
            )
        return self

    @property
    def effective_policy(self) -> Policy:
        """What is irreversible."""
        if self.policy is not None:
            return self.policy
        return REVERSIBLE if self.site is not None else Policy()

    @property
    def container(self) -> Container | None:
        """The container that the browser runs in; None: it runs on this machine."""
        if isinstance(self.contained, Container):
            return self.contained
        return Container() if self.contained else None

    @property
    def capability(self) -> Capability:
        """What can be done about a state."""
        return "replayable"

    @property
    def isolation(self) -> str:
        """What keeps pages in, in words."""
        own = "no sandbox of Chromium's own" if self.sandboxed is False else "Chromium's own sandbox"
        network = f"network by a proxy to {self.allow or 'the start page'} only"
        container = self.container
        if container is not None:
            where = "" if self.sandboxed is not None else " where the kernel lets it make namespaces"
            return (
                f"browser in a Docker container: a context per branch, {network}, unprivileged user, no capabilities, read-only "
                f"system, own system-call filter, limits on memory ({container.memory_mb} MiB), processors ({container.cpus:g}) and "
                f"processes, none of this machine's files; {own}{where}; the host's kernel is shared"
            )
        where = "" if self.sandboxed is not None else " unless this is root"
        return f"browser: a context per branch, {own}{where}, {network}"

    def allowed(self, url: str) -> Allow:
        """Return the hosts that pages may reach when they begin at `url`."""
        if self.allow is not None:
            return self.allow
        parts = urlsplit(url)
        if parts.hostname is None:
            return Allow("nowhere.invalid")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        # Names lead to this machine only where its addresses are named too.
        more = [f"{address}:{port}" for address in _LOOPBACK] if parts.hostname == "localhost" else []
        return Allow(f"{host}:{port}", *more)

    def roots(self, url: str) -> tuple[Path, ...]:
        """Return the folders whose files pages may show when they begin at `url`."""
        if self.file_roots or not url.startswith("file:"):
            return tuple(root.resolve() for root in self.file_roots)
        return (Path(unquote(urlsplit(url).path)).resolve().parent,)

    async def start(self, run_id: str, store: Path) -> WebSandboxes:
        """Return a supply of pages whose states live in the folder `store`.

        Raises:
            SandboxStartFailed: there is no browser, or it does not start; the message says what to do.
        """
        try:
            from .supply import WebSandboxes
        except ModuleNotFoundError as error:
            if error.name is None or not error.name.startswith("playwright"):
                raise
            raise SandboxStartFailed(
                "pages need Playwright, which is not installed: pip install 'branchwise[web]'"
            ) from error
        return await WebSandboxes.begin(self, run_id, store)


def secret_for(spec: Browser, name: str, url: str, start: str) -> str:
    """Return a secret's value for a page.

    Raises:
        UsageError: there is no such secret, or this page's host is not to get it.
    """
    if name not in spec.secrets:
        known = ", ".join(spec.secrets) or "none"
        raise UsageError(f"there is no secret {name!r}; there are: {known}")
    host = urlsplit(url).hostname
    hosts = spec.secret_hosts or (urlsplit(start).hostname,)
    if host not in hosts:
        raise UsageError(f"the secret {name!r} is not for {host}; only for {', '.join(str(one) for one in hosts)}")
    return spec.secrets[name].get_secret_value()
