"""What can be done on a page, as data: one model per action, told apart by `do`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ..core.errors import ToolArgumentsInvalid
from ..core.types import JSON

Ref = Annotated[str, Field(pattern=r"^(f[0-9]+)?e[0-9]+$", description="a reference that the page shows, such as e12")]


class _Action(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Click(_Action):
    """Click on something."""

    do: Literal["click"] = "click"
    ref: Ref
    button: Literal["left", "right"] = "left"
    double: bool = False


class Fill(_Action):
    """Put text into a field; what was in it goes."""

    do: Literal["fill"] = "fill"
    ref: Ref
    text: str = ""
    secret: str | None = Field(default=None, description="name of a secret to fill in instead of `text`")
    enter: bool = Field(default=False, description="press Enter afterwards")
    keys: bool = Field(default=False, description="type key by key, for fields that watch every key")


class Select(_Action):
    """Choose options of a list by their labels; all others are given up."""

    do: Literal["select"] = "select"
    ref: Ref
    options: tuple[str, ...] = Field(min_length=1)


class Check(_Action):
    """Tick a checkbox, switch or radio button, or take the tick away."""

    do: Literal["check"] = "check"
    ref: Ref
    on: bool = True


class Press(_Action):
    """Press a key or a combination, such as Enter, Escape, ArrowDown or Control+a."""

    do: Literal["press"] = "press"
    keys: str = Field(min_length=1, max_length=40)
    ref: Ref | None = Field(default=None, description="what gets the focus first; what has it unless given")


class Scroll(_Action):
    """Scroll the page, or what something lies in."""

    do: Literal["scroll"] = "scroll"
    direction: Literal["down", "up", "left", "right"] = "down"
    screens: float = Field(default=1.0, gt=0, le=50)
    ref: Ref | None = None


class Hover(_Action):
    """Move the pointer over something."""

    do: Literal["hover"] = "hover"
    ref: Ref


class Drag(_Action):
    """Drag something onto something else, or by so many pixels."""

    do: Literal["drag"] = "drag"
    ref: Ref
    to: Ref | None = None
    by: tuple[int, int] | None = Field(default=None, description="pixels to the right and down, where there is no `to`")


class Upload(_Action):
    """Give files of the work space to a file field, or to the chooser that a click has opened."""

    do: Literal["upload"] = "upload"
    paths: tuple[str, ...] = Field(min_length=1)
    ref: Ref | None = Field(default=None, description="the field; the open chooser unless given")


class Goto(_Action):
    """Open an address in this tab."""

    do: Literal["goto"] = "goto"
    url: str = Field(min_length=1, max_length=8000)


class Back(_Action):
    """Go back to the page before."""

    do: Literal["back"] = "back"


class Tab(_Action):
    """Go to another tab, close one, or open a new one."""

    do: Literal["tab"] = "tab"
    number: int | None = Field(default=None, ge=1, description="a tab's number; a new tab unless given")
    close: bool = False


class Dialog(_Action):
    """Answer a dialog that the page has opened."""

    do: Literal["dialog"] = "dialog"
    accept: bool = True
    text: str = Field(default="", description="what is typed where it asks for text")


class Wait(_Action):
    """Wait until a text appears, or for some seconds."""

    do: Literal["wait"] = "wait"
    text: str = ""
    seconds: float = Field(default=2.0, gt=0, le=30)


class Read(_Action):
    """Show the whole page's text in parts, or all of the text of something."""

    do: Literal["read"] = "read"
    part: int = Field(default=1, ge=1)
    ref: Ref | None = None


class Find(_Action):
    """Find a text anywhere on the page."""

    do: Literal["find"] = "find"
    text: str = Field(min_length=1, max_length=200)


class Answer(_Action):
    """End with an answer; the task is done."""

    do: Literal["answer"] = "answer"
    text: str = ""


class GiveUp(_Action):
    """End without having done it: it cannot be done."""

    do: Literal["give_up"] = "give_up"
    reason: str = ""


Acting = Click | Fill | Select | Check | Press | Scroll | Hover | Drag | Upload | Goto | Back | Tab | Dialog | Wait
"""What may change the page. Repeated to bring a state back."""

Looking = Read | Find
"""What only looks."""

Ending = Answer | GiveUp
"""What ends a trajectory; nothing happens to the page."""

Action = Annotated[Acting | Looking | Ending, Field(discriminator="do")]

_ADAPTER: TypeAdapter[Acting | Looking | Ending] = TypeAdapter(Action)


def parse_action(data: JSON) -> Acting | Looking | Ending:
    """Return the action that `data` describes, for example `{"do": "click", "ref": "e5"}`.

    Raises:
        ToolArgumentsInvalid: it describes none.
    """
    try:
        return _ADAPTER.validate_python(data)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'action'}: {one['msg']}" for one in error.errors()[:4]
        )
        raise ToolArgumentsInvalid(f"that is no action: {problems}") from error


def action_schema() -> dict[str, Any]:
    """Return the JSON schema of all actions, for a constrained form."""
    return _ADAPTER.json_schema()
