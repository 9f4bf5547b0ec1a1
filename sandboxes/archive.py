"""Archives: written from states, and read without trusting anything that they say.

An archive is never unpacked onto the host. Its entries become those of a manifest, one by one, by rules that leave no
room for interpretation; what breaks a rule makes the whole archive refused.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

from ..core.errors import UsageError
from .entries import LIMIT_ENTRIES, Entries
from .manifest import Entry, Manifest, link_stays_inside, printable

_PIECE_BYTES = 1 << 20
_RATIO = 200
"""Most bytes that a byte of an archive may become, once it has become `_RATIO_FREE_BYTES`. Source code gives 3 to 10."""
_RATIO_FREE_BYTES = 16 << 20
_LINK_MOST_BYTES = 4096
_SUFFIXES = {
    ".tar": "",
    ".tar.gz": "gz",
    ".tgz": "gz",
    ".tar.bz2": "bz2",
    ".tbz2": "bz2",
    ".tar.xz": "xz",
    ".txz": "xz",
    ".zip": "zip",
}
_END_OF_ZIP = struct.Struct("<4s4H2LH")
_BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, OverflowError,
    NotImplementedError, RuntimeError, struct.error,
)  # fmt: skip
"""What the standard library's readers raise for damaged and malicious archives; RuntimeError: encrypted or too deep."""


class Refused(UsageError):
    """The archive is not one to be taken in."""


def is_archive_name(name: str) -> bool:
    """Whether `save` makes an archive of this name and no folder."""
    return name.lower().endswith(tuple(_SUFFIXES))


# --- reading ----------------------------------------------------------------------------------------------------------


def read_archive(
    source: Path, *, limit_bytes: int, keep: Callable[[bytes], str], limit_entries: int = LIMIT_ENTRIES
) -> dict[str, Entry]:
    """Return the entries of a tar or zip archive in any usual compression; `keep` is given each file's content.

    What belongs to no task (`host_files.SKIPPED_FOLDERS`) is left out, modes are reduced to executable or not. Hard links
    to files of the archive become files.

    Raises:
        UsageError: it cannot be read, holds more than `limit_bytes` or `limit_entries`, or has something that no honest
            archive has: absolute paths, `..`, links out of the tree or below links, devices, the same path twice, or
            contents that grow beyond measure.
    """
    found = Entries(limit_bytes=limit_bytes, limit_entries=limit_entries, keep=keep)
    try:
        with source.open("rb") as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            start = file.read(6)
            file.seek(0)
            if start[:4] in {b"PK\x03\x04", b"PK\x05\x06"}:
                _read_zip(file, size, found)
            else:
                _read_tar(_Metered(_decompressed(file, start), size, limit_bytes), found)
            return found.finished()
    except UsageError as error:
        raise UsageError(f"the archive {str(source)!r} is refused: {error}") from error
    except _BROKEN as error:
        reason = str(error) or type(error).__name__
        raise UsageError(
            f"{str(source)!r} cannot be read as a tar or zip archive: {reason}; give a folder or an archive"
        ) from error


def _decompressed(file: IO[bytes], start: bytes) -> IO[bytes]:
    """Return the reader for what an archive's first bytes say that it is; its name says nothing."""
    if start.startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if start.startswith(b"BZh"):
        return bz2.open(file)
    if start.startswith((b"\xfd7zXZ\x00", b"\x5d\x00\x00")):
        return lzma.open(file)
    if start.startswith(b"\x28\xb5\x2f\xfd"):
        raise Refused("it is compressed with zstd, which is not supported; use gzip, bzip2 or xz")
    return file


class _Metered(io.RawIOBase):
    """Counts what comes out of an archive and stops it where that is more than an honest one would hold."""

    def __init__(self, inner: IO[bytes], size: int, limit_bytes: int) -> None:
        super().__init__()
        self._inner = inner
        self._most = min(max(_RATIO_FREE_BYTES, _RATIO * size), 4 * limit_bytes + _RATIO_FREE_BYTES)
        self._count = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._inner.read(min(size, _PIECE_BYTES) if size >= 0 else _PIECE_BYTES)
        self._count += len(data)
        if self._count > self._most:
            raise Refused(_bomb(self._most))
        return data


def _bomb(most: int) -> str:
    return (
        f"it grows to more than {most >> 20} MiB when it is unpacked, out of proportion to its size; if that is as it "
        "should be, unpack it yourself and give the folder"
    )


def _read_tar(stream: _Metered, found: Entries) -> None:
    with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|", errors="surrogateescape") as tar:
        for member in tar:
            _take_member(tar, member, found)


def _take_member(tar: tarfile.TarFile, member: tarfile.TarInfo, found: Entries) -> None:
    path = member.name
    if member.isdir():
        found.folder(path)
    elif member.issym():
        found.link(path, member.linkname)
    elif member.islnk():
        found.same_as(path, member.linkname)
    elif member.isreg() and not member.issparse():
        content = tar.extractfile(member)
        pieces = iter(lambda: content.read(_PIECE_BYTES), b"") if content is not None else iter(())
        found.file(path, member.size, bool(member.mode & stat.S_IXUSR), pieces)
    else:
        kinds = {tarfile.CHRTYPE: "a device", tarfile.BLKTYPE: "a device", tarfile.FIFOTYPE: "a FIFO"}
        what = "a sparse file" if member.issparse() else kinds.get(member.type, f"of the unknown kind {member.type!r}")
        raise Refused(f"{printable(path)!r} is {what}; only files, folders and links are taken in")


