"""`@tool`: a typed Python function that a model can call."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, TypeAlias, get_type_hints, overload

import docstring_parser
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from ..core.errors import ToolArgumentsInvalid, UsageError
from ..core.protocols import Context, Effects
from ..core.types import JSON, Budget, ExecResult, ToolSpec

RESULT_LIMIT_CHARS = 6_000
"""A longer result is cut in its middle before the model sees it."""


Narrow = Callable[[ToolSpec, str, Sequence[Mapping[str, JSON]]], ToolSpec | None]
"""Given a tool's spec, what was last shown, and the arguments of calls that others have made from there and that are not to be
made again, returns a spec that admits less, or None where there is nothing to do."""


@dataclass(frozen=True, eq=False)
class Tool:
    """A function that a model can call. Made by `@tool`; still callable as the function it was."""

    function: Callable[..., Any]
    name: str
    description: str
    arguments: type[BaseModel]
    """Model of the parameters, `ctx` left out."""
    effects: Effects
    timeout_seconds: float
    wants_context: bool
    limits: Budget | None = None
    """What its calls may take together, in one search."""
    narrow: Narrow | None = None
    """What of it can be done in view of what the model was last shown, for forms that are enforced."""
    result_chars: int = RESULT_LIMIT_CHARS
    """A longer result is cut in its middle."""
    seldom: bool = False
    """Whether it is needed seldom: models whose form is enforced are told of it only at turns at which `narrow` admits it. Small ones
    take what they are told of, where it does not fit, too."""
    asks_first: bool = False
    """Whether it has a person approve what it does by itself (`Context.approval`), so that nobody needs to be asked before it runs."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself."""
        return self.function(*args, **kwargs)

    @property
    def spec(self) -> ToolSpec:
        """What the model is told."""
        schema = self.arguments.model_json_schema()
        schema.pop("title", None)
        for parameter in schema.get("properties", {}).values():
            parameter.pop("title", None)
        return ToolSpec(self.name, self.description, schema)

    async def run(self, ctx: Context, arguments: Mapping[str, JSON]) -> str:
        """Check the arguments, call the function and return its result as text for the model.

        Raises:
            ToolArgumentsInvalid: the arguments do not fit the parameters.
            TimeoutError: it took longer than `timeout_seconds`.
        """
        try:
            checked = self.arguments.model_validate(arguments)
        except ValidationError as error:
            raise ToolArgumentsInvalid(_explain(self, error)) from error
        values = {name: getattr(checked, name) for name in type(checked).model_fields}
        args = (ctx,) if self.wants_context else ()
        async with asyncio.timeout(self.timeout_seconds):
            if inspect.iscoroutinefunction(self.function):
                result = await self.function(*args, **values)
            else:
                result = self.function(*args, **values)
                if inspect.isawaitable(result):
                    result = await result
        return shorten(to_text(result), self.result_chars)


@dataclass(frozen=True)
class Toolset:
    """Several tools under one name; give it to an `Agent` like a tool."""

    name: str
    tools: tuple[Tool, ...]

    def __iter__(self) -> Iterator[Tool]:
        return iter(self.tools)

    def only(self, *names: str) -> Toolset:
        """Return the set reduced to some of its tools.

        Raises:
            UsageError: it has no such tool.
        """
        known = {t.name: t for t in self.tools}
        if missing := [name for name in names if name not in known]:
            raise UsageError(f"toolset {self.name!r} has no tool {missing[0]!r}; it has {', '.join(known)}")
        return Toolset(self.name, tuple(known[name] for name in names))


ToolLike: TypeAlias = Tool | Toolset
Function: TypeAlias = Callable[..., Awaitable[Any]] | Callable[..., Any]


@overload
def tool(function: Function, /) -> Tool: ...
@overload
def tool(
    *, name: str | None = None, effects: Effects = "sandbox", timeout: float = 60.0, limits: Budget | None = None
) -> Callable[[Function], Tool]: ...
def tool(
    function: Function | None = None,
    /,
    *,
    name: str | None = None,
    effects: Effects = "sandbox",
    timeout: float = 60.0,
    limits: Budget | None = None,
) -> Tool | Callable[[Function], Tool]:
    """Make a tool of a function from its type hints and docstring.

    A first parameter called `ctx` gets the `Context` (task, sandbox, path so far). Every other parameter needs a type; a
    parameter with a default is optional. The docstring's first part describes the tool, its `Args:` the parameters.

    Args:
        function: async or plain; a plain one must be quick, for it blocks the event loop.
        name: what the model calls it; the function's name unless given.
        effects: what it may change: `pure` (nothing), `sandbox` (the branch's sandbox) or `external` (the world). A search
            never runs `external` tools on a branch that may be thrown away.
        timeout: seconds after which a call is stopped.
        limits: what its calls may take together in each search: `tool_calls`, the `seconds` that they run, their
            `sandbox_seconds`, and whatever the searches that it starts may spend. Once one is reached the model is told so.

    Raises:
        UsageError: a parameter has no type, or the function takes `*args` or `**kwargs`.
    """

    def make(f: Function) -> Tool:
        return _make(f, name, effects, timeout, limits)

    return make if function is None else make(function)


