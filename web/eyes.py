"""What one branch's agent has seen of its pages: looks that tell what has changed, searches, whole texts."""

from __future__ import annotations

from dataclasses import replace

from ..core.errors import ActionFailed
from ..sandboxes.secret import Secrets
from .actions import Read
from .branch import Branch
from .browser import Browser
from .looking import look
from .observation import Observation, changes, in_parts, meanings
from .targets import find

_FOUND_MOST = 12
_READ_CHARS = 4000


class Eyes:
    """Looks at pages for one agent.

    Args:
        spec: how much is told at a time.
        secrets: what is never told.
    """

    def __init__(self, spec: Browser, secrets: Secrets) -> None:
        self.known: dict[str, str] = {}
        """What every reference meant when it was last shown."""
        self._spec = spec
        self._secrets = secrets
        self._seen: Observation | None = None

    @property
    def seen(self) -> Observation | None:
        """The last look, uncut; None before the first."""
        return self._seen

    async def look(self, branch: Branch, *, part: int = 1) -> Observation:
        """Return what the page in front looks like, and what has changed since the last look.

        Raises:
            ActionFailed: there is no such part.
            PageStuck, SandboxLost: as `looking.look`.
        """
        seen = self._clean(await look(branch.live, screens=self._spec.screens))
        gone: tuple[str, ...] = ()
        new: tuple[str, ...] = ()
        if self._seen is not None and self._seen.url == seen.url:
            gone, new = changes(self._seen.lines, seen.lines)
        self._seen = seen
        self.known.update(meanings(seen.lines))
        return _cut(replace(seen, gone=gone, new=new), part, self._spec.limit_chars)

    async def read(self, branch: Branch, action: Read) -> tuple[str, Observation]:
        """Return the whole page's text in parts, or all of the text of one thing.

        Raises:
            ActionFailed: there is no such part or thing.
            PageStuck, SandboxLost: as `looking.look`.
        """
        live = branch.live
        if action.ref is None:
            whole = self._clean(await look(live, screens=self._spec.screens, whole=True))
            self.known.update(meanings(whole.lines))
            return "", _cut(whole, action.part, self._spec.limit_chars)
        found = await find(live, action.ref, self.known, point=False, enabled=False)
        text = await live.call(found.frame, "tell", found.number, _READ_CHARS)
        lines = tuple(str(text or "(no text)").split("\n"))
        return f"{found.ref} in full:", self._clean(Observation(live.page.url, "", lines))

    async def find(self, branch: Branch, text: str) -> tuple[str, Observation | None]:
        """Return where a text is on the page.

        Raises:
            PageStuck, SandboxLost: the page does not answer.
        """
        live = branch.live
        told: list[str] = []
        count = 0
        for frame in live.frames(live.page):
            result = await live.call(frame, "search", text, live.prefix(frame), _FOUND_MOST)
            if result:
                told += [str(one["text"]) for one in result["found"]]
                count += int(result["count"])
        if not told:
            return f"{text!r} is nowhere on this page", None
        lines = told[:_FOUND_MOST]
        self.known.update(meanings(lines))
        rest = f"; the first {len(lines)}" if count > len(lines) else ""
        return f"{text!r} is on this page {count} times{rest}:", self._clean(
            Observation(live.page.url, "", tuple(lines))
        )

    def _clean(self, seen: Observation) -> Observation:
        """Return an observation without secrets."""
        if not self._secrets:
            return seen
        return replace(
            seen,
            url=self._redacted(seen.url),
            title=self._redacted(seen.title),
            lines=tuple(map(self._redacted, seen.lines)),
            notes=tuple(map(self._redacted, seen.notes)),
            tabs=tuple(map(self._redacted, seen.tabs)),
            said=tuple(map(self._redacted, seen.said)),
        )

    def _redacted(self, text: str) -> str:
        return self._secrets.redact_text(text)


def _cut(seen: Observation, part: int, limit_chars: int) -> Observation:
    parts = in_parts(seen.lines, limit_chars)
    if part > len(parts):
        raise ActionFailed(f"there is no part {part}; the page has {len(parts)}")
    return replace(seen, lines=parts[part - 1], part=part, parts=len(parts))
