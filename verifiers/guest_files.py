"""Says what lies at some paths of the work space. Python 3.8, standard library only."""

from __future__ import annotations

import hashlib
import os
import stat
import sys

from .guest_link import Link


def content(path: str) -> str | None:
    """Return "f" and the SHA-256 of a file, "l" and the target of a link, None for nothing and for everything else."""
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            return "l" + os.readlink(path)  # noqa: PTH115
        if not stat.S_ISREG(status.st_mode) or os.path.realpath(path) != os.path.join(os.getcwd(), path):  # noqa: PTH109, PTH118
            return None
        with open(path, "rb") as file:  # noqa: PTH123
            return "f" + hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return None


def main() -> None:
    """Answer one question."""
    link = Link()
    asked = link.read()
    if asked is None:
        sys.exit(1)
    link.write({"found": {path: content(path) for path in asked["paths"]}})
