"""Recording how a state was reached: what led to it is done again in a context that is traced."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import tempfile
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Error

from ..core.errors import StateDiverged, ToolError, UsageError
from ..sandboxes.secret import Secrets
from .branch import Branch
from .past import Past, PastStep
from .replaying import replay
from .settling import settle
from .supply import WebSandboxes
from .wording import in_words

_NO_ENCODER = re.compile(r"Executable doesn't exist at (.*ffmpeg.*)")


async def film(supply: WebSandboxes, ref: str, trace: Path, video: Path | None = None) -> int:
    """Do again what led to a state and write a Playwright trace of it; return how many steps that were.

    What was done for good is not done again, and without a `Site` nothing is sent that changes something. Secrets are taken out
    of the trace, and where some were filled in it has no pictures. What else pages get and send, cookies included, is in it.

    Args:
        supply: where the state belongs.
        ref: the state.
        trace: a zip file for `playwright show-trace`; written over.
        video: a WebM file, likewise; None: no video.

    Raises:
        UsageError: the files cannot be written there, a video would show secrets, or there is no encoder for it.
        StateDiverged: something on the way was done for good, or led elsewhere this time; the message says at which step. There
            is a trace until there.
        SandboxLost: the browser died.
    """
    past = supply.past(ref)
    steps = () if past is None else past.steps
    secret = any(step.action.get("secret") for step in steps)
    if past is not None and past.final_step is not None:
        raise StateDiverged(f"step {past.final_step} was done for good and is not done again, so it cannot be recorded")
    if past is not None and past.start != supply.start:
        raise StateDiverged(f"the state began at {past.start}, and this browser begins at {supply.start}")
    if video is not None and secret:
        raise UsageError("secrets were filled in on the way, which a video would show; leave the video out")
    for target in filter(None, (trace, video)):
        if not target.parent.is_dir():
            raise UsageError(f"{str(target)!r} cannot be written: there is no folder {str(target.parent)!r}")
    try:
        return await _filmed(supply, past, trace, video, pictures=not secret)
    except NoEncoder as error:
        with lent(error.wanted):
            return await _filmed(supply, past, trace, video, pictures=not secret)


class NoEncoder(Exception):
    """Playwright's own encoder of videos is not there.

    Args:
        wanted: the path where it looks for one.
    """

    def __init__(self, wanted: Path) -> None:
        super().__init__(str(wanted))
        self.wanted = wanted


@contextmanager
def lent(wanted: Path) -> Generator[None]:
    """Put the system's `ffmpeg` where Playwright looks for its own while the block runs; there is no setting for that.

    Raises:
        UsageError: there is none, or it cannot be put there.
    """
    found = shutil.which("ffmpeg")
    if found is None:
        raise UsageError(
            "a video needs an encoder, and none is installed; get Playwright's own (playwright install ffmpeg) or the system's "
            "(apt install ffmpeg), or leave the video out"
        )
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        wanted.symlink_to(found)
    except FileExistsError:
        yield  # another process has lent it
        return
    except OSError as error:
        raise UsageError(
            f"the encoder {found} cannot be lent to Playwright, which looks for one at {str(wanted)!r}: {error.strerror}; "
            "install Playwright's own: playwright install ffmpeg"
        ) from error
    try:
        yield
    finally:
        wanted.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # there is something else in them
            wanted.parent.rmdir()
            wanted.parent.parent.rmdir()


async def _filmed(supply: WebSandboxes, past: Past | None, trace: Path, video: Path | None, *, pictures: bool) -> int:
    """Do a past again and write what is recorded of it; return how many steps that were.

    Raises:
        NoEncoder: there is none for the video; nothing was written.
    """
    steps = () if past is None else past.steps
    with tempfile.TemporaryDirectory(prefix="branchwise-film-") as folder:
        width, height = supply.spec.viewport
        size = {"width": width, "height": height}
        options: dict[str, Any] = {} if video is None else {"record_video_dir": folder, "record_video_size": size}
        branch = await supply.blank(**options)
        try:
            await _traced(branch, supply, past, Path(folder) / "trace.zip", pictures=pictures)
        finally:
            shown = branch.live.pages[0].video if video is not None and branch.live.pages else None
            await supply.discard(branch)
            drafts = Path(folder) / "trace.zip"
            if drafts.is_file():
                await asyncio.to_thread(_clean, drafts, trace, supply.secrets)
            if shown is not None and video is not None:
                shutil.copyfile(await shown.path(), video)
    return len(steps)


async def _traced(branch: Branch, supply: WebSandboxes, past: Past | None, trace: Path, *, pictures: bool) -> None:
    tracing = branch.live.context.tracing
    await tracing.start(screenshots=pictures, snapshots=True, title=supply.start)
    try:
        await tracing.group("start")
        await branch.begin()
        await settle(branch.live, branch.hands.patience)

        async def announced(number: int, step: PastStep) -> None:
            await tracing.group_end()
            await tracing.group(f"{number}. {in_words(step.parsed(), step.targets)}")

        if past is not None:
            await replay(branch, past, supply.store.get, patient=True, before=announced)
        await tracing.group_end()
    except ToolError as error:
        raise StateDiverged(str(error)) from error
    except Error as error:
        if missing := _NO_ENCODER.search(error.message):
            raise NoEncoder(Path(missing[1])) from error
        branch.live.check(error)
        raise StateDiverged(f"the start page was not opened: {error.message.partition(chr(10))[0][:200]}") from error
    finally:
        with contextlib.suppress(Error):  # where the browser has died, there is no trace
            await tracing.stop(path=trace)


def _clean(source: Path, target: Path, secrets: Secrets) -> None:
    """Write a zip file again without secrets."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, secrets.redact(old.read(info)))
