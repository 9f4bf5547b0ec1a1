"""The command line: `branchwise run | resume | fork | runs | view | patch | models | sandbox`."""

from .app import main

__all__ = ["main"]
