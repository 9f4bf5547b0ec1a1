"""Recording how a state was reached: what led to it is done again in a context that is traced."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import zipfile
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
    with tempfile.TemporaryDirectory(prefix="branchwise-film-") as folder:
        options: dict[str, Any] = {} if video is None else {"record_video_dir": folder}
        branch = await supply.blank(**options)
        try:
            await _traced(branch, supply, past, Path(folder) / "trace.zip", pictures=not secret)
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
        if "ffmpeg" in error.message:
            raise UsageError(
                "a video needs Playwright's own encoder, which is not installed: playwright install ffmpeg; or leave the video out"
            ) from error
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
