"""System calls that Python 3.8 has no functions for."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000

MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_DUMPABLE, PR_SET_SECCOMP = 4, 22
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def unshare(flags: int) -> None:
    """Leave namespaces that are shared with others for new ones."""
    _check(_libc.unshare(flags))


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """Mount."""
    encoded = [os.fsencode(text) for text in (source, target, kind)]
    _check(_libc.mount(*encoded, ctypes.c_ulong(flags), os.fsencode(options)))


def unmount(target: str) -> None:
    """Unmount now for everybody who comes, in the end for those who are still in there."""
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH))


def set_dumpable(allowed: bool) -> None:
    """Say whether others of the same user may look into this process."""
    _check(_libc.prctl(PR_SET_DUMPABLE, int(allowed), 0, 0, 0))


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def raise_capabilities() -> None:
    """Make effective what this process is permitted to do."""
    header = _Header(CAPABILITY_VERSION, 0)
    both = (_Capabilities * 2)()
    _check(_libc.capget(ctypes.byref(header), both))
    for half in both:
        half.effective = half.permitted
    _check(_libc.capset(ctypes.byref(header), both))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


class Filter:
    """A system-call filter in classic BPF, eight bytes an instruction."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.program = _Program(len(text) // 8, text)

    def install(self) -> None:
        """Put this process and all that come from it under the filter, for good. Needs no-new-privileges."""
        _check(_libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(self.program), 0, 0))
