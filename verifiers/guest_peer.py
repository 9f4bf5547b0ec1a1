"""Calls between two sandboxes: plain data travels by value, functions, iterators and objects by number.

Both sides run this: the one with the judged code answers the judge's calls, and calls back where it was given a function.
The messages alternate strictly, so that each is the answer to the one before or a question that comes first. Runs inside
sandboxes: Python 3.8, standard library only.
"""
# ruff: noqa: B905 - Python 3.8 knows no `strict`
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

from __future__ import annotations

import builtins
import inspect
import threading
from typing import TYPE_CHECKING, Any, NoReturn

from .guest_link import Link, quit_now
from .plain import NotPlainError, changed, describe, dump, load, update

if TYPE_CHECKING:
    from .guest_link import Message

SILENT = (StopIteration, StopAsyncIteration)
"""Exceptions that end a loop without a word: raised in a `map` of the judge's they would leave nothing to compare."""
MOST_BASES = 8


class CannotJudge(BaseException):
    """The code gave something whose behaviour only its own process can tell."""


class Remote:
    """A function, iterator, class or object of the other side. It can be called, iterated, awaited, asked for attributes.

    It has no operators: what `==` says about an object of the judged code would be said by that code.
    """

    def __init__(self, peer: Peer, target: Any, name: str) -> None:
        self._peer = peer
        self.target_ = target
        self.name_ = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._peer.call(self.target_, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._peer.ask({"op": "get", "on": self.target_, "name": name})

    def __iter__(self) -> Any:
        return self._peer.ask({"op": "iter", "on": self.target_})

    def __next__(self) -> Any:
        reply = self._peer.exchange({"op": "next", "on": self.target_})
        if reply.get("stop"):
            raise StopIteration
        return self._peer.take(reply)

    def __await__(self) -> Any:
        yield from ()
        return self._peer.ask({"op": "await", "on": self.target_})

    def _cannot(self, *_: Any) -> NoReturn:
        self._peer.cannot(f"the judged code gave {self.name_}, which is no plain data")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __hash__ = __contains__ = _cannot
    __getitem__ = __setitem__ = __delitem__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _cannot
    __truediv__ = __floordiv__ = __mod__ = __pow__ = __neg__ = __abs__ = __int__ = __float__ = __index__ = _cannot
    __str__ = __repr__ = __format__ = __bytes__ = __enter__ = __exit__ = __aenter__ = __aiter__ = _cannot


class Peer:
    """One side's objects, and the calls between the sides.

    Args:
        link: the way to the host, which relays to the other side.
        module: what names refer to; None where the other side may use none.
        objects: whether what is no plain data may be referred to by number.
    """

    def __init__(self, link: Link, module: Any = None, *, objects: bool = True) -> None:
        self.link = link
        self.module = module
        self.objects = objects
        self.mine: list[Any] = []
        self.problem: str | None = None
        self.lock = threading.RLock()
        self.exceptions: dict[tuple[str, ...], Any] = {}

    def cannot(self, why: str) -> NoReturn:
        """Remember that nothing can be said about the judged code, and say so."""
        self.problem = self.problem or why
        raise CannotJudge(why)

    # --- asking ---

    def call(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a function of the other side; what it changes in lists, dicts and sets that it was given is changed here."""
        try:
            given, named = [self.dump(arg) for arg in args], {name: self.dump(arg) for name, arg in kwargs.items()}
        except NotPlainError as error:
            self.cannot(f"an argument cannot be passed on: {error}")
        reply = self.exchange({"op": "call", "on": target, "args": given, "kwargs": named})
        for key, wire in reply.get("changed", ()):
            update(kwargs[key] if isinstance(key, str) else args[key], self.load(wire))
        return self.take(reply)

    def ask(self, request: Message) -> Any:
        """Return what the other side answers.

        Raises:
            Exception: what was raised there, where it is of a built-in kind or derived from one.
        """
        return self.take(self.exchange(request))

    def exchange(self, request: Message) -> Message:
        """Send a question and return the answer to it; answer what is asked in between."""
        with self.lock:
            self.link.write(request)
            while True:
                message = self.link.read()
                if message is None:
                    quit_now(0)
                elif "op" in message:
                    self.answer(message)
                else:
                    return message

    def take(self, reply: Message) -> Any:
        """Return the reply's value or raise its exception."""
        if "cannot" in reply:
            self.cannot(str(reply["cannot"]))
        if "error" not in reply:
            return self.load(reply["value"])
        error = reply["error"]
        arguments = load(error["args"]) if error["args"] is not None else [str(error["text"])]
        raise self.exception_class(lineage_of(error["types"]))(*arguments)

    def exception_class(self, names: tuple[str, ...]) -> Any:
        """Return the class that stands for one of the other side: names from its own up to its first built-in base."""
        base: Any = getattr(builtins, names[-1], None)
        safe = isinstance(base, type) and issubclass(base, Exception) and not issubclass(base, SILENT)
        if len(names) == 1 and safe and base is not Exception:
            return base
        if names not in self.exceptions:
            name, rest = names[0], names[1:]
            above = self.exception_class(rest) if rest else Exception
            # Whatever the other side says its class to be, the one here is new: it can stand for no exception of ours.
            self.exceptions[names] = type(name, (above,), {})
        return self.exceptions[names]

    # --- answering ---

    def serve(self) -> None:
        """Answer until the host closes the stream."""
        while True:
            message = self.link.read()
            if message is None:
                return
            self.answer(message)

    def answer(self, request: Message) -> None:
        """Do what is asked and send what came of it."""
        try:
            reply = self.reply(request)
        except NotPlainError as error:
            reply = {"cannot": str(error)}
        except BaseException as error:  # noqa: BLE001 - the judged code may raise anything, and all of it is data
            reply = {"error": failure(error)}
        self.link.write(reply if self.problem is None else {"cannot": self.problem})

    def reply(self, request: Message) -> Message:
        """Return the answer to a question."""
        target, op = self.target(request["on"]), request["op"]
        if op == "call":
            args = [self.load(arg) for arg in request["args"]]
            kwargs = {name: self.load(arg) for name, arg in request["kwargs"].items()}
            try:
                value = {"value": self.dump(target(*args, **kwargs))}
            except NotPlainError:
                raise
            except BaseException as error:  # noqa: BLE001 - as above
                value = {"error": failure(error)}
            return {**value, "changed": self.changes(request, args, kwargs)}
        if op == "next":
            try:
                return {"value": self.dump(next(target))}
            except StopIteration:
                return {"stop": True}
        if op == "iter":
            return {"value": self.other(iter(target))}
        if self.module is None:
            raise NotPlainError("a function or an iterator can be called and iterated, nothing else")
        if op == "get":
            value = getattr(target, request["name"]) if request["name"] else target
            return {"value": self.dump(value)}
        return {"value": self.dump(wait_for(target))}

    def changes(self, request: Message, args: list[Any], kwargs: dict[str, Any]) -> list[Any]:
        """Return what a call has changed in its arguments; only what holds nothing but plain data is looked at."""
        found: list[Any] = []
        for key, wire, value in [
            *zip(range(len(args)), request["args"], args),
            *((name, wire, kwargs[name]) for name, wire in request["kwargs"].items()),
        ]:
            if isinstance(wire, list) and wire[0] in ("l", "d", "s", "t") and not holds_object(wire):
                found += [[key, new] for _, new in changed([wire], [dump(value)])]
        return found

    def target(self, where: Any) -> Any:
        """Return what a question is about."""
        if isinstance(where, int) and 0 <= where < len(self.mine):
            return self.mine[where]
        if self.module is None or not isinstance(where, str):
            raise NotPlainError("there is no such object")
        value = self.module() if callable(self.module) else self.module
        for part in filter(None, where.split(".")):
            value = getattr(value, part[:-2])() if part.endswith("()") else getattr(value, part)
        return value

    # --- values ---

    def dump(self, value: Any) -> Any:
        """Return a value's wire."""
        return dump(value, self.other if self.objects else None)

    def other(self, value: Any) -> Any:
        """Return the wire of what is no plain data: a number that the other side can use."""
        if type(value) is Remote:
            return ["o", "yours", value.target_]
        is_class = isinstance(value, type)
        if is_class and issubclass(value, BaseException):
            return ["o", "exception", lineage(value)]
        if self.module is None and not (callable(value) or hasattr(type(value), "__next__")):
            raise NotPlainError(
                f"it holds {describe(type(value))}; only functions, iterators and plain data can be given"
            )
        self.mine.append(value)
        named = "a function" if inspect.isroutine(value) else "a class" if is_class else describe(type(value))
        return ["o", "mine", len(self.mine) - 1, named]

    def load(self, wire: Any) -> Any:
        """Return the value of a wire."""
        return load(wire, self.received if self.objects else None)

    def received(self, items: list[Any]) -> Any:
        """Return what stands here for the other side's object, or our own that came back."""
        if len(items) == 2 and items[0] == "yours":
            return self.target(items[1])
        if len(items) == 2 and items[0] == "exception":
            names = lineage_of(items[1])
            # `except theirs` must never catch a failed assertion of ours.
            return self.exception_class(names if names != ("AssertionError",) else (*names, "Exception"))
        if len(items) == 3 and items[0] == "mine" and isinstance(items[1], int):
            return Remote(self, items[1], str(items[2])[:100])
        raise NotPlainError("a reference was expected")


def failure(error: BaseException) -> Message:
    """Return what can be said about an exception of unknown origin."""
    try:
        text, args = str(error)[:2000], dump(list(error.args))
    except BaseException:  # noqa: BLE001 - `str` runs code of the exception's class
        text, args = "", None
    return {"types": lineage(type(error)), "args": args, "text": text}


def lineage(kind: type) -> list[str]:
    """Return the names of an exception's class and its bases, up to the first that is built in."""
    names: list[str] = []
    for base in kind.__mro__[:MOST_BASES]:
        names.append(type.__dict__["__name__"].__get__(base)[:80])
        if getattr(builtins, names[-1], None) is base:
            break
    return names


def lineage_of(names: Any) -> tuple[str, ...]:
    """Return the other side's `lineage`."""
    if not isinstance(names, list) or not 0 < len(names) <= MOST_BASES:
        raise NotPlainError("the names of an exception's classes were expected")
    return tuple(str(name) for name in names)


def holds_object(wire: Any) -> bool:
    """Return whether something in a wire is no plain data."""
    return isinstance(wire, list) and bool(wire) and (wire[0] == "o" or any(holds_object(item) for item in wire[1:]))


def wait_for(awaitable: Any) -> Any:
    """Return the result of something that can be awaited."""
    import asyncio

    async def outcome() -> Any:
        return await awaitable

    return asyncio.run(outcome())
