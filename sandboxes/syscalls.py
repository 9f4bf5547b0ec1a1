"""A system-call filter for guests: classic BPF, as the kernel's seccomp takes it.

Docker's sandboxes have a list of what is allowed (`seccomp.json`), which the engine compiles for the machine at hand; guests
get this filter on top, since the worker may do more than they. Elsewhere a list of what is refused has to do: it names the
interfaces that are the kernel's usual weak spots and those that reach beyond a namespace.
"""

from __future__ import annotations

import platform
import struct
from dataclasses import dataclass

from ..core.errors import SandboxStartFailed

_LOAD, _JUMP_EQUAL, _JUMP_SET, _JUMP_NOT_BELOW, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT, _SECOND_ARGUMENT_AT = 0, 4, 16, 24
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_NEW_NAMESPACES = 0x7E020000
"""Every CLONE_NEW flag that clone takes."""
_SOCKET_FAMILIES = (1, 2, 10, 16)
"""Unix, internet, internet 6, and netlink, by which programs ask for the interfaces."""
_X32 = 0x40000000
"""Numbers from here on are those of another, seldom used set of calls."""


@dataclass(frozen=True, slots=True)
class _Machine:
    architecture: int
    """As the kernel's audit names it."""
    socket: int
    clone: int
    prlimit: int
    setup_aio: int
    schedule: tuple[int, ...]
    """Calls that say how a process, their first argument, is scheduled."""
    prioritise: tuple[tuple[int, int], ...]
    """Calls that give a process, their second argument, a priority, and the first argument that means one process."""
    refused: tuple[int, ...]


# Common to both, as all calls are that came after 2019: pidfd_getfd, process_madvise, the new mount calls, quotactl_fd,
# memfd_secret.
_REFUSED_EVERYWHERE = (428, 429, 430, 431, 432, 433, 438, 440, 442, 443, 447)
_UNKNOWN_EVERYWHERE = (425, 426, 427, 435)
"""io_uring's three and clone3, whose flags cannot be seen: said to be missing, so that programs do without."""

_MACHINES = {
    "x86_64": _Machine(
        architecture=0xC000003E,
        socket=41,
        clone=56,
        prlimit=302,
        setup_aio=206,
        schedule=(144, 142, 314, 203),
        prioritise=((141, 0), (251, 1)),
        refused=(
            101, 310, 311, 312,  # ptrace, process_vm_readv, process_vm_writev, kcmp
            165, 166, 155, 161, 272, 308,  # mount, umount2, pivot_root, chroot, unshare, setns
            321, 298, 323, 300, 303, 304,  # bpf, perf_event_open, userfaultfd, fanotify_init, file handles
            248, 249, 250,  # keys: they outlive programs
            246, 320, 175, 313, 176, 169, 167, 168, 103, 163, 179,  # kexec, modules, reboot, swap, syslog, acct, quotactl
            172, 173, 154, 135, 134, 156, 139, 212,  # iopl, ioperm, modify_ldt, personality, relics
            164, 227, 305, 159, 170, 171, 153,  # clocks, host name, vhangup
            279, 256, 237, 238,  # memory policy and moving pages
            29, 30, 64, 68, 240,  # System V and POSIX queues: they outlive programs
        ),
    ),
    "aarch64": _Machine(
        architecture=0xC00000B7,
        socket=198,
        clone=220,
        prlimit=261,
        setup_aio=0,
        schedule=(119, 118, 274, 122),
        prioritise=((140, 0), (30, 1)),
        refused=(
            117, 270, 271, 272,
            40, 39, 41, 51, 97, 268,
            280, 241, 282, 262, 264, 265,
            217, 218, 219,
            104, 294, 105, 273, 106, 142, 224, 225, 116, 89, 60,
            92,
            170, 112, 266, 171, 161, 162, 58,
            239, 238, 235, 237,
            194, 196, 190, 186, 180,
        ),
    ),
}  # fmt: skip


def program() -> bytes:
    """Return the filter for this machine.

    Raises:
        SandboxStartFailed: there is none for its architecture.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise SandboxStartFailed(
            f"sandboxes without an engine know no system-call filter for {platform.machine()!r} "
            f"(only for {', '.join(_MACHINES)}); use a Docker engine"
        )
    return _compiled(machine)


def programs() -> dict[str, bytes]:
    """Return the filters for all machines that there are filters for, by the machine's name."""
    return {name: _compiled(machine) for name, machine in _MACHINES.items()}


def _compiled(machine: _Machine) -> bytes:
    lines = [
        _line(_LOAD, _ARCHITECTURE_AT),
        _line(_JUMP_EQUAL, machine.architecture, when_true=1),
        _line(_RETURN, _KILL),
        _line(_LOAD, _NUMBER_AT),
        *_refuse(_JUMP_NOT_BELOW, _X32, _ENOSYS),
    ]
    for number in (*machine.refused, *_REFUSED_EVERYWHERE):
        lines += _refuse(_JUMP_EQUAL, number, _EPERM)
    # Asynchronous input and output counts against a limit of the whole machine.
    for number in (*_UNKNOWN_EVERYWHERE, machine.setup_aio):
        lines += _refuse(_JUMP_EQUAL, number, _ENOSYS)
    lines += _on_call(machine.clone, [*_refuse(_JUMP_SET, _NEW_NAMESPACES, _EPERM), _line(_RETURN, _ALLOW)])
    # Only a program's own limits: the worker has the guest's uid.
    lines += _on_call(machine.prlimit, [_line(_JUMP_EQUAL, 0, when_true=1), *_verdicts(_EPERM)])
    # Nor its schedule: processes 1 and 2 are the worker's.
    for number in machine.schedule:
        lines += _on_call(number, _not_the_worker())
    for number, one_process in machine.prioritise:
        second = [_line(_LOAD, _SECOND_ARGUMENT_AT), *_not_the_worker()]
        lines += _on_call(
            number, [_line(_JUMP_EQUAL, one_process, when_true=1), _line(_RETURN, _REFUSE | _EPERM), *second]
        )
    families = [
        _line(_JUMP_EQUAL, family, when_true=len(_SOCKET_FAMILIES) - index)
        for index, family in enumerate(_SOCKET_FAMILIES)
    ]
    lines += _on_call(machine.socket, [*families, *_verdicts(_EPERM)])
    return b"".join([*lines, _line(_RETURN, _ALLOW)])


def _line(code: int, operand: int, *, when_true: int = 0, when_false: int = 0) -> bytes:
    """Return one instruction; the jumps count instructions to skip."""
    return struct.pack("<HBBI", code, when_true, when_false, operand)


def _refuse(comparison: int, operand: int, error: int) -> list[bytes]:
    return [_line(comparison, operand, when_false=1), _line(_RETURN, _REFUSE | error)]


def _verdicts(error: int) -> list[bytes]:
    """Refuse, or, for a jump over it, allow."""
    return [_line(_RETURN, _REFUSE | error), _line(_RETURN, _ALLOW)]


def _not_the_worker() -> list[bytes]:
    """Allow what is said of the caller itself (0) or of a process that is not the worker's."""
    return [_line(_JUMP_EQUAL, 0, when_true=2), _line(_JUMP_NOT_BELOW, 3, when_true=1), *_verdicts(_EPERM)]


def _on_call(number: int, lines: list[bytes]) -> list[bytes]:
    """Run `lines`, which must end with a verdict, on the first argument of one system call."""
    body = [_line(_LOAD, _FIRST_ARGUMENT_AT), *lines]
    return [_line(_JUMP_EQUAL, number, when_false=len(body)), *body]
