"""The command line: `branchwise run | resume | runs | view | models`."""

from .app import main

__all__ = ["main"]