def _make(function: Function, name: str | None, effects: Effects, timeout: float, limits: Budget | None) -> Tool:
    title = name or function.__name__
    if effects not in ("pure", "sandbox", "external"):
        raise UsageError(f"tool {title!r}: effects={effects!r}; allowed are pure, sandbox, external")
    if timeout <= 0:
        raise UsageError(f"tool {title!r}: timeout={timeout!r}; it must be positive seconds")
    if limits is not None:
        check_limits(f"tool {title!r}", limits)
    parameters = list(inspect.signature(function).parameters.values())
    wants_context = bool(parameters) and parameters[0].name == "ctx"
    parsed = docstring_parser.parse(function.__doc__ or "")
    told = {p.arg_name: p.description or "" for p in parsed.params}
    fields: dict[str, Any] = {}
    hints = _hints(function, title)
    for parameter in parameters[1:] if wants_context else parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise UsageError(f"tool {title!r}: a model cannot fill *{parameter.name}; name each parameter")
        if parameter.name not in hints:
            raise UsageError(
                f"tool {title!r}: parameter {parameter.name!r} has no type; write for example `{parameter.name}: str`"
            )
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints[parameter.name], Field(default, description=told.get(parameter.name) or None))
    arguments = create_model(title, __config__=ConfigDict(extra="forbid"), **fields)
    description = " ".join(filter(None, (parsed.short_description, parsed.long_description))) or title
    return Tool(function, title, description, arguments, effects, timeout, wants_context, limits)


def check_limits(whose: str, limits: Budget) -> None:
    """See that limits of a part of a run are such as can be kept there.

    Raises:
        UsageError: they speak of disk space.
    """
    if "snapshot_bytes" in limits.model_fields_set:
        raise UsageError(
            f"{whose}: limits has snapshot_bytes={limits.snapshot_bytes}; disk space is limited for a whole run: "
            "give it in the run's budget"
        )


def _hints(function: Function, title: str) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except NameError as error:
        raise UsageError(
            f"tool {title!r}: a type hint cannot be resolved: {error}; import it at module level"
        ) from error


def flatten(tools: Iterable[Any]) -> tuple[Tool, ...]:
    """Return the tools of a list of tools and toolsets.

    Raises:
        UsageError: something is no tool, or two share a name.
    """
    flat: list[Tool] = []
    for item in tools:
        if not isinstance(item, Tool | Toolset):
            raise UsageError(f"{item!r} is no tool; decorate the function with @branchwise.tool")
        flat += item if isinstance(item, Toolset) else [item]
    names = [t.name for t in flat]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise UsageError(f"two tools are called {twice[0]!r}; give one another name: @tool(name=...)")
    return tuple(flat)


# --- text for the model -----------------------------------------------------------------------------------------------


def to_text(result: Any) -> str:
    """Return a tool's result as text: strings as they are, programs' output, anything else as JSON."""
    match result:
        case None:
            return "done"
        case str():
            return result
        case ExecResult():
            return _exec_text(result)
        case BaseModel():
            return result.model_dump_json()
        case _ if is_dataclass(result) and not isinstance(result, type):
            return json.dumps(asdict(result), default=str)
        case _:
            return json.dumps(result, default=str, ensure_ascii=False)


def _exec_text(result: ExecResult) -> str:
    parts = [part.rstrip() for part in (result.stdout, result.stderr) if part.strip()]
    if result.timed_out:
        parts.append(f"[stopped after {result.seconds:.0f} s]")
    elif result.exit_code != 0:
        parts.append(f"[exit code {result.exit_code}]")
    if result.truncated:
        parts.append("[output was cut]")
    return "\n".join(parts) or "[no output]"


def shorten(text: str, limit: int = RESULT_LIMIT_CHARS) -> str:
    """Return `text` with its middle left out where it is longer than `limit` characters."""
    if len(text) <= limit:
        return text
    head, tail = limit * 2 // 3, limit // 3
    return f"{text[:head]}\n[... {len(text) - head - tail} characters left out ...]\n{text[-tail:]}"


def _explain(tool: Tool, error: ValidationError) -> str:
    problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}" for e in error.errors())
    wanted = ", ".join(
        name if info.is_required() else f"{name} (optional)" for name, info in tool.arguments.model_fields.items()
    )
    return f"wrong arguments for {tool.name}: {problems}. It takes: {wanted or 'nothing'}"
