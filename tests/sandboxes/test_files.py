"""Files, snapshots, restores and forks: the same over every kind of sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from branchwise.core.errors import OutputLimitExceeded, UsageError
from branchwise.core.protocols import Sandboxes
from branchwise.sandboxes.environment import WorkerEnvironment, WorkerSandboxes

pytestmark = pytest.mark.asyncio(loop_scope="module")

EMPTY_REF = "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"
"""SHA-256 of an empty list: the address of a work space with nothing in it."""


@pytest.mark.parametrize("size", [0, 1, 1024, (4 << 20) - 1, 4 << 20, 10_000_000])
async def test_content_comes_back_as_it_went(env: WorkerEnvironment, size: int) -> None:
    """Files of any size survive the way in and out, byte for byte."""
    content = (bytes(range(256)) * (size // 256 + 1))[:size]
    await env.write("folder/file.bin", content)
    assert await env.read("folder/file.bin") == content
    assert (await env.exec(["stat", "-c", "%s", "folder/file.bin"])).stdout == f"{size}\n"
    assert await env.list() == ["folder/file.bin"]


@pytest.mark.parametrize("name", ["a b", "ünï ☃", "-rf", "'\"$(x)", "new\nline", ".hidden", "a/b/c/d/e", "x" * 255])
async def test_odd_names(env: WorkerEnvironment, name: str) -> None:
    """Names are just names."""
    await env.write(name, b"content")
    assert await env.list() == [name]
    assert await env.read(name) == b"content"
    ref = await env.snapshot()
    await env.remove(name)
    await env.restore(ref)
    assert await env.read(name) == b"content"


async def test_name_that_is_no_text_is_kept_and_shown(env: WorkerEnvironment) -> None:
    """A name that is not UTF-8 survives a snapshot and is listed in a form that any encoder takes."""
    await env.exec(["python3", "-c", "open(b'bad\\xff', 'w').write('x')"])
    assert await env.list() == ["bad\\xff"]
    ref = await env.snapshot()
    await env.restore(EMPTY_REF)
    await env.restore(ref)
    assert (await env.exec(["python3", "-c", "import os; print(os.listdir(b'.'))"])).stdout == "[b'bad\\xff']\n"


@pytest.mark.parametrize(
    "path", ["../x", "a/../../x", "/etc/passwd", "/workspace/../etc/passwd", "/workspaces/x", "", "a\0b"]
)
async def test_paths_that_lead_out_are_refused(env: WorkerEnvironment, path: str) -> None:
    """Nothing outside of the work space can be named, for reading, writing or removing."""
    for attempt in (env.read(path), env.write(path, b""), env.remove(path)):
        with pytest.raises(UsageError, match="leads out of the sandbox's work space"):
            await attempt


async def test_paths_that_stay_inside_are_fine(env: WorkerEnvironment) -> None:
    """Programs print absolute paths: they may be used, as may detours that stay inside."""
    await env.write("/workspace/a/file", b"1")
    assert await env.read("a/../a/./file") == b"1"


async def test_links_cannot_lead_out(env: WorkerEnvironment) -> None:
    """A link to the outside is neither read, nor written through, nor followed by a snapshot."""
    await env.exec(
        "ln -s /etc/passwd file; ln -s /etc folder; ln -s loop loop; ln -s /proc/self/environ env; python3 -c 'import os; os.mkfifo(\"pipe\")'"
    )
    for path in ("file", "folder/passwd", "loop", "env"):
        with pytest.raises(UsageError):
            await env.read(path)
    for path in ("file", "folder/passwd", "env"):
        with pytest.raises(UsageError):
            await env.write(path, b"x")
    with pytest.raises(OSError, match="not a regular file"):
        await env.read("pipe")
    ref = await env.snapshot()
    other = await env.fork()
    assert (await other.exec(["readlink", "file", "folder"])).stdout == "/etc/passwd\n/etc\n"
    assert await other.snapshot() == ref
    await other.close()


async def test_links_inside_work(env: WorkerEnvironment) -> None:
    """A link within the work space is followed, and removing it leaves its target."""
    await env.write("real/file", b"1")
    await env.exec("ln -s real link")
    assert await env.read("link/file") == b"1"
    await env.write("link/file", b"2")
    assert await env.read("real/file") == b"2"
    await env.remove("link")
    assert await env.list() == ["real/file"]


async def test_missing_and_wrong_kinds(env: WorkerEnvironment) -> None:
    """Reading what is not there, and a folder, fails as for `open`."""
    await env.write("folder/file", b"")
    with pytest.raises(FileNotFoundError, match="nothing"):
        await env.read("nothing")
    with pytest.raises(IsADirectoryError):
        await env.read("folder")
    with pytest.raises(IsADirectoryError):
        await env.write("folder", b"")
    with pytest.raises((NotADirectoryError, FileExistsError)):
        await env.write("folder/file/inner", b"")


async def test_limits_of_reading_and_of_the_work_space(env: WorkerEnvironment) -> None:
    """What is too large is refused whole, and leaves nothing."""
    await env.write("ten", b"x" * 10)
    assert await env.read("ten", limit_bytes=10) == b"x" * 10
    with pytest.raises(OutputLimitExceeded, match="10 bytes, more than the limit of 9"):
        await env.read("ten", limit_bytes=9)
    with pytest.raises(OutputLimitExceeded, match="does not fit into the sandbox's work space of 48 MiB"):
        await env.write("huge", bytes(60 << 20))
    assert await env.list() == ["ten"]
    assert (await env.exec("du -sk . | cut -f1")).stdout.strip() == "4"


async def test_writing_keeps_the_mode(env: WorkerEnvironment) -> None:
    """A script that is rewritten can still be run, even one that was read-only."""
    await env.exec("printf '#!/bin/sh\\necho old\\n' > script; chmod 555 script")
    await env.write("script", b"#!/bin/sh\necho new\n")
    assert (await env.exec("./script; stat -c %a script")).stdout == "new\n555\n"


async def test_equal_states_have_equal_addresses(supply: Sandboxes, env: WorkerEnvironment) -> None:
    """An address says what the files are, not how they came to be, nor what caches lie around."""
    assert await env.snapshot() == EMPTY_REF
    await env.write("a.py", b"x = 1\n")
    await env.write("b/c.py", b"y = 2\n")
    first = await env.snapshot()
    await env.exec("rm -r b; mkdir b; touch b/c.py .z; rm .z; echo 'y = 2' > b/c.py; mkdir -p __pycache__ b/.pytest_cache; "
                   "touch __pycache__/a.pyc b/.pytest_cache/x b/stale.pyc")  # fmt: skip
    assert await env.snapshot() == first
    await env.exec("chmod +x a.py")
    assert await env.snapshot() != first
    await env.exec("chmod 644 a.py; mkdir empty")
    assert await env.snapshot() != first
    await env.exec("rmdir empty")
    other = await supply.open(first)
    assert await other.snapshot() == first
    await other.close()


async def test_change_within_one_tick_is_seen(env: WorkerEnvironment) -> None:
    """A file that is rewritten at once with other content of the same size has another address each time."""
    refs = set()
    for number in range(30):
        await env.write("file", b"%02d" % number)
        refs.add(await env.snapshot())
    assert len(refs) == 30


async def test_module_that_changes_within_a_second_runs_as_it_is(env: WorkerEnvironment) -> None:
    """No stale byte code: size and time stamp of the new source equal the old one's."""
    for operator in "+-+-":
        await env.write("maths.py", f"def f(a, b): return a {operator} b\n".encode())
        await env.exec(["touch", "-d", "2020-01-01", "maths.py"])
        result = await env.exec(["python3", "-c", "import maths; print(maths.f(5, 2))"])
        assert result.stdout == {"+": "7\n", "-": "3\n"}[operator]


