"""Several states of the work space side by side in one sandbox, copy-on-write by overlay mounts.

A *layer* is a folder that never changes again; a *state* is a stack of layers under the name that the host gave it; a
*branch* is a live work space: a stack of layers, and a folder of its own that takes what is written. One branch is mounted at
a time. To fork is to turn a branch's own folder into a layer that both sides stand on: two mounts, however large the files
are.

All of it lies in a tmpfs that is covered by the mounted work space, so that no path leads there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from . import kernel
from .files import SKIPPED_FOLDERS, SKIPPED_SUFFIX
from .namespaces import enter

if TYPE_CHECKING:  # Python 3.8 cannot evaluate these
    from .files import Row

HOME = ".branches"
PRIVATE = kernel.MS_NOSUID | kernel.MS_NODEV
EMPTY = "0"
OPAQUE = "user.overlay.opaque"


class Branch:
    """A live work space."""

    def __init__(self, number: int, stack: list[str], folder: str) -> None:
        self.number = number
        self.stack = stack
        """Layers, the uppermost first."""
        self.folder = folder
        """Where its own changes and its scratch folders are."""

    @property
    def own(self) -> str:
        """The layer-to-be that takes what is written."""
        return self.folder + "/up"


class Branches:
    """The branches and states of one sandbox.

    Args:
        root: where the active branch is mounted.
        scratch: folders of which every branch has its own, empty at first.
        size_bytes: largest work space.
        scratch_bytes: largest scratch folder.
        inodes: most files in a work space.
        kept_bytes: how much the layers of states may take that no branch stands on.
    """

    def __init__(self, root: str, scratch: list[str], limits: dict[str, int]) -> None:
        self.root = root
        self.scratch = scratch
        self.limits = limits
        self.states: dict[str, list[str]] = {}
        self.sizes: dict[str, tuple[int, int]] = {EMPTY: (0, 1)}
        """Bytes and inodes of every layer."""
        self.branches: dict[int, Branch] = {}
        self.active: Branch | None = None
        """The one that is mounted."""
        self.counter = 0
        home = os.path.join(root, HOME)
        os.mkdir(home, 0o700)
        kernel.mount("tmpfs", home, "tmpfs", PRIVATE, "mode=0700,size={kept_bytes}".format(**limits))
        self.home = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fchdir(self.home)
        os.mkdir(EMPTY, 0o755)
        self.open(0, None)
        self.prove()

    def prove(self) -> None:
        """See that this kernel's overlays do what is needed of them.

        Raises:
            OSError: they do not.
        """
        self.switch(0)
        for name in ("gone", "kept"):
            os.mkdir(os.path.join(self.root, name))
        self.freeze(0, "proof")
        self.open(-1, "proof")
        self.switch(-1)
        os.rmdir(os.path.join(self.root, "gone"))
        if self.changes(-1)[0] != [["x", "gone", 0, 0, ""]] or os.listdir(self.root) != ["kept"]:
            raise OSError(errno.EOPNOTSUPP, "overlay mounts do not work here")
        self.switch(0)
        self.drop(-1)
        self.drop(0)
        self.forget(["proof"])
        self.open(0, None)
        self.switch(0)

    def open(self, number: int, state: str | None) -> None:
        """Make a branch that starts in a known state, or with an empty work space."""
        self.counter += 1
        branch = Branch(number, list(self.states[state]) if state is not None else [EMPTY], f"b{self.counter}")
        os.fchdir(self.home)
        os.mkdir(branch.folder, 0o700)
        for index, _ in enumerate(self.scratch):
            place = f"{branch.folder}/s{index}"
            os.mkdir(place)
            kernel.mount(
                "tmpfs",
                place,
                "tmpfs",
                PRIVATE,
                "mode=1777,size={scratch_bytes},nr_inodes={inodes}".format(**self.limits),
            )
        self.renew(branch)
        self.branches[number] = branch
        if state is not None:
            self.states[state] = self.states.pop(state)  # used last, dropped last

    def renew(self, branch: Branch) -> None:
        """Give a branch an empty folder for its changes."""
        os.mkdir(branch.own)
        os.chmod(branch.own, 0o1777)
        with contextlib.suppress(FileNotFoundError):
            remove(branch.folder + "/work")
        os.mkdir(branch.folder + "/work")

    def switch(self, number: int) -> bool:
        """Mount a branch, unless it is; return whether it was not."""
        branch = self.branches[number]
        if self.active is branch:
            return False
        self.unmount()
        os.fchdir(self.home)
        self.resize(branch)
        lower = ":".join(branch.stack)
        options = f"lowerdir={lower},upperdir={branch.own},workdir={branch.folder}/work,userxattr,index=off,xino=off"
        kernel.mount("overlay", self.root, "overlay", PRIVATE, options)
        self.active = branch
        for index, target in enumerate(self.scratch):
            kernel.mount(f"{branch.folder}/s{index}", target, "", kernel.MS_BIND)
        os.chdir("/")
        return True

    def unmount(self) -> None:
        """Unmount the active branch."""
        os.chdir("/")
        if self.active is not None:
            for target in reversed(self.scratch):
                kernel.unmount(target)
            kernel.unmount(self.root)
            self.active = None

    def resize(self, branch: Branch) -> None:
        """Let the branch's work space grow to the limit, whatever else is kept beside it."""
        used = os.statvfs(self.home)
        bytes_used = (used.f_blocks - used.f_bfree) * used.f_frsize
        inodes_used = used.f_files - used.f_ffree
        bytes_own, inodes_own = self.measure(branch.own)
        for layer in branch.stack:
            bytes_own += self.sizes[layer][0]
            inodes_own += self.sizes[layer][1]
        size = max(self.limits["size_bytes"] - bytes_own, 0) + bytes_used
        inodes = max(self.limits["inodes"] - inodes_own, 16) + inodes_used
        kernel.mount("tmpfs", ".", "", kernel.MS_REMOUNT | PRIVATE, f"size={size},nr_inodes={inodes}")

    def measure(self, folder: str) -> tuple[int, int]:
        """Return the bytes and inodes that a folder's content takes, as far down as a path can name it."""
        size = count = 0
        pending = [folder]
        while pending:
            with contextlib.suppress(OSError), os.scandir(pending.pop()) as entries:
                for entry in entries:
                    count += 1
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        size += entry.stat(follow_symlinks=False).st_blocks * 512
        return size, count

    def changes(self, number: int) -> tuple[list[Row], list[str]]:
        """Return what a branch has changed since its last state.

        Returns:
            The rows, and the folders looked into. A row of kind "x" says that what was at the path and below it is gone,
            one of kind "f" lacks its digest.
        """
        os.fchdir(self.home)
        top = self.branches[number].own
        rows: list[Row] = []
        folders = [""]
        for folder in folders:
            with os.scandir(os.path.join(top, folder)) as entries:
                for entry in entries:
                    self.describe(entry, os.path.join(folder, entry.name), rows, folders)
        os.chdir("/")
        return rows, folders

    def describe(self, entry: os.DirEntry[str], path: str, rows: list[Row], folders: list[str]) -> None:
        """Add one entry of a branch's own folder to its changes."""
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode) and entry.name not in SKIPPED_FOLDERS:
            if is_opaque(entry.path):
                rows.append(["x", path, 0, 0, ""])
            folders.append(path)
        elif stat.S_ISCHR(status.st_mode):
            rows.append(["x", path, 0, 0, ""])
        elif stat.S_ISLNK(status.st_mode):
            rows.append(["l", path, 0, 0, os.readlink(entry.path)])
        elif stat.S_ISREG(status.st_mode) and not entry.name.endswith(SKIPPED_SUFFIX):
            rows.append(["f", path, stat.S_IMODE(status.st_mode) & 0o777, status.st_size, ""])
        else:
            rows.append(["x", path, 0, 0, ""])  # what is left out of a state hides what had its name

    def freeze(self, number: int, state: str) -> list[str]:
        """Call a branch's present files `state`; return the states that were dropped for room."""
        branch = self.branches[number]
        os.fchdir(self.home)
        if os.listdir(branch.own):
            if self.active is branch:
                self.unmount()
            os.fchdir(self.home)
            self.counter += 1
            layer = str(self.counter)
            self.sizes[layer] = self.measure(branch.own)
            os.rename(branch.own, layer)
            branch.stack = [layer, *branch.stack]
            self.renew(branch)
            self.compact(branch)
        os.chdir("/")
        self.states.pop(state, None)
        self.states[state] = list(branch.stack)
        return self.make_room()

    def compact(self, branch: Branch) -> None:
        """Merge layers of like size, so that a line of n changes stands on about log n of them.

        Each layer is left with less than half as many files as the one below, so their names fit into a page of mount options.
        Every look-up asks all layers. Merging takes links, not copies: layers never change.
        """
        while len(branch.stack) > 2 and 2 * self.sizes[branch.stack[0]][1] >= self.sizes[branch.stack[1]][1]:
            upper, lower, *rest = branch.stack
            self.counter += 1
            merged = str(self.counter)
            os.mkdir(merged)
            os.chmod(merged, 0o1777)
            for layer in (lower, upper):
                lay_over(layer, merged)
            self.sizes[merged] = self.measure(merged)
            branch.stack = [merged, *rest]

    def make_room(self) -> list[str]:
        """Drop the states that were used longest ago until what is kept without need is within its limit."""
        dropped: list[str] = []
        while True:
            kept = {layer for stack in self.states.values() for layer in stack} - self.stood_on()
            if sum(self.sizes[layer][0] for layer in kept) <= self.limits["kept_bytes"] or not self.states:
                break
            oldest = next(iter(self.states))
            dropped.append(oldest)
            self.forget([oldest])
        return dropped

    def stood_on(self) -> set[str]:
        """Return the layers that branches stand on."""
        return {layer for branch in self.branches.values() for layer in branch.stack}

    def forget(self, states: list[str]) -> None:
        """Drop states, and the layers that nothing stands on any more."""
        for state in states:
            self.states.pop(state, None)
        needed = {EMPTY, *self.stood_on(), *(layer for stack in self.states.values() for layer in stack)}
        os.fchdir(self.home)
        for layer in [name for name in self.sizes if name not in needed]:
            del self.sizes[layer]
            remove(layer)
        os.chdir("/")

    def drop(self, number: int) -> None:
        """Remove a branch."""
        branch = self.branches.pop(number)
        if self.active is branch:
            self.unmount()
        os.fchdir(self.home)
        for index, _ in enumerate(self.scratch):
            kernel.unmount(f"{branch.folder}/s{index}")
        remove(branch.folder)
        self.forget([])


