"""Taking a turn in segments: sampling stops before the turn is over and goes on later, perhaps in several ways.

Only turns in plain text can be taken so. A grammar would begin anew in the middle of its JSON, and a server that offers
tools does not say whether half a reply is text or half a call. Thoughts that a server keeps apart from the reply are lost
between segments: have such models answer without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..core.errors import ModelOutputInvalid, UsageError
from ..core.events import Expand
from ..core.turns import begun, closes, is_open, text_of
from ..core.types import ModelRequest, ModelResponse, Node
from .forms import Form, NativeForm, Turn


@dataclass(frozen=True, slots=True)
class Segment:
    """What one step samples of a turn."""

    prefix: str
    """What the turn said before."""
    max_tokens: int
    """Tokens of this step, at most."""
    last: bool
    """Whether the turn's own limit is reached with it."""
    lead: str = ""
    """What the step begins with, which the model is made to have said."""
    closing: str = ""
    """A tag: the step ends where a block of this name does."""

    def requested(self, request: ModelRequest) -> ModelRequest:
        """Return the request for this part of the turn."""
        stop = (*request.sampling.stop, closes(self.closing)) if self.closing else request.sampling.stop
        sampling = replace(request.sampling, max_tokens=self.max_tokens, stop=stop)
        return replace(request, sampling=sampling, prefix=self.prefix + self.lead)

    def read(self, response: ModelResponse, form: Form) -> Turn:
        """Return the turn as far as it is known; its text is what this step added.

        Raises:
            ModelOutputInvalid: nothing that could be gone on from was said.
        """
        if response.finish_reason == "length" and not self.last:
            if not response.text:
                raise ModelOutputInvalid(
                    f"the {self.max_tokens} tokens of a segment hold no text: the model thinks out of sight, or they are a part of one "
                    "character; take longer segments, or turn its thinking off"
                )
            return Turn(self.lead + response.text, partial=True)
        if response.finish_reason == "stop" and self.closing:
            # Servers leave the mark out at which they stopped, and most do not say whether there was one.
            text = self.lead + response.text.removesuffix(closes(self.closing))
            if is_open(self.prefix + text, self.closing):
                return Turn(text + closes(self.closing), partial=True)
        turn = form.read(replace(response, text=self.prefix + self.lead + response.text))
        return replace(turn, text=turn.text.removeprefix(self.prefix))


def segment(work: Expand, path: Sequence[Node], request: ModelRequest, form: Form) -> Segment:
    """Return the part of a turn that `work` asks for: all that is left of it unless the work says how much.

    Args:
        work: the expansion.
        path: the trajectory to the node that is expanded.
        request: the one for a whole turn.
        form: the form of a turn.

    Raises:
        UsageError: the turn cannot be taken in segments, or is put otherwise than it began.
    """
    so_far = begun(path)
    whole = request.sampling.max_tokens
    if work.segment_tokens is None and not (so_far or work.lead or work.closing):
        return Segment("", whole, last=True)
    if not isinstance(form, NativeForm) or request.tools:
        raise UsageError(
            f"a turn was to be sampled {work.segment_tokens} tokens at a time, or begun for the model, which only turns in plain text can "
            'be; give the agent form="text" and no tools, or a search that takes whole turns'
        )
    if so_far and work.framing is not None:
        raise UsageError(
            f"the turn that node {work.node} is in the middle of was to be put to the model in another way; only a turn's "
            "first step can have a framing"
        )
    if work.segment_tokens is not None and work.segment_tokens < 1:
        raise UsageError(f"segment_tokens={work.segment_tokens}: at least one token must be sampled")
    left = max(1, whole - sum(node.usage.completion_tokens for node in so_far))
    tokens = min(left, work.segment_tokens or left)
    return Segment(text_of(so_far), tokens, tokens == left, work.lead, work.closing)
