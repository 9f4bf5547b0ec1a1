"""Python programs in a process forked from the worker, whose interpreter is warm: no start, few imports to wait for."""

from __future__ import annotations

import atexit
import builtins
import contextlib
import gc
import importlib
import linecache
import os
import signal
import site
import sys
import threading
import traceback
import types
from typing import NoReturn

PRELOADED = (
    "abc argparse ast base64 bisect collections copy csv dataclasses datetime decimal enum fractions functools glob hashlib "
    "heapq importlib.util inspect io itertools json logging math operator os pathlib pickle pprint queue random re shutil "
    "statistics string struct subprocess tempfile textwrap threading time traceback typing unittest uuid"
)
NAME = "<string>"
INTERRUPTED = -signal.SIGINT

_warm: frozenset[str] = frozenset()


def warm_up() -> None:
    """Load what programs usually import. Only the image's own files: a guest cannot have put anything there."""
    global _warm
    before = set(sys.modules)
    site.main()  # the worker was started without; what is installed in the image is for the guest to import
    for name in PRELOADED.split():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    _warm = frozenset(name.partition(".")[0] for name in set(sys.modules) - before)
    gc.collect()
    gc.freeze()  # what is here stays: a collection in a child shall not touch, and so copy, its pages


def become(code: str | types.CodeType, arguments: list[str], environment: dict[str, str]) -> NoReturn:
    """Run a program as `__main__` and leave as Python leaves."""
    prepare(arguments, environment)
    main = fresh_main()
    try:
        run(code, main, NAME)
        status = 0
    except BaseException as error:  # noqa: BLE001 - whatever it is, this process ends here
        status = report(error)
    leave(status)


def prepare(arguments: list[str], environment: dict[str, str]) -> None:
    """Make this process look like a fresh interpreter in the present folder."""
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["-c", *arguments]
    sys.orig_argv = ["python3", "-c", "...", *arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    added = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
    if not environment.get("PYTHONNOUSERSITE"):
        site.ENABLE_USER_SITE, site.USER_BASE, site.USER_SITE = True, None, None
        site.addusersitepackages(set())
    sys.path[:0] = ["", *added]
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    for folder in ("", *added):
        forget_shadowed(folder)


def forget_shadowed(folder: str) -> None:
    """Where a program's own module has the name of one that is loaded already, its own is meant."""
    with contextlib.suppress(OSError):
        names = {name[:-3] if name.endswith(".py") else name for name in os.listdir(folder or ".")}
        for name in names & _warm:
            for loaded in [key for key in sys.modules if key == name or key.startswith(name + ".")]:
                del sys.modules[loaded]


def fresh_main() -> types.ModuleType:
    """Return a new `__main__`."""
    main = types.ModuleType("__main__")
    vars(main).update(__builtins__=builtins, __annotations__={})
    sys.modules["__main__"] = main
    return main


def run(code: str | types.CodeType, main: types.ModuleType, name: str) -> None:
    """Run a program to its end, or to the exception by which it leaves."""
    if isinstance(code, str):
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        code = compile(code, name, "exec", dont_inherit=True)
    exec(code, vars(main))


def report(error: BaseException) -> int:
    """Say what ended a program, as Python does; return its exit status."""
    if isinstance(error, SystemExit):
        code = error.code
        if code is None or isinstance(code, int):
            return (code or 0) & 0xFF
        print(code, file=sys.stderr)
        return 1
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__package__") == __package__:
        trace = trace.tb_next  # the worker's own frames are nobody's business
    with contextlib.suppress(Exception):
        if sys.excepthook is sys.__excepthook__:
            traceback.print_exception(type(error), error, trace)
        else:
            sys.excepthook(type(error), error, trace)
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1


def leave(status: int) -> NoReturn:
    """End this process as Python's own end would, without unwinding into the worker."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - waits for threads that are no daemons
        atexit._run_exitfuncs()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        if sys.stdout is not None and not sys.stdout.closed:
            sys.stdout.flush()
    except BaseException:  # noqa: BLE001
        status = status or 120
    with contextlib.suppress(BaseException):
        sys.stderr.flush()
    if status == INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(status)
