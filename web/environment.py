"""A browser as one branch's environment: pages to look at and act on, states of them, a work space of files."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from ..core.errors import ActionFailed, ActionHeld, SandboxLost, UsageError
from ..core.protocols import Capability, Context, Environment, Process
from ..core.types import Place, StateCost
from ..sandboxes.history import PAGES
from ..sandboxes.manifest import Entry
from .actions import Acting, Answer, Dialog, Find, GiveUp, Read
from .branch import Branch
from .eyes import Eyes
from .files import Files
from .live import PageMoved, PageStuck, Sent
from .looking import look
from .marking import marked
from .observation import Observation
from .past import Past, PastStep
from .policy import Target
from .replaying import sealed
from .sealing import Seal
from .settling import settle
from .site import World
from .targets import Found, find
from .wording import in_words

if TYPE_CHECKING:
    from .supply import WebSandboxes

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an action."""

    text: str
    """What is to be said of it beside what the page shows now."""
    observation: Observation | None = None
    """The page afterwards, or what was asked for of it; None where the action ended the trajectory."""
    answer: str | None = None
    """What the trajectory ends with."""
    gave_up: bool = False

    @property
    def told(self) -> str:
        """All of it as text for a model."""
        parts = [self.text, "" if self.observation is None else self.observation.text]
        return "\n".join(part for part in parts if part) or "done"


