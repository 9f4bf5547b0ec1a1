"""Serves calls of the judged code. Runs inside the sandbox of that code: Python 3.8, standard library only."""
# ruff: noqa: PTH100, PTH109, PTH120, PTH122 - every import delays every verdict

from __future__ import annotations

import importlib.util
import os
import sys
from types import ModuleType

from .guest_link import Link, quit_now
from .guest_peer import Peer


class Solution:
    """The judged module, imported when it is first asked for, so that what goes wrong is told as an exception."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.module: ModuleType | None = None

    def __call__(self) -> ModuleType:
        if self.module is None:
            name = os.path.splitext(self.path)[0].replace("/", ".")
            sys.path.insert(0, os.path.dirname(os.path.abspath(self.path)))
            sys.path.insert(0, os.getcwd())
            spec = importlib.util.spec_from_file_location(name, self.path)
            if spec is None or spec.loader is None:
                raise ImportError(f"{self.path!r} is no Python module")
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)
            self.module = module
        return self.module


def main() -> None:
    """Answer calls until the host closes the stream."""
    Peer(Link(), Solution(sys.argv[1]), objects=sys.argv[2] == "objects").serve()
    quit_now(0)
