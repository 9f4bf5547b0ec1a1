"""Running programs: the same over every kind of sandbox."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.protocols import Sandboxes
from branchwise.core.types import Python
from branchwise.sandboxes.environment import WorkerEnvironment

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def programs(env: WorkerEnvironment) -> str:
    """Return the processes in the sandbox but the two of its worker and the one that looks, as text."""
    look = "import os; print([p for p in os.listdir('/proc') if p.isdigit() and int(p) not in (1, os.getppid(), os.getpid())])"
    return (await env.exec(Python(look))).stdout.strip()


async def test_streams_and_status_are_told_apart(env: WorkerEnvironment) -> None:
    """Standard output, standard error and the exit status arrive as the program gave them."""
    result = await env.exec("echo out; echo err >&2; exit 7")
    assert (result.exit_code, result.stdout, result.stderr) == (7, "out\n", "err\n")
    assert not result.ok
    assert not result.timed_out
    assert not result.truncated
    assert result.seconds > 0


async def test_list_of_arguments_is_not_seen_by_a_shell(env: WorkerEnvironment) -> None:
    """A sequence runs as it is."""
    assert (await env.exec(["echo", "$HOME; *", "a b"])).stdout == "$HOME; * a b\n"


async def test_signal_that_ended_it_is_the_negative_status(env: WorkerEnvironment) -> None:
    """A program that kills itself ends with minus the signal."""
    assert (await env.exec(["sh", "-c", "kill -TERM $$"])).exit_code == -15


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["no-such-program"], 127, "No such file"),
        (["/workspace"], 126, "Permission denied"),
        (["./script"], 126, "Permission denied"),
    ],
)
async def test_program_that_cannot_run_is_data(
    env: WorkerEnvironment, command: list[str], code: int, words: str
) -> None:
    """What a shell would say is what the result says."""
    await env.write("script", b"echo hello\n")
    result = await env.exec(command)
    assert result.exit_code == code
    assert words in result.stderr


async def test_stdin_reaches_the_program(env: WorkerEnvironment) -> None:
    """Input of several pipes' size arrives whole, followed by its end."""
    data = bytes(range(256)) * 4096
    result = await env.exec(["sha256sum"], stdin=data)
    assert result.stdout.split()[0] == hashlib.sha256(data).hexdigest()


async def test_stdin_that_nobody_reads_does_no_harm(env: WorkerEnvironment) -> None:
    """A program may end without reading its input."""
    assert (await env.exec(["true"], stdin=b"x" * (1 << 20))).ok


async def test_working_folder_and_environment(env: WorkerEnvironment) -> None:
    """`cwd` is relative to the work space, `env` is added to the sandbox's own."""
    await env.write("inner/file", b"")
    result = await env.exec("pwd; ls; echo $COLOUR $HOME", cwd="inner", env={"COLOUR": "grün"})
    assert result.stdout == "/workspace/inner\nfile\ngrün /tmp\n"
    assert (await env.exec(["true"], cwd="nowhere")).exit_code == 127
    with pytest.raises(UsageError, match="leads out of the sandbox's work space"):
        await env.exec(["true"], cwd="../etc")


async def test_output_that_is_no_text(env: WorkerEnvironment) -> None:
    """Unicode arrives as it is, bytes that are not UTF-8 as replacement characters."""
    assert (await env.exec(["printf", "%s", "héllo ☃ 𝄞"])).stdout == "héllo ☃ 𝄞"
    assert (await env.exec(["printf", "a\\377b\\000c"])).stdout == "a�b\0c"


async def test_output_is_capped_and_the_program_goes_on(env: WorkerEnvironment) -> None:
    """Beyond the limit output is dropped, not the program."""
    result = await env.exec("head -c 3000000 /dev/zero | tr '\\0' x; echo done > proof", output_limit_bytes=1000)
    assert result.ok
    assert result.truncated
    assert len(result.stdout) == 1000
    assert await env.read("proof") == b"done\n"
    exact = await env.exec(["printf", "12345"], output_limit_bytes=5)
    assert (exact.stdout, exact.truncated) == ("12345", False)


async def test_endless_output_ends_with_the_time(env: WorkerEnvironment) -> None:
    """A program that floods its output is stopped on time and costs no memory."""
    result = await env.exec(["yes"], timeout_seconds=0.5, output_limit_bytes=1 << 16)
    assert result.timed_out
    assert result.truncated
    assert len(result.stdout) == 1 << 16