def remove(folder: str) -> None:
    """Remove a folder of the present one with all that is in it, whatever its rights: this process may.

    Inner folders are moved up before they are emptied, so that no tree is too deep and no path too long.
    """
    pending = [folder]
    for count, place in enumerate(pending):
        with os.scandir(place) as entries:
            for index, entry in enumerate(list(entries)):
                if entry.is_dir(follow_symlinks=False):
                    moved = f"gone-{count}-{index}"
                    os.rename(entry.path, moved)
                    pending.append(moved)
                else:
                    os.unlink(entry.path)
        os.rmdir(place)


def lay_over(layer: str, target: str) -> None:
    """Put what a layer says on top of what another folder says, whiteouts and all."""
    folders = [""]
    for folder in folders:
        with os.scandir(os.path.join(layer, folder)) as entries:
            for entry in entries:
                path = os.path.join(folder, entry.name)
                place = os.path.join(target, path)
                if entry.is_dir(follow_symlinks=False):
                    lay_folder(entry, place)
                    folders.append(path)
                else:
                    take_away(place)
                    os.link(entry.path, place, follow_symlinks=False)


def lay_folder(entry: os.DirEntry[str], place: str) -> None:
    """Put a layer's folder where another may be; one that hides what is below it goes on hiding it."""
    opaque = is_opaque(entry.path)
    if opaque or not (os.path.isdir(place) and not os.path.islink(place)):
        opaque = opaque or os.path.lexists(place)
        take_away(place)
        os.mkdir(place)
    status = entry.stat(follow_symlinks=False)
    os.chown(place, status.st_uid, status.st_gid)
    os.chmod(place, stat.S_IMODE(status.st_mode))
    if opaque:
        os.setxattr(place, OPAQUE, b"y")


def is_opaque(folder: str) -> bool:
    """Whether a folder of a layer hides what is below it."""
    try:
        return os.getxattr(folder, OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False


def take_away(place: str) -> None:
    """Remove whatever is there, if anything is."""
    if os.path.isdir(place) and not os.path.islink(place):
        remove(place)
    elif os.path.lexists(place):
        os.unlink(place)


def attempt(root: str, scratch: list[str], limits: dict[str, int], guest: int) -> Branches | None:
    """Return the branches of this sandbox; None where the host does not allow such mounts."""
    try:
        enter(guest)
        return Branches(root, scratch, limits)
    except OSError:
        os.chdir("/")
        for place in (root, os.path.join(root, HOME)):
            with contextlib.suppress(OSError):
                kernel.unmount(place)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.join(root, HOME))
        return None
