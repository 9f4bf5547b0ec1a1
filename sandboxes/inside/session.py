"""A Python session: an interpreter that keeps its names from one cell to the next, and can be forked between two.

This part runs as the guest. What it says concerns nobody but itself.
"""

from __future__ import annotations

import array
import ast
import json
import linecache
import os
import random
import signal
import socket
import sys
import traceback
from typing import TYPE_CHECKING

from . import kernel, python

if TYPE_CHECKING:  # Python 3.8 cannot evaluate these
    from types import ModuleType
    from typing import NoReturn

MOST_HANDLES = 4


class Interpreter:
    """Runs the cells that arrive."""

    def __init__(self, control: int, environment: dict[str, str]) -> None:
        self.control = socket.socket(fileno=control)
        kernel.set_dumpable(False)  # while it waits, others with its uid may run: they shall not look inside
        python.prepare([], environment)
        self.main: ModuleType = python.fresh_main()
        self.count = 0

    def serve(self) -> NoReturn:
        """Run cells until the worker is gone."""
        while True:
            message, handles = receive(self.control)
            if message is None:
                os._exit(0)
            if message["do"] == "cell":
                with os.fdopen(handles[0], "rb") as source:
                    code = source.read().decode()
                self.control.send(json.dumps({"ok": self.run(code)}).encode())
            elif message["do"] == "enter":
                os.chdir(message["cwd"])  # the work space may have been mounted anew
                self.control.send(b'{"ok": true}')
            else:
                self.fork(handles)

    def run(self, code: str) -> bool:
        """Run one cell, show the value of its last expression; return whether it came to its end."""
        self.count += 1
        name = f"<cell {self.count}>"
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        try:
            tree = ast.parse(code, name)
            last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, name, "exec"), vars(self.main))
            if isinstance(last, ast.Expr):
                sys.displayhook(eval(compile(ast.Expression(last.value), name, "eval"), vars(self.main)))  # noqa: S307
            ok = True
        except BaseException as error:  # noqa: BLE001 - a session outlives whatever a cell does
            trace = error.__traceback__.tb_next if error.__traceback__ is not None else None
            traceback.print_exception(type(error), error, trace)
            ok = False
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                ok = False
        return ok

    def fork(self, handles: list[int]) -> None:
        """Become two. The other one speaks to the worker by its own socket, and is nobody's child but the worker's."""
        numbers = random.getstate()
        between = os.fork()
        if between == 0:
            if os.fork() != 0:
                os._exit(0)
            random.setstate(numbers)  # Python gives a forked process numbers of its own
            os.setsid()
            self.control.close()
            self.control = socket.socket(fileno=handles[0])
            for number, handle in ((1, handles[1]), (2, handles[2])):
                os.dup2(handle, number)
                os.close(handle)
            self.control.send(b'{"ok": true}')
            return
        random.setstate(numbers)
        for handle in handles:
            os.close(handle)
        os.waitpid(between, 0)
        self.control.send(b'{"ok": true}')


def receive(control: socket.socket) -> tuple[dict[str, str] | None, list[int]]:
    """Return a message and the files that came with it; None at the end."""
    handles = array.array("i")
    message, ancillary, _, _ = control.recvmsg(4096, socket.CMSG_LEN(MOST_HANDLES * handles.itemsize))
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            handles.frombytes(data[: len(data) - len(data) % handles.itemsize])
    return (json.loads(message) if message else None), list(handles)


def send(control: socket.socket, message: dict[str, str], handles: list[int]) -> None:
    """Send a message and files."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", handles))] if handles else []
    control.sendmsg([json.dumps(message).encode()], rights)


def begin(control: int, environment: dict[str, str]) -> NoReturn:
    """In a new process: be a session."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    Interpreter(control, environment).serve()