DAEMON = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        with open("/workspace/daemon", "w") as file:
            file.write("up")
        while True:
            time.sleep(1)
    os._exit(0)
while not os.path.exists("/workspace/daemon"):
    time.sleep(0.01)
print("up", flush=True)
"""


async def test_timeout_ends_every_process(env: WorkerEnvironment) -> None:
    """A double-forked daemon and a program that ignores SIGTERM are gone when the call returns."""
    started = time.monotonic()
    result = await env.exec(["python3", "-c", DAEMON + "while True: time.sleep(1)"], timeout_seconds=1.5)
    assert result.timed_out
    assert result.exit_code == -9
    assert result.stdout == "up\n"
    assert time.monotonic() - started < 10
    assert await programs(env) == "[]"


async def test_nothing_outlives_a_program_that_ends_by_itself(env: WorkerEnvironment) -> None:
    """Daemons and background jobs do not outlive the call that started them, nor hold it up."""
    started = time.monotonic()
    result = await env.exec(["python3", "-c", DAEMON])
    assert (result.exit_code, result.stdout) == (0, "up\n")
    assert (await env.exec("sleep 60 & setsid sleep 60 & echo started")).stdout == "started\n"
    assert time.monotonic() - started < 20
    assert await programs(env) == "[]"


async def test_cancelling_ends_every_process(env: WorkerEnvironment) -> None:
    """Once the cancelled call has returned, nothing of it runs, and the environment can be used."""
    for seconds in (0.2, 1, 4, 16):  # until the daemon was there to be killed
        task = asyncio.create_task(env.exec(["python3", "-c", DAEMON + "while True: time.sleep(1)"]))
        await asyncio.sleep(seconds)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await programs(env) == "[]"
        if "daemon" in await env.list():
            return
    pytest.fail("the daemon never came up")


async def test_cancelled_before_it_began(env: WorkerEnvironment) -> None:
    """A call that is cancelled at once leaves nothing behind either."""
    for _ in range(5):
        task = asyncio.create_task(env.exec(["sleep", "60"]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await programs(env) == "[]"


async def test_eight_at_once(supply: Sandboxes) -> None:
    """Eight environments work side by side, each in its own files."""

    async def one(number: int) -> str:
        environment = await supply.open()
        try:
            await environment.write("number", str(number).encode())
            result = await environment.exec("sleep 0.3; cat number; ls | wc -l")
            return result.stdout
        finally:
            await environment.close()

    assert await asyncio.gather(*(one(number) for number in range(8))) == [f"{number}1\n" for number in range(8)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"command": []}, "the command is empty"),
        ({"command": ["a\0b"]}, "NUL"),
        ({"command": "true", "env": {"A=B": "c"}}, "cannot be empty or hold '='"),
        ({"command": "true", "timeout_seconds": 0}, "above 0"),
        ({"command": "true", "timeout_seconds": float("nan")}, "above 0"),
        ({"command": "true", "output_limit_bytes": -1}, "between 0 and"),
    ],
)
async def test_wrong_use_is_told(env: WorkerEnvironment, arguments: dict[str, object], words: str) -> None:
    """Calls that cannot work say so before anything runs."""
    with pytest.raises(UsageError, match=words):
        await env.exec(**arguments)  # type: ignore[arg-type]


async def test_memory_bomb_hurts_only_itself(env: WorkerEnvironment, hostile: Callable[[str], list[str]]) -> None:
    """A program that eats memory is ended; the sandbox goes on."""
    result = await env.exec(hostile("held = []\nwhile True: held.append(bytearray(1 << 22))"), timeout_seconds=30)
    assert result.exit_code == -9 or "MemoryError" in result.stderr
    assert (await env.exec(["echo", "alive"])).stdout == "alive\n"


async def test_fork_bomb_hurts_only_itself(env: WorkerEnvironment, hostile: Callable[[str], list[str]]) -> None:
    """Processes are limited, and all gone after the call."""
    bomb = """
    made = 0
    while True:
        try:
            if os.fork() == 0:
                while True:
                    try: os.fork()
                    except OSError: pass
            made += 1
        except OSError:
            pass
    """
    result = await env.exec(hostile(bomb), timeout_seconds=1)
    assert result.timed_out
    assert await programs(env) == "[]"


async def test_full_disk_hurts_only_itself(env: WorkerEnvironment, hostile: Callable[[str], list[str]]) -> None:
    """The work space has a size; when it is full it can be emptied again."""
    fill = """
    for folder in ("/workspace", "/tmp", "/dev/shm"):
        try:
            with open(folder + "/full", "wb") as file:
                while True: file.write(bytes(1 << 20))
        except OSError as error:
            print(folder, error.strerror)
    """
    result = await env.exec(hostile(fill))
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["/workspace", "/tmp", "/dev/shm"]
    await env.remove("full")
    await env.write("small", b"fits")
    assert await env.list() == ["small"]


async def test_worker_is_out_of_the_guest_s_reach(env: WorkerEnvironment, hostile: Callable[[str], list[str]]) -> None:
    """No signal, no file of its process, no limit and no tracing reaches the worker."""
    attack = """
    import ctypes, signal, resource
    done = []
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGINT):
        try: os.kill(1, number)
        except OSError: pass
    for name in ("environ", "mem", "fd/0", "fd/1"):
        try:
            os.close(os.open("/proc/1/" + name, os.O_RDWR if name != "environ" else os.O_RDONLY))
            done.append(name)
        except OSError: pass
    try:
        resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0))
        done.append("prlimit")
    except OSError: pass
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, 1, 0, 0) == 0:
        done.append("ptrace")
    print(done)
    """
    result = await env.exec(hostile(attack))
    assert (result.stdout, result.stderr) == ("[]\n", "")
    assert (await env.exec(["echo", "alive"])).stdout == "alive\n"


async def test_kernel_interfaces_are_closed(env: WorkerEnvironment, hostile: Callable[[str], list[str]]) -> None:
    """New namespaces, mounts, io_uring, keys, BPF, queues and odd sockets are refused."""
    attack = """
    import ctypes, platform
    libc = ctypes.CDLL(None, use_errno=True)
    done = []
    for family in (40, 38, 17, 31):  # vsock, crypto, raw packets, Bluetooth
        try:
            socket.socket(family, socket.SOCK_STREAM if family != 38 else 5).close()
            done.append(family)
        except OSError: pass
    for flags in (0x10000000, 0x00020000, 0x40000000):
        if libc.unshare(flags) == 0: done.append("unshare")
    if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0: done.append("mount")
    numbers = {"io_uring_setup": 425, "clone3": 435, "pidfd_getfd": 438}
    if platform.machine() == "x86_64":
        numbers.update(bpf=321, keyctl=250, userfaultfd=323, perf_event_open=298, add_key=248, shmget=29, mq_open=240)
    buffer = ctypes.create_string_buffer(256)
    for name, number in numbers.items():
        if libc.syscall(number, buffer, buffer, 128, 0, 0) >= 0: done.append(name)
    for path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper", "/etc/x", "/dev/x"):
        try:
            open(path, "w").close()
            done.append(path)
        except OSError: pass
    print(done)
    """
    result = await env.exec(hostile(attack))
    assert (result.stdout, result.stderr) == ("[]\n", "")


async def test_network_is_off(env: WorkerEnvironment) -> None:
    """No address can be reached, no name looked up; the loopback of the sandbox's own works."""
    probe = """
import socket
for address in (("1.1.1.1", 53), ("169.254.169.254", 80), ("172.17.0.1", 80)):
    try:
        socket.create_connection(address, timeout=3)
        print("reached", address)
    except OSError:
        pass
try:
    print("resolved", socket.getaddrinfo("example.com", 80))
except OSError:
    pass
with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
    print("loopback")
"""
    assert (await env.exec(["python3", "-c", probe])).stdout == "loopback\n"


async def test_python_and_its_usual_company_work(env: WorkerEnvironment) -> None:
    """The made image runs real programs: pytest, threads, multiprocessing, sqlite, ssl."""
    await env.write(
        "test_all.py",
        b"import asyncio, ctypes, json, multiprocessing, sqlite3, ssl, subprocess, threading, zlib\n"
        b"def test_processes():\n"
        b"    with multiprocessing.Pool(2) as pool:\n"
        b"        assert pool.map(abs, [-1, 2]) == [1, 2]\n"
        b"def test_sqlite():\n"
        b"    assert sqlite3.connect(':memory:').execute('select 1').fetchall() == [(1,)]\n"
        b"def test_programs():\n"
        b"    assert subprocess.check_output('echo a b | awk \"{print \\\\$2}\" | sed s/b/c/', shell=True) == b'c\\n'\n",
    )
    result = await env.exec(["python", "-m", "pytest", "-q", "test_all.py"])
    assert result.ok, result.stdout + result.stderr
    assert "3 passed" in result.stdout
    assert await env.list() == ["test_all.py"]