class WebEnvironment:
    """Implements `core.protocols.Environment` with a context of the browser, opened when it is first needed.

    `observe` and `act` are what an agent works with. The work space holds files: the task's, what pages let one download
    (in `downloads/`), and what is uploaded. No programs run here.
    """

    capability: Capability = "replayable"

    def __init__(self, supply: WebSandboxes, ref: str) -> None:
        self.isolation = supply.isolation
        self.cost = StateCost()
        self._supply = supply
        self._ref: str | None = ref
        """The state that this is in, where nothing has been done since it was kept or opened."""
        self._base = ref
        """The state to open when pages are first needed."""
        self._branch: Branch | None = None
        self._past: Past | None = None
        self._begin(ref)
        self._closed = False

    def _begin(self, ref: str) -> None:
        supply = self._supply
        entries = supply.store.manifest(ref)
        limit = supply.spec.download_mb << 20
        self._files = Files(supply.store, supply.secrets, entries, upload_bytes=limit)
        self._eyes = Eyes(supply.spec, supply.secrets)
        self._did = ""
        """What was done last since the state was opened, in words."""

    # --- pages ---

    async def observe(self, *, part: int = 1) -> Observation:
        """Return what the page in front looks like.

        Args:
            part: which part, where it is longer than `Browser.limit_chars`.

        Raises:
            ActionFailed: it does not answer, or there is no such part.
            SandboxLost: the browser died, and died again.
            StateDiverged: the state could not be brought back.
        """
        return await self._surviving(lambda branch: self._eyes.look(branch, part=part))

    async def act(self, action: Acting | Read | Find | Answer | GiveUp, *, final: bool = False) -> Outcome:
        """Do one action and return what came of it, once the page has come to rest.

        Args:
            action: what is to be done.
            final: whether it may be something that cannot be taken back. A state in which such a thing was done is not
                brought back once its context is closed.

        Raises:
            ActionFailed: it could not be done; the message says why and what is nearest.
            ActionHeld: it cannot be taken back, and `final` is not set. The state is the one before.
            SandboxLost: the browser died while it was done for good, so that nobody knows whether it was.
            StateDiverged: the state could not be brought back.
        """
        match action:
            case Answer():
                return Outcome("", answer=action.text)
            case GiveUp():
                return Outcome("", gave_up=True)
            case Find():
                self._ref = None  # what is found gets references, which belong to the state
                return Outcome(*await self._surviving(lambda branch: self._eyes.find(branch, action.text)))
            case Read():
                self._ref = None
                return Outcome(*await self._surviving(lambda branch: self._eyes.read(branch, action)))
            case _:
                return await self._surviving(lambda branch: self._act(branch, action, final=final))

    async def _surviving(self, work: Callable[[Branch], Awaitable[T]]) -> T:
        """Do something with the branch; where the browser has died, bring the state back and do it once more."""
        try:
            return await self._attempt(work)
        except SandboxLost:
            return await self._attempt(work)

    async def _attempt(self, work: Callable[[Branch], Awaitable[T]]) -> T:
        try:
            return await work(await self._live())
        except PageStuck as error:
            raise ActionFailed(str(error)) from error
        except SandboxLost:
            await self._drop()
            raise

    async def _act(self, branch: Branch, action: Acting, *, final: bool) -> Outcome:
        live, past = branch.live, self._past
        assert past is not None  # whoever has a branch has it
        found = await branch.hands.aim(action, self._eyes.known)
        targets = await self._targets(branch, action, found)
        grave = self._hold_back(branch, action, found, final=final)
        arrivals = live.navigations
        self._ref = None
        if final:
            # From here on nobody knows what happened if the browser dies: the state before is no way back.
            self._past = past.after(PastStep({"do": action.do}, {}, "", final=True), past.seal)
        said, trouble = await self._do(branch, action, found, final=final)
        if live.blocked and not final:
            sent = ", ".join(dict.fromkeys(live.blocked))[:300]
            await self._drop()
            raise ActionHeld(
                f"{action.do} was not done: it sends {sent}, which cannot be taken back; it needs approval"
            )
        try:
            seen, now = await self._afterwards(branch, look=trouble is None)
        except PageStuck as error:
            await self._drop()
            raise ActionFailed(f"{trouble or error}; the page has hung up on it, and is as it was before") from error
        if trouble is None or now.fingerprint != past.seal.fingerprint:
            step = PastStep(
                action.model_dump(mode="json", exclude_defaults=True) | {"do": action.do},
                targets,
                now.fingerprint,
                navigated=live.navigations != arrivals,
                final=final and (grave or branch.warden.sent),
                failed=trouble is not None,
                files=self._files.digests(getattr(action, "paths", ())),
            )
            self._past = past.after(step, now)
        elif final:
            self._past = past
        if trouble is not None:
            raise trouble
        self._did = in_words(action, targets)
        branch.touched = found
        return Outcome(said, seen)

    async def _afterwards(self, branch: Branch, *, look: bool) -> tuple[Observation | None, Seal]:
        """Return what the page shows once an action is over; one that goes elsewhere just then is waited for once more."""
        try:
            return await self._shown(branch, look=look)
        except PageMoved:
            await settle(branch.live, branch.hands.patience)
            return await self._shown(branch, look=look)

    async def _shown(self, branch: Branch, *, look: bool) -> tuple[Observation | None, Seal]:
        # Looking gives out references, so it comes first: they belong to the state.
        seen = await self._eyes.look(branch) if look else None
        return seen, await sealed(branch.live)

    async def _do(
        self, branch: Branch, action: Acting, found: Found | None, *, final: bool
    ) -> tuple[str, ActionFailed | None]:
        """Do an action and wait for its effects; return what is to be said of it, and what went wrong on the way."""
        live = branch.live
        live.blocked.clear()
        branch.warden.for_good, branch.warden.sent = final, False
        said, trouble = "", None
        try:
            said = await branch.hands.do(action, found, self._eyes.known)
        except ActionFailed as error:
            trouble = error
        finally:
            await settle(live, branch.hands.patience)
            branch.warden.for_good = False
        return said, trouble

    def _hold_back(self, branch: Branch, action: Acting, found: Found | None, *, final: bool) -> bool:
        """Return whether an action cannot be taken back, as far as that is known before it is done.

        Raises:
            ActionHeld: it cannot, and nobody has committed to it.
        """
        target = self._meant(branch, action, found)
        why = self._supply.spec.effective_policy.why(action, target)
        if why is not None and not final:
            raise ActionHeld(
                f"{action.do} on {target} was not done: {why}, which cannot be taken back; it needs approval"
            )
        return why is not None

    @staticmethod
    def _meant(branch: Branch, action: Acting, found: Found | None) -> Target | None:
        """Return what an action would act on: an open dialog, or the form that a key sends, where it is one of these."""
        if isinstance(action, Dialog) and action.accept and branch.live.dialog is not None:
            return Target(0, (), branch.live.dialog.type, branch.live.dialog.message)
        if found is None:
            return None
        if action.do == "press" or getattr(action, "enter", False):
            return replace(found.target, method=str(found.told.get("enters", "")))
        return found.target

    async def _targets(self, branch: Branch, action: Acting, found: Found | None) -> dict[str, Mapping[str, Any]]:
        """Return what an action's references mean, in words that find it in another context."""
        targets: dict[str, Mapping[str, Any]] = {}
        if found is not None and getattr(action, "ref", None) == found.ref:
            targets[found.ref] = found.target.record()
        if (other := getattr(action, "to", None)) is not None:
            end = await find(branch.live, other, self._eyes.known, point=False, enabled=False)
            targets[other] = end.target.record()
        return targets

    async def about(self, action: Acting) -> dict[str, str]:
        """Return what an action is about, from the page itself, for whoever has to approve it. Nothing is done.

        Returns:
            `on` (role and name of what it is done to, or a dialog's question), `page` (the address), `why` it cannot be taken back.

        Raises:
            ActionFailed: what it is about is not there, or cannot be reached.
        """
        seen = await self.observe()
        found = await self._surviving(lambda branch: branch.hands.aim(action, self._eyes.known))
        branch = await self._live()
        target = self._meant(branch, action, found)
        why = self._supply.spec.effective_policy.why(action, target)
        told = {"on": str(target) if target is not None else "the page", "page": seen.url, "why": why or ""}
        return {name: self._supply.secrets.redact_text(text) for name, text in told.items() if text}

    async def screenshot(self, *, marks: bool = False) -> bytes:
        """Return the visible part of the page in front as a JPEG image, secrets masked.

        Args:
            marks: draw a box around everything that has a reference, with the reference beside it.

        Raises:
            ActionFailed: the page does not answer.
        """
        supply = self._supply
        return await self._surviving(lambda branch: marked(branch.live, supply.darkroom, supply.veil, marks=marks))

    async def evaluate(self, script: str, argument: Any = None) -> Any:
        """Run JavaScript in the page in front and return what it returns as data; for verifiers, not for agents.

        It should change nothing: what it does is no part of the state's record.

        Raises:
            ActionFailed: it failed, or did not end in time.
        """
        return await self._surviving(lambda branch: branch.live.run(script, argument))

    async def over(self) -> bool:
        """Return whether the page in front says by `Browser.over` that it has come to an end.

        Raises:
            SandboxLost: the browser died, and died again.
            StateDiverged: the state could not be brought back.
        """
        if (script := self._supply.spec.over) is None:
            return False
        try:
            return await self.evaluate(script) is True
        except ActionFailed:
            return False

    async def world(self) -> World | None:
        """Return this branch's copy of the site, for predicates on the server's side; None where the server is what it is."""
        return await self._surviving(_world)

    async def requests(self) -> list[Sent]:
        """Return what this branch's pages have sent since the start page and what was answered, for verifiers; secrets by their names."""
        sent = await self._surviving(_requests)
        return [replace(one, url=self._supply.secrets.redact_text(one.url)) for one in sent]

    async def ref_of(self, selector: str) -> str | None:
        """Return the reference of the first element of the front tab's page that a CSS selector finds.

        Shadow trees are looked into, frames are not. None where it finds none, or one that no look has shown.
        """
        number = await self._surviving(lambda b: b.live.call(b.live.page.main_frame, "numberOf", selector))
        return None if number is None else f"e{number}"

    async def cookies(self) -> list[Mapping[str, Any]]:
        """Return the cookies of this branch, for verifiers."""
        return await self._surviving(_cookies)

    @property
    def place(self) -> Place | None:
        """The page that was seen last and what was done to it here, without secrets; None before the first look."""
        seen = self._eyes.seen
        if seen is None:
            return None
        title, address, action = (self._supply.secrets.redact_text(text) for text in (seen.title, seen.url, self._did))
        return Place(title, address, action)

    @property
    def history(self) -> tuple[PastStep, ...]:
        """What has been done since the start page."""
        past = self._past or self._supply.past(self._base)
        return () if past is None else past.steps

    @property
    def done_here(self) -> tuple[str, ...]:
        """What was done before from the page as it is now, in words, without secrets; each once, the oldest first."""
        steps = self.history
        words = [
            in_words(after.parsed(), after.targets)
            for before, after in pairwise(steps)
            if before.fingerprint == steps[-1].fingerprint
        ]
        return tuple(map(self._supply.secrets.redact_text, dict.fromkeys(words)))

    # --- files ---

    async def read(self, path: str, *, limit_bytes: int = 1 << 24) -> bytes:
        self._check_open()
        return self._files.read(path, limit_bytes=limit_bytes)

    async def write(self, path: str, content: bytes) -> None:
        self._check_open()
        self._files.write(path, content)
        self._ref = None

    async def list(self) -> list[str]:
        self._check_open()
        return self._files.list()

    # --- states ---

    async def snapshot(self) -> str:
        self._check_open()
        if self._ref is not None:
            return self._ref
        begun = time.monotonic()
        store, manifest, new_bytes = self._supply.store, dict(self._files.entries), 0
        past = await self._present()
        if past is not None:
            content = past.text()
            new_bytes = len(content)
            manifest[PAGES] = Entry("f", 0o644, new_bytes, store.put(content))
        with store.saving(manifest):
            self._ref = ref = store.add(dict(sorted(manifest.items())))
        if self._branch is not None and past is not None:
            await self._supply.remember(ref, self._branch, past)
        self.cost += StateCost(time.monotonic() - begun, len(manifest), 1, new_bytes)
        return ref

    async def _present(self) -> Past | None:
        """Return the past with all references that were given out until now."""
        past = self._past or self._supply.past(self._base)
        if self._branch is None or past is None:
            return past
        try:
            now = await sealed(self._branch.live)
        except (PageStuck, SandboxLost):
            return past
        if now.fingerprint == past.seal.fingerprint:
            self._past = past = replace(past, seal=now)
        return past

    async def restore(self, ref: str) -> None:
        self._supply.store.manifest(ref)  # one that does not exist changes nothing
        self._check_open()
        await self._leave()
        self._base = self._ref = ref
        self._past = None
        self._begin(ref)

    async def fork(self) -> WebEnvironment:
        return WebEnvironment(self._supply, await self.snapshot())

    async def close(self) -> None:
        if self._closed:
            return
        await self._leave()
        self._closed = True

    async def _live(self) -> Branch:
        """Return the branch, opened or brought back where there is none."""
        self._check_open()
        if self._branch is None:
            begun = time.monotonic()
            if self._past is not None:
                self._branch = await self._supply.again(self._past, self._downloaded)
            else:
                self._branch, self._past = await self._supply.bring(self._base, self._downloaded)
            self._branch.files = self._given
            if self._past is None:
                # References are given out in the same order to whoever opens the start page.
                await look(self._branch.live, screens=self._supply.spec.screens, told=False)
                await self._supply.portray_start(self._branch)
                self._past = Past(self._supply.start, (), await sealed(self._branch.live))
            self.cost += StateCost(time.monotonic() - begun)
        return self._branch

    async def _given(self, path: str) -> bytes:
        return self._files.give(path)

    async def _downloaded(self, name: str, content: bytes) -> str:
        self._ref = None
        return self._files.take(name, content)

    async def _leave(self) -> None:
        """Give the context up: it waits open for its state to be gone on with, where that was kept."""
        branch, self._branch = self._branch, None
        if branch is None:
            return
        if self._ref is not None and self._supply.past(self._ref) is not None:
            await self._supply.park(branch, self._ref)
        elif self._ref is not None and self._ref == self._base:
            await self._supply.leave(branch)
        else:
            await self._supply.discard(branch)

    async def _drop(self) -> None:
        """Give up a context that is gone or was stopped half way; the next use brings back the state before."""
        branch, self._branch = self._branch, None
        if branch is not None:
            await self._supply.discard(branch)

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("this environment is closed; open another one")

    # --- programs ---

    async def exec(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: no programs run in a browser."""
        _no_programs()

    def start(self, *_: Any, **__: Any) -> AbstractAsyncContextManager[Process]:
        """Refuse: no programs run in a browser."""
        _no_programs()

    async def cell(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: no programs run in a browser."""
        _no_programs()


def pages(holder: Context | Environment) -> WebEnvironment:
    """Return the pages that a tool call works on, or that a verifier has opened.

    Args:
        holder: what a tool gets as `ctx`, or an environment.

    Raises:
        UsageError: the agent's sandbox is no browser.
    """
    environment = holder.sandbox if isinstance(holder, Context) else holder
    if not hasattr(environment, "observe"):
        raise UsageError("this agent's sandbox is no browser; give it one: Agent(sandbox=bw.web.Browser('https://…'))")
    return cast("WebEnvironment", environment)  # what pays for its time stands before it


def _no_programs() -> NoReturn:
    raise UsageError(
        "this agent's sandbox is a browser, in which no programs run; give an agent that needs them another one, such as "
        "bw.sandboxes.Docker()"
    )


async def _world(branch: Branch) -> World | None:
    return branch.world


async def _requests(branch: Branch) -> list[Sent]:
    return list(branch.live.requests)


async def _cookies(branch: Branch) -> list[Mapping[str, Any]]:
    return [dict(cookie) for cookie in await branch.live.context.cookies()]
