"""A user namespace of the worker's own, in which it may mount."""

from __future__ import annotations

import errno
import os

from . import kernel

OWN_IDS = 0x70000000
"""Ids from here on are nobody's."""
SMALL_IDS = range(61184, 65520)
"""Ids that systems set aside for services without a user of their own."""
HALFWAY = 71


def enter(guest: int) -> None:
    """Enter a user namespace in which this process may mount, and a mount namespace.

    The guest's uid is another one outside in every sandbox, and the namespace belongs to that one: what the kernel counts per
    user on the whole machine, such as watches and timers, one guest can then not take from others, nor from root.

    Raises:
        OSError: the host does not allow it; nothing has changed.
    """
    own = OWN_IDS + int.from_bytes(os.urandom(3), "big")
    leave(guest, own, rehearsal=True)
    leave(guest, own, rehearsal=False)


def leave(guest: int, own: int, *, rehearsal: bool) -> None:
    """Leave the namespaces while another process, which stays in them, writes the table of ids.

    There is no way back from half of this: a child goes first, to see whether all of it works.
    """
    ready_read, ready_write = os.pipe()
    done_read, done_write = os.pipe()
    parent = os.getpid()
    child = os.fork()
    stays = (child == 0) != rehearsal
    try:
        if stays:
            os.close(ready_write)
            allowed = os.read(ready_read, 1) == b"y" and write_map(child if rehearsal else parent, guest, own)
            os.write(done_write, b"y" if allowed else b"n")
            if not allowed:
                raise OSError(errno.EPERM, "user namespaces cannot be made here")
        else:
            depart(own)
            os.write(ready_write, b"y")
            if os.read(done_read, 1) != b"y":
                os._exit(HALFWAY)  # in a namespace without ids nothing can be done
            os.setresuid(0, 0, 0)
            kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    finally:
        for handle in (ready_read, done_read, done_write, *(() if stays else (ready_write,))):
            os.close(handle)
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)


def depart(own: int) -> None:
    """Make the namespaces, as `own`, to whom they belong from then on."""
    os.seteuid(own)
    try:
        kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS)
    except OSError:
        os.seteuid(0)
        raise
    kernel.set_dumpable(True)  # else its table would be root's to write, and root is not who may


def write_map(target: int, guest: int, own: int) -> bool:
    """Give a process's new namespace the ids of this one, but for the guest's. Only its owner may."""
    table = f"0 0 {guest}\n{guest} {own} 1\n{guest + 1} {guest + 1} {65535 - guest}"
    os.seteuid(own)
    try:
        kernel.raise_capabilities()
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{target}/{name}", "w") as file:
                file.write(table)
    except OSError:
        return False
    else:
        return True
    finally:
        os.seteuid(0)


def has_own_ids() -> bool:
    """Whether this process is in a namespace that gives the guest an id of its own."""
    with open("/proc/self/uid_map") as file:
        return "4294967295" not in file.read()


def any_id() -> int:
    """Return an id for a guest where there is no namespace to give it one."""
    return SMALL_IDS[int.from_bytes(os.urandom(2), "big") % len(SMALL_IDS)]
