"""Pictures of pages for models that see: named by their state in messages, put in just before a model is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..core.around import AroundModel
from ..core.errors import UsageError
from ..core.protocols import Meter, Model, Portrays, Sandboxes, blind
from ..core.types import Message, ModelRequest, ModelResponse, Picture, Screen
from .forms import say

NO_PICTURE = "(No picture could be taken of it this time.)"


def show_screen(messages: list[Message], state: str | None, text: str) -> None:
    """Show a picture of a state's page in the last message where that is the user's, else in one of its own.

    Args:
        messages: added to.
        state: content address of the state; None for the one that trajectories begin with.
        text: what is said of the picture.
    """
    say(messages, text, (Screen(state),))


@dataclass(frozen=True)
class Seeing(AroundModel):
    """A model that is asked about pages: where a message names one, it is shown a picture of it.

    Messages stay a function of the trajectory, and the picture of a state is kept and always the same, so a run that goes on
    after a kill asks what it had asked.

    Args:
        inner: the model.
        sandboxes: whose states are shown; None for an agent without a sandbox.
    """

    inner: Model
    sandboxes: Sandboxes | None

    async def generate(self, request: ModelRequest, meter: Meter) -> ModelResponse:
        """Return one reply.

        Raises:
            UsageError: a page is to be shown, and there are no pages, or the model takes no pictures.
        """
        return await self.inner.generate(await self._with_pictures(request), meter)

    async def prompt_tokens(self, request: ModelRequest) -> int:
        """An upper bound on the prompt's tokens, pictures included."""
        return await self.inner.prompt_tokens(await self._with_pictures(request))

    async def _with_pictures(self, request: ModelRequest) -> ModelRequest:
        if not any(message.pictures for message in request.messages):
            return request
        return replace(request, messages=tuple([await self._filled(message) for message in request.messages]))

    async def _filled(self, message: Message) -> Message:
        """Return a message with the pictures that it names; it says so where one cannot be had."""
        found = [shown if isinstance(shown, Picture) else await self._screen(shown) for shown in message.pictures]
        missing = f"\n\n{NO_PICTURE}" if None in found else ""
        return replace(
            message,
            content=message.content + missing,
            pictures=tuple(picture for picture in found if picture is not None),
        )

    async def _screen(self, screen: Screen) -> Picture | None:
        if not self.sees:
            raise blind(self.name)
        if self.sandboxes is None or not isinstance(self.sandboxes, Portrays):
            raise pageless(self.name)
        return await self.sandboxes.screen(screen.state)


def pageless(name: str) -> UsageError:
    """Return the error for pictures of pages where there are no pages."""
    return UsageError(
        f"{name} was to be shown pictures of pages, and works in no browser; give the agent one: "
        "Agent(sandbox=bw.web.Browser('https://…')), or leave screenshot out"
    )


def plainly(messages: Sequence[Message]) -> list[str]:
    """Return messages as text for people, each with a line for every picture."""
    shown = [[_named(picture) for picture in message.pictures] for message in messages]
    return [
        "\n\n".join([f"--- {message.role} ---\n{message.content}", *pictures])
        for message, pictures in zip(messages, shown, strict=True)
    ]


def _named(picture: Picture | Screen) -> str:
    if isinstance(picture, Screen):
        return "[a picture of the page, with its references]"
    return f"[a picture, {picture.media_type}, {picture.width} x {picture.height}, {len(picture.data)} bytes]"
