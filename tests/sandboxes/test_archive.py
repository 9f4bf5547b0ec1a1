"""Archives in and out: honest ones come through whole, hostile ones are refused whole."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import random
import struct
import subprocess
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from branchwise.core.errors import UsageError
from branchwise.sandboxes import Store
from branchwise.sandboxes.archive import read_archive
from branchwise.sandboxes.manifest import Entry, link_stays_inside

LIMIT = 4 << 20


def member(name: str, content: bytes = b"x", kind: bytes = tarfile.REGTYPE, target: str = "", **more: object) -> bytes:
    """Return the blocks of one member of a tar archive."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    info.size = len(content) if kind == tarfile.REGTYPE else 0
    for field, value in more.items():
        setattr(info, field, value)
    body = content if kind == tarfile.REGTYPE else b""
    return info.tobuf(tarfile.GNU_FORMAT) + body + b"\0" * (-len(body) % 512)


def tar(*members: bytes) -> bytes:
    """Return a tar archive of members."""
    return b"".join(members) + b"\0" * 1024


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> bytes:
    """Return a link."""
    return member(name, kind=kind, target=target)


def zipped(*items: tuple[str, bytes, int]) -> bytes:
    """Return a zip archive of names, contents and modes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in items:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return out.getvalue()


def read(tmp_path: Path, data: bytes, **limits: int) -> dict[str, Entry]:
    """Read an archive; fail where anything was written outside of the store."""
    source = tmp_path / "archive"
    source.write_bytes(data)
    store = Store(tmp_path / "store")
    before = {path for path in tmp_path.rglob("*") if "store" not in path.parts}
    try:
        return read_archive(source, keep=store.put, **{"limit_bytes": LIMIT, **limits})
    finally:
        assert {path for path in tmp_path.rglob("*") if "store" not in path.parts} == before


# --- honest ones ------------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with files, a program, links, an empty folder and odd names."""
    base = tmp_path / "tree"
    (base / "src" / "deep").mkdir(parents=True)
    (base / "empty").mkdir()
    (base / "src" / "a.py").write_text("x = 1\n")
    (base / "src" / "deep" / "ü b").write_bytes(bytes(range(256)) * 40)
    (base / "run.sh").write_text("#!/bin/sh\n")
    (base / "run.sh").chmod(0o755)
    (base / "link").symlink_to("src/a.py")
    (base / "src" / "up").symlink_to("../run.sh")
    return base


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip"])
def test_out_and_in_again(tmp_path: Path, tree: Path, suffix: str) -> None:
    """A state that is saved as an archive and kept from it is the same state."""
    store = Store(tmp_path / "store")
    ref = store.keep(tree, limit_bytes=LIMIT)
    store.save(ref, tmp_path / f"out{suffix}")
    assert store.keep(tmp_path / f"out{suffix}", limit_bytes=LIMIT) == ref
    store.save(ref, tmp_path / f"again{suffix}")
    assert (tmp_path / f"again{suffix}").read_bytes() == (tmp_path / f"out{suffix}").read_bytes()


@pytest.mark.parametrize(
    "command", ["tar cf", "tar czf", "tar cjf", "tar cJf", "tar --format=pax -cf", "tar --format=v7 -cf"]
)
def test_archives_of_the_usual_program(tmp_path: Path, tree: Path, command: str) -> None:
    """What `tar` makes of a folder is the folder, whatever the file is called."""
    if "v7" in command:
        (tree / "src" / "deep" / "ü b").unlink()
        (tree / "src" / "deep").rmdir()
    (tree / ".git").mkdir()
    (tree / ".git" / "config").write_text("secret")
    subprocess.run([*command.split(), str(tmp_path / "some.thing"), "-C", str(tree), "."], check=True)
    store = Store(tmp_path / "store")
    assert store.keep(tmp_path / "some.thing", limit_bytes=LIMIT) == store.keep(tree, limit_bytes=LIMIT)


