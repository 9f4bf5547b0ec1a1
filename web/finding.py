"""Where this machine has a Chromium, and whether it could show a window."""

from __future__ import annotations

import os
import shutil
import sys

from ..core.errors import SandboxStartFailed

VARIABLE = "BRANCHWISE_CHROMIUM"
_SHELLS = ("/usr/lib/chromium/chromium-headless-shell", "chromium-headless-shell")
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "/usr/lib/chromium/chromium")


def find_chromium(wanted: str | None, own: str, *, headed: bool) -> str:
    """Return the program to start: the one named, Playwright's own, or the system's.

    Args:
        wanted: a path or a name on the PATH; None: whatever there is.
        own: where Playwright keeps its own.
        headed: whether it has to show windows, which the headless shell cannot.

    Raises:
        SandboxStartFailed: there is none.
    """
    named = wanted or os.environ.get(VARIABLE)
    found: str | None = None
    if named is not None:
        found = shutil.which(named)
        if found is None:
            raise SandboxStartFailed(f"there is no program {named!r}; name a Chromium that is installed, or none")
        return found
    shells = () if headed else _SHELLS
    candidates = [own, *shells, *_BROWSERS]
    for candidate in candidates:
        found = shutil.which(candidate)
        if found is not None:
            return found
    raise SandboxStartFailed(
        "no Chromium was found; install one ('apt install chromium-headless-shell fonts-liberation', or 'playwright install "
        f"chromium'), or name it: Browser(executable=...) or {VARIABLE}"
    )


def check_display() -> None:
    """Refuse to show a window where there is nothing to show it on.

    Raises:
        SandboxStartFailed: there is no display.
    """
    if sys.platform == "linux" and not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
        raise SandboxStartFailed(
            "headed=True shows the browser's window, and there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set); begin it "
            "in a desktop session or under `xvfb-run`, or leave headed out"
        )