async def test_restore_brings_everything_back(env: WorkerEnvironment) -> None:
    """Changed, added, removed, retyped and relinked files are what they were; scratch space is empty."""
    await env.write("keep", b"keep")
    await env.write("change", b"before")
    await env.write("kind/inner", b"file below a folder")
    await env.write("other", b"file")
    await env.exec("chmod 640 change; mkdir -p empty/inner; ln -s keep link; ln -s a relinked")
    ref = await env.snapshot()
    await env.exec(
        "echo after > change; chmod 777 keep; rm -r kind; echo x > kind; rm other; mkdir -p other/deep; rm -r empty link; "
        "ln -sfn b relinked; echo y > link; echo junk > new; mkdir __pycache__; touch __pycache__/old.pyc /tmp/x /dev/shm/x"
    )
    await env.restore(ref)
    assert await env.snapshot() == ref
    listing = await env.exec(
        "find . /tmp /dev/shm | sort; cat change kind/inner; stat -c %a change keep; readlink link relinked"
    )
    assert listing.stdout == (
        ".\n./change\n./empty\n./empty/inner\n./keep\n./kind\n./kind/inner\n./link\n./other\n./relinked\n/dev/shm\n/tmp\n"
        "beforefile below a folder640\n644\nkeep\na\n"
    )


async def test_what_happens_in_a_fork_stays_there(env: WorkerEnvironment) -> None:
    """Two branches go on from the same state and never see each other."""
    await env.write("file", b"shared")
    fork = await env.fork()
    assert await fork.read("file") == b"shared"
    await asyncio.gather(env.write("file", b"one"), fork.write("file", b"two"))
    await fork.exec("touch only-here /tmp/secret")
    assert await env.read("file") == b"one"
    assert await fork.read("file") == b"two"
    assert await env.list() == ["file"]
    await fork.close()


