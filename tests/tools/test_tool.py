"""`@tool`: schema from type hints, checks of arguments, text for the model."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

import pytest

import branchwise as bw
from branchwise.core.errors import ToolArgumentsInvalid, UsageError
from branchwise.core.protocols import Context
from branchwise.tools.tool import flatten, shorten, to_text

TASK = bw.Task(prompt="x")


@bw.tool(effects="pure", timeout=5)
async def weigh(ctx: Context, thing: str, unit: Literal["g", "kg"] = "g", times: int = 1) -> str:
    """Weigh a thing.

    Says how heavy it is.

    Args:
        thing: what to weigh
        unit: unit of the answer
    """
    return f"{ctx.task.prompt}: {thing} {unit} {times}"


def test_schema_comes_from_hints_and_docstring() -> None:
    """Parameters, defaults, choices and descriptions reach the model; the context does not."""
    spec = weigh.spec
    assert (spec.name, spec.description) == ("weigh", "Weigh a thing. Says how heavy it is.")
    assert list(spec.parameters["properties"]) == ["thing", "unit", "times"]
    assert spec.parameters["required"] == ["thing"]
    assert spec.parameters["properties"]["thing"]["description"] == "what to weigh"
    assert spec.parameters["properties"]["unit"]["enum"] == ["g", "kg"]
    assert spec.parameters["additionalProperties"] is False


async def test_runs_with_checked_arguments() -> None:
    """Arguments are coerced to their types and the context is handed in."""
    assert await weigh.run(Context(TASK), {"thing": "egg", "times": "3"}) == "x: egg g 3"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "thing"),
        ({"thing": "egg", "unit": "t"}, "unit"),
        ({"thing": "egg", "colour": "red"}, "colour"),
        ({"thing": "egg", "times": "many"}, "times"),
    ],
)
async def test_wrong_arguments_say_what_is_wrong_and_what_fits(arguments: dict[str, str], told: str) -> None:
    """The message names the argument and lists what the tool takes, for the model to mend its call."""
    with pytest.raises(ToolArgumentsInvalid, match=rf"{told}.*It takes: thing, unit \(optional\), times \(optional\)"):
        await weigh.run(Context(TASK), arguments)


def test_untyped_parameter_is_refused_when_the_tool_is_made() -> None:
    """A parameter without a type is one clear line at definition, not a surprise in a run."""
    with pytest.raises(UsageError, match=r"tool 'bad': parameter 'x' has no type; write for example `x: str`"):

        @bw.tool
        def bad(x):  # type: ignore[no-untyped-def]
            return x


def test_star_arguments_are_refused() -> None:
    """A model cannot fill *args."""
    with pytest.raises(UsageError, match="a model cannot fill"):

        @bw.tool
        def bad(*args: str) -> str:
            return ""


@pytest.mark.parametrize(("options", "told"), [({"effects": "evil"}, "allowed are"), ({"timeout": 0}, "positive")])
def test_wrong_options_are_refused(options: dict[str, object], told: str) -> None:
    """Effects and time-out are checked when the tool is made."""
    with pytest.raises(UsageError, match=told):
        bw.tool(**options)(lambda: "")  # type: ignore[call-overload]


async def test_a_slow_tool_is_stopped() -> None:
    """A call that outlasts its time-out ends with TimeoutError, and the function is cancelled."""
    ended: list[str] = []

    @bw.tool(timeout=0.05)
    async def slow() -> str:
        try:
            await asyncio.sleep(30)
        finally:
            ended.append("cancelled")
        return ""

    with pytest.raises(TimeoutError):
        await slow.run(Context(TASK), {})
    assert ended == ["cancelled"]


async def test_plain_functions_work_too() -> None:
    """A tool need not be async, and stays callable as the function that it was."""

    @bw.tool
    def double(n: int) -> int:
        return 2 * n

    assert double(4) == 8
    assert await double.run(Context(TASK), {"n": 4}) == "8"


def test_results_become_text() -> None:
    """Programs' output is shown with how it ended, data as JSON."""

    @dataclass
    class Point:
        x: int

    assert to_text(None) == "done"
    assert to_text(Point(1)) == '{"x": 1}'
    assert to_text(["é"]) == '["é"]'
    assert to_text(bw.ExecResult(0)) == "[no output]"
    assert to_text(bw.ExecResult(2, "out\n", "err\n")) == "out\nerr\n[exit code 2]"
    assert to_text(bw.ExecResult(-9, "", "", timed_out=True, seconds=3)) == "[stopped after 3 s]"


def test_long_results_lose_their_middle() -> None:
    """Beginning and end of a long result survive, and how much is missing is said."""
    text = shorten("a" * 50 + "b" * 50, limit=30)
    assert text.startswith("a" * 20 + "\n[... 70 characters left out")
    assert text.endswith("b" * 10)
    assert shorten("short", limit=30) == "short"


def test_toolsets_are_unpacked_and_names_are_unique() -> None:
    """Sets mix with tools; a name that comes twice is refused, and so is what is no tool."""
    assert [t.name for t in flatten([bw.tools.files.only("read", "write"), weigh])] == ["read", "write", "weigh"]
    with pytest.raises(UsageError, match="two tools are called 'read'"):
        flatten([bw.tools.files, bw.tools.files.only("read")])
    with pytest.raises(UsageError, match="decorate the function"):
        flatten([print])
    with pytest.raises(UsageError, match="has no tool 'chmod'"):
        bw.tools.files.only("chmod")


async def test_the_context_says_when_there_is_no_sandbox() -> None:
    """A tool that needs a sandbox where there is none gets a message that says what to do."""
    with pytest.raises(UsageError, match="this agent has no sandbox"):
        await bw.tools.files.only("list").tools[0].run(Context(TASK), {})