def test_hard_links_become_files(tmp_path: Path) -> None:
    """A second name of a file of the archive is a file of its own."""
    found = read(tmp_path, tar(member("a", b"1"), link("b", "a", tarfile.LNKTYPE), link("c", "./b", tarfile.LNKTYPE)))
    assert found["a"] == found["b"] == found["c"]


def test_save_is_all_or_nothing(tmp_path: Path, tree: Path) -> None:
    """What is there is not overwritten, and a save that fails leaves nothing."""
    store = Store(tmp_path / "store")
    ref = store.keep(tree, limit_bytes=LIMIT)
    store.save(ref, tmp_path / "folder")
    assert (tmp_path / "folder" / "src" / "up").read_text() == "#!/bin/sh\n"
    with pytest.raises(UsageError, match="is there already"):
        store.save(ref, tmp_path / "folder")
    lost = store.manifest(ref)["run.sh"].content
    (tmp_path / "store" / "contents" / lost[:2] / lost).unlink()
    with pytest.raises(Exception, match="lost the content"):
        Store(tmp_path / "store").save(ref, tmp_path / "other.tar.gz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "store", "tree"]


# --- hostile ones -----------------------------------------------------------------------------------------------------

OUT = "leads out of the tree"
BAD_TARS: dict[str, tuple[bytes, str]] = {
    "parent": (tar(member("../x")), OUT),
    "parent inside": (tar(member("a/../../x")), OUT),
    "parent that stays": (tar(member("a/../x")), OUT),
    "absolute": (tar(member("/etc/x")), "is absolute"),
    "absolute after a dot": (tar(member("a//etc/x")), OUT),
    "of windows": (tar(member("C:\\x")), "is absolute"),
    "back parent": (tar(member("a\\..\\..\\x")), OUT),
    "link to root": (tar(link("a", "/")), OUT),
    "link to parent": (tar(link("a", "..")), OUT),
    "link far up": (tar(link("a/b", "../../x")), OUT),
    "link by a detour": (tar(member("d/x"), link("d/l", ".."), link("e", "d/l/../..")), OUT),
    "link without end": (tar(link("a", "")), OUT),
    "below a link": (tar(link("a", "b"), member("a/x")), "which is a link"),
    "below a link in another's name": (tar(member("d/x"), link("a", "d"), member("a/y")), "which is a link"),
    "below a file": (tar(member("a"), member("a/x")), "which is a file"),
    "file over a folder": (tar(member("a/x"), member("a")), "twice"),
    "link over a folder": (tar(member("a/x"), link("a", "b")), "twice"),
    "folder over a link": (tar(link("a", "b"), member("a", kind=tarfile.DIRTYPE)), "twice"),
    "twice": (tar(member("a", b"1"), member("a", b"2")), "twice"),
    "twice by another name": (tar(member("a", b"1"), member("./a", b"2")), "twice"),
    "cases": (tar(member("Makefile"), member("makefile")), "one and the same"),
    "cases of folders": (tar(member("A/x"), member("a/y")), "one and the same"),
    "cases of a link": (tar(link("Src", "lib"), member("src/x")), "one and the same"),
    "forms of letters": (tar(member("\u00fc"), member("u\u0308")), "one and the same"),
    "hard link out": (tar(link("a", "/etc/passwd", tarfile.LNKTYPE)), "no file of the archive"),
    "hard link up": (tar(link("a", "../x", tarfile.LNKTYPE)), "no file of the archive"),
    "hard link to a link": (tar(link("a", "b"), link("c", "a", tarfile.LNKTYPE)), "no file of the archive"),
    "hard link to what comes": (tar(link("a", "b", tarfile.LNKTYPE), member("b")), "no file of the archive"),
    "character device": (tar(member("a", kind=tarfile.CHRTYPE, devmajor=1, devminor=5)), "is a device"),
    "block device": (tar(member("a", kind=tarfile.BLKTYPE)), "is a device"),
    "fifo": (tar(member("a", kind=tarfile.FIFOTYPE)), "is a FIFO"),
    "deep": (tar(member("/".join("d" * 70))), "too long or has more"),
    "long name": (tar(member("n" * 300)), "too long or has more"),
    "many": (tar(*(member(f"f{n}", b"") for n in range(1001))), "more than 1000 entries"),
    "many that are left out": (tar(*(member(f".git/f{n}", b"") for n in range(1001))), "more than 1000 entries"),
    "large": (tar(*(member(f"f{n}", b"x" * 500_000) for n in range(9))), "more than the 4 MiB"),
    "same content many times": (tar(member("a", b"x" * 500_000), *(link(f"l{n}", "a", tarfile.LNKTYPE) for n in range(9))),
                                "more than the 4 MiB"),
    "cut off": (tar(member("a", b"x" * 5000))[:2000], "cannot be read|does not hold"),
    "negative size": (tar(member("a", b"", size=-512)), "cannot be read|says that it has"),
    "no archive": (b"just some text", "cannot be read"),
    "empty file": (b"", "cannot be read"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(50), "zstd"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_TARS)
def test_hostile_tars_are_refused(tmp_path: Path, name: str) -> None:
    """Each trick is refused with words that name it."""
    data, words = BAD_TARS[name]
    with pytest.raises(UsageError, match=words):
        read(tmp_path, data, limit_entries=1000)
    with pytest.raises(UsageError, match=words if data else "cannot be read"):
        read(tmp_path, gzip.compress(data) if data[:4] != b"\x28\xb5\x2f\xfd" else data, limit_entries=1000)


FILE, LINK = 0o100644, 0o120777
BAD_ZIPS: dict[str, tuple[bytes, str]] = {
    "parent": (zipped(("../x", b"", FILE)), OUT),
    "absolute": (zipped(("/x", b"", FILE)), "is absolute"),
    "of windows": (zipped(("C:\\x", b"", FILE)), "is absolute"),
    "back parent": (zipped(("..\\x", b"", FILE)), OUT),
    "link out": (zipped(("a", b"/etc", LINK)), OUT),
    "below a link": (zipped(("a", b"b", LINK), ("a/x", b"", FILE)), "which is a link"),
    "fifo": (zipped(("a", b"", 0o010644)), "a device or a FIFO"),
    "device": (zipped(("a", b"", 0o020644)), "a device or a FIFO"),
    "cases": (zipped(("a", b"", FILE), ("A", b"", FILE)), "one and the same"),
    "long target": (zipped(("a", b"x" * 5000, LINK)), "target of 5000 bytes"),
    "large": (zipped(("a", random.Random(1).randbytes(5 << 20), FILE)), "more than the 4 MiB"),
    "bomb": (zipped(("a", bytes(40 << 20), FILE)), "out of proportion"),
    "many": (zipped(*((f"f{n}", b"", FILE) for n in range(1001))), "more than 1000 entries"),
    "cut off": (zipped(("a", b"x", FILE))[:-30], "cut off"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ZIPS)
def test_hostile_zips_are_refused(tmp_path: Path, name: str) -> None:
    """The same rules for zip archives."""
    data, words = BAD_ZIPS[name]
    with pytest.raises(UsageError, match=words):
        read(tmp_path, data, limit_entries=1000)


def test_zip_with_a_false_size(tmp_path: Path) -> None:
    """A file that holds more than the directory says is not cut short but refused."""
    data = bytearray(zipped(("a", b"x" * 1000, FILE)))
    for signature, field in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<L", data, data.index(signature) + field, 10)
    with pytest.raises(UsageError):
        read(tmp_path, bytes(data))


def test_zip_that_is_encrypted(tmp_path: Path) -> None:
    """What needs a password is refused at once."""
    data = bytearray(zipped(("a", b"x", FILE)))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(UsageError, match="is encrypted"):
        read(tmp_path, bytes(data))


def test_zip64_is_refused(tmp_path: Path) -> None:
    """The form for archives too large for a sandbox, in which the size of the directory hides, is not read."""
    data = zipped(("a", b"x", FILE))
    end = data.index(b"PK\x05\x06")
    with pytest.raises(UsageError, match="ZIP64"):
        read(tmp_path, data[:end] + b"PK\x06\x07" + bytes(16) + data[end:])


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress], ids=["gz", "xz"])
@pytest.mark.parametrize("inner", ["file", "header", "left out"])
def test_bombs_go_off_nowhere(tmp_path: Path, pack: Callable[[bytes], bytes], inner: str) -> None:
    """A small archive that grows without end is refused before it has grown, wherever in it the growth lies."""
    zeros = bytes(40 << 20)
    blocks = {
        "file": tar(member("a", zeros)),
        "header": tar(member("a", kind=tarfile.GNUTYPE_LONGNAME, size=len(zeros)) + zeros),
        "left out": tar(member(".git/a", zeros)),
    }
    begun = time.process_time()
    data = pack(blocks[inner])
    packed = time.process_time() - begun
    with pytest.raises(UsageError, match="out of proportion|more than the 4 MiB"):
        read(tmp_path, data)
    assert time.process_time() - begun - packed < 2


def test_headers_within_headers(tmp_path: Path) -> None:
    """An archive of nothing but nested headers ends in a refusal, not in a stack that overflows."""
    header = tarfile.TarInfo("h")
    header.type, header.size = tarfile.XHDTYPE, 12
    nested = (header.tobuf(tarfile.USTAR_FORMAT) + b"12 path=abc\n".ljust(512, b"\0")) * 3000
    with pytest.raises(UsageError):
        read(tmp_path, tar(nested + member("a")))


def test_damaged_archives_are_refused_or_read(tmp_path: Path, tree: Path) -> None:
    """Whatever bytes are changed, the outcome is entries or a refusal, and nothing is written anywhere."""
    store = Store(tmp_path / "first")
    ref = store.keep(tree, limit_bytes=LIMIT)
    lot = random.Random(3)
    for suffix in (".tar", ".tar.gz", ".zip"):
        store.save(ref, tmp_path / f"good{suffix}")
        good = (tmp_path / f"good{suffix}").read_bytes()
        for _ in range(60):
            data = bytearray(good)
            for _ in range(lot.randint(1, 8)):
                data[lot.randrange(len(data))] = lot.randrange(256)
            try:
                read(tmp_path, bytes(data[: lot.randint(1, len(data))] if lot.random() < 0.3 else data))
            except UsageError:
                continue


@pytest.mark.parametrize(
    ("path", "target", "inside"),
    [("a", "b", True), ("a/b", "../c", True), ("a/b", "../../c", False), ("a", "/b", False), ("a", "b/../c", False),
     ("a/b/c", "../../d", True), ("a", ".", True), ("a", "..", False), ("a/b", "..", True), ("a", "x\0y", False)],
)  # fmt: skip
def test_where_links_lead(path: str, target: str, inside: bool) -> None:
    """Up only at the beginning and not beyond the top: then no way through other links leads out either."""
    assert link_stays_inside(path, target) is inside


def test_no_way_through_links_leads_out(tmp_path: Path) -> None:
    """Of many trees of random links that pass, none has a link that ends outside."""
    lot = random.Random(4)
    places = ["a", "b", "d/a", "d/b", "d/e/a", "d/e/b", "d/e/f/a"]
    steps = ["a", "b", "d", "e", "f", "..", "."]
    for number in range(150):
        root = tmp_path / str(number) / "root"
        (root / "d" / "e" / "f").mkdir(parents=True)
        for place in places:
            target = "/".join(lot.choices(steps, k=lot.randint(1, 5)))
            if link_stays_inside(place, target):
                (root / place).symlink_to(target)
        for place in places:
            end = os.path.realpath(root / place)
            assert end == str(root) or end.startswith(f"{root}/")