async def test_next_environment_finds_nothing_of_the_last(
    supply: WorkerSandboxes, hostile: Callable[[str], list[str]]
) -> None:
    """A sandbox that is used again holds no file, program, queue or semaphore of its last user."""
    leave = """
    import ctypes, subprocess, pathlib
    for folder in ("/workspace", "/tmp", "/dev/shm", "/dev/mqueue", "/dev", "/run", "/var/tmp", "/etc", "/"):
        try: pathlib.Path(folder, "left-behind").write_text("x")
        except OSError: pass
    pathlib.Path("/workspace/locked/inner").mkdir(parents=True)
    pathlib.Path("/workspace/locked/inner/file").write_text("x")
    os.chmod("/workspace/locked/inner", 0)
    os.chmod("/workspace/locked", 0)
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    """
    seen = 0
    for _ in range(4):
        first = await supply.open()
        assert (await first.exec(hostile(leave))).ok
        sandbox = first._space.guest
        await first.close()
        second = await supply.open()
        seen += second._space.guest is sandbox
        found = await second.exec(
            "find / -name left-behind -o -name locked 2>/dev/null; ls -A /workspace /tmp /dev/shm; id -u"
        )
        processes = await second.exec("ls -d /proc/[0-9]* | wc -l")
        await second.close()
        assert found.stdout == "/dev/shm:\n\n/tmp:\n\n/workspace:\n65532\n"
        assert int(processes.stdout) <= 5  # the two of the worker, the shell, ls and wc
    assert seen


async def test_locked_files_are_kept_in_a_snapshot(env: WorkerEnvironment) -> None:
    """What the guest has made unreadable to itself is still part of the state."""
    await env.exec("echo secret > file; chmod 000 file; mkdir locked; echo x > locked/inner; chmod 000 locked")
    ref = await env.snapshot()
    assert await env.list() == ["file", "locked/inner"]
    await env.restore(EMPTY_REF)
    await env.restore(ref)
    assert (await env.exec("stat -c %a file; chmod 600 file; cat file locked/inner")).stdout == "0\nsecret\nx\n"


async def test_state_that_cannot_be_cleared_is_left_behind(
    env: WorkerEnvironment, hostile: Callable[[str], list[str]]
) -> None:
    """A tree deeper than any path can name costs the sandbox, not the branch."""
    await env.write("file", b"kept")
    ref = await env.snapshot()
    bury = """
    for _ in range(3000):
        os.mkdir("deep")
        os.chdir("deep")
    """
    assert (await env.exec(hostile(bury))).ok
    with pytest.raises(OSError, match="too long"):
        await env.snapshot()
    await env.restore(ref)
    assert await env.list() == ["file"]
    assert await env.read("file") == b"kept"


async def test_folder_of_the_host_and_back(supply: Sandboxes, tmp_path: Path) -> None:
    """A folder is kept without its history and caches; what a branch makes of it can be told."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.py").write_text("print('hi')\n")
    (tmp_path / "run.sh").write_text("#!/bin/sh\npython3 src/main.py\n")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "old.txt").write_text("old")
    for skipped in (".git/config", "src/__pycache__/main.cpython-311.pyc", "env/pyvenv.cfg", "node_modules/x/y"):
        (tmp_path / skipped).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / skipped).write_text("x")
    origin = await supply.keep(tmp_path)
    assert origin == await supply.keep(tmp_path)
    environment = await supply.open(origin)
    assert await environment.list() == ["old.txt", "run.sh", "src/main.py"]
    assert (
        await environment.exec("./run.sh && rm old.txt && echo new > new.txt && chmod +x src/main.py")
    ).stdout == "hi\n"
    changed, deleted = supply.diff(origin, await environment.snapshot())
    assert changed == {"new.txt": b"new\n", "src/main.py": b"print('hi')\n"}
    assert deleted == ["old.txt"]
    await environment.close()


async def test_many_files(supply: WorkerSandboxes) -> None:
    """Thousands of files, and contents beyond a frame's size, are kept and restored."""
    environment = await supply.open()
    await environment.exec(
        "for i in $(seq 2000); do echo $i > f$i; done; for i in 1 2 3; do head -c 5000000 /dev/zero > big$i; done"
    )
    ref = await environment.snapshot()
    fork = await supply.open(ref)
    assert await fork.snapshot() == ref
    assert await fork.read("f1999") == b"1999\n"
    assert len(await fork.read("big3")) == 5_000_000
    await environment.close()
    await fork.close()


async def test_closed_environment_says_so(supply: Sandboxes) -> None:
    """Closing twice is fine, using a closed environment is not."""
    environment = await supply.open()
    await environment.close()
    await environment.close()
    with pytest.raises(UsageError, match="closed"):
        await environment.exec(["true"])
    with pytest.raises(UsageError, match="there is no snapshot"):
        await supply.open("0" * 64)