def _read_zip(file: IO[bytes], size: int, found: Entries) -> None:
    _check_directory(file, size, found.limit_entries)
    with zipfile.ZipFile(file) as archive:
        declared = sum(item.file_size for item in archive.infolist())
        if declared > max(_RATIO_FREE_BYTES, _RATIO * size):
            raise Refused(_bomb(max(_RATIO_FREE_BYTES, _RATIO * size)))
        for item in archive.infolist():
            _take_item(archive, item, found)


def _check_directory(file: IO[bytes], size: int, limit_entries: int) -> None:
    """Look at the directory's size before the library reads all of it; find it in the way that the library does."""
    start = max(0, size - (1 << 16) - _END_OF_ZIP.size)
    file.seek(start)
    tail = file.read()
    at = len(tail) - _END_OF_ZIP.size
    if tail[at : at + 4] != b"PK\x05\x06" or tail[-2:] != b"\0\0":
        at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END_OF_ZIP.size > len(tail):
        raise Refused("it is a zip archive that was cut off")
    _, _, _, _, count, directory_bytes, _, _ = _END_OF_ZIP.unpack_from(tail, at)
    if tail[max(0, at - 20) : at].startswith(b"PK\x06\x07"):
        raise Refused("it is a ZIP64 archive, which is for such as are too large for a sandbox; use tar")
    if count > limit_entries or directory_bytes > limit_entries * 512 + _PIECE_BYTES:
        raise Refused(f"it has more than {limit_entries} entries")


def _take_item(archive: zipfile.ZipFile, item: zipfile.ZipInfo, found: Entries) -> None:
    path, mode = item.filename, item.external_attr >> 16
    if item.flag_bits & 1:
        raise Refused(f"{printable(path)!r} is encrypted; give an archive that is not")
    kind = stat.S_IFMT(mode)
    if item.is_dir():
        found.folder(path)
    elif kind == stat.S_IFLNK:
        if item.file_size > _LINK_MOST_BYTES:
            raise Refused(f"the link {printable(path)!r} has a target of {item.file_size} bytes")
        found.link(path, archive.read(item).decode("utf-8", "surrogateescape"))
    elif kind in {0, stat.S_IFREG}:
        found.file(path, item.file_size, bool(mode & stat.S_IXUSR), _unzipped(archive, item))
    else:
        raise Refused(f"{printable(path)!r} is a device or a FIFO; only files, folders and links are taken in")


def _unzipped(archive: zipfile.ZipFile, item: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(item) as content:
        yield from iter(lambda: content.read(_PIECE_BYTES), b"")


# --- writing ----------------------------------------------------------------------------------------------------------


class _Item(NamedTuple):
    path: str
    entry: Entry
    content: bytes


def write_archive(manifest: Manifest, get: Callable[[str], bytes], target: Path) -> None:
    """Write a state as an archive whose kind the name's ending says. Equal states give equal archives.

    Links that lead out of the tree are left out: whoever unpacks it should not have to trust them.

    Raises:
        OSError: it cannot be written.
    """
    suffix = next(suffix for suffix in sorted(_SUFFIXES, key=len, reverse=True) if target.name.lower().endswith(suffix))
    items = (
        _Item(path, entry, get(entry.content) if entry.kind == "f" else b"")
        for path, entry in manifest.items()
        if entry.kind != "l" or link_stays_inside(path, entry.content)
    )
    kind = _SUFFIXES[suffix]
    with target.open("xb") as file:
        if kind == "zip":
            _write_zip(items, file)
        elif kind == "gz":
            # By hand, for the library would put the time and the file's name in.
            with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed:
                _write_tar(items, packed)
        elif kind == "bz2":
            with bz2.open(file, "wb") as packed:
                _write_tar(items, packed)
        elif kind == "xz":
            with lzma.open(file, "wb") as packed:
                _write_tar(items, packed)
        else:
            _write_tar(items, file)


def _write_tar(items: Iterator[_Item], file: IO[bytes] | gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile) -> None:
    with tarfile.open(fileobj=cast("IO[bytes]", file), mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path, entry, content in items:
            info = tarfile.TarInfo(path)
            info.mode, info.size = entry.mode or 0o755, len(content)
            if entry.kind == "d":
                info.type = tarfile.DIRTYPE
            elif entry.kind == "l":
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.content, 0o777
            tar.addfile(info, io.BytesIO(content))


def _write_zip(items: Iterator[_Item], file: IO[bytes]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, entry, content in items:
            info = zipfile.ZipInfo(printable(path) + ("/" if entry.kind == "d" else ""))
            info.create_system, info.compress_type = 3, zipfile.ZIP_DEFLATED  # modes are those of Unix
            kind = {"f": stat.S_IFREG | entry.mode, "d": stat.S_IFDIR | 0o755, "l": stat.S_IFLNK | 0o777}[entry.kind]
            info.external_attr = kind << 16
            archive.writestr(info, entry.content.encode("utf-8", "surrogateescape") if entry.kind == "l" else content)
