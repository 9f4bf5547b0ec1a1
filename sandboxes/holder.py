"""A container that does nothing but be there: it holds namespaces or a file system until this process ends or says so."""

from __future__ import annotations

from ..core.errors import SandboxStartFailed
from .channel import Transport

_PROGRAM = """
import os, signal
def bury(*_):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]: pass
    except ChildProcessError: pass
signal.signal(signal.SIGCHLD, bury)
os.write(1, b'.')
while os.read(0, 1): pass
"""


def holder_command(prelude: str = "") -> list[str]:
    """Return the command of a container that lives until its standard input closes.

    It is process 1 of its process namespace: with it end all others that share it, whatever becomes of this process.

    Args:
        prelude: Python text that runs first.
    """
    return ["python3", "-I", "-S", "-c", prelude + _PROGRAM]


async def held(transport: Transport) -> None:
    """Wait until the holder is there.

    Raises:
        SandboxStartFailed: it ended at once.
    """
    if not await transport.read():
        raise SandboxStartFailed(f"a container that holds a sandbox's place did not start: {transport.diagnosis()}")
