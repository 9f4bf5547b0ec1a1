"""What tells whether a web task was done: of the answer, the address, the page, the storage, the server's state."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, ClassVar, get_args
from urllib.parse import SplitResult, parse_qs, urlsplit

from ...core.types import Integrity
from .task import DONE, Check, Ending, Mark


def integrity_of(check: Check) -> Integrity | None:
    """Return how well what a check says is protected from the pages that it looks at; None where it does not say so.

    `host-io`: nothing of it happens in the page. `split`: the browser says it, of what a page cannot change about itself.
    `in-process`: the page is asked, whose scripts may answer what they like.
    """
    level: Integrity | None = getattr(check, "integrity", None)
    return level


def weakest_of(checks: Sequence[Check]) -> Integrity | None:
    """Return how well the weakest of some checks is protected."""
    levels = [integrity_of(check) for check in checks]
    if None in levels:
        return None
    return next((level for level in reversed(get_args(Integrity)) if level in levels), None)


@dataclass(frozen=True, slots=True)
class AllOf:
    """Done where all checks say so; worth the mean of them. They are asked in this order."""

    checks: tuple[Check, ...]

    @property
    def integrity(self) -> Integrity | None:
        """That of the weakest."""
        return weakest_of(self.checks)

    async def __call__(self, ending: Ending, /) -> Mark:
        """Return what they think together."""
        marks = [await check(ending) for check in self.checks]
        if all(mark.done for mark in marks):
            return DONE
        why = "; ".join(mark.why for mark in marks if mark.why)
        return Mark(min(sum(mark.value for mark in marks) / len(marks), 1 - 1e-9), why)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Done where one check says so; worth the best of them."""

    checks: tuple[Check, ...]

    @property
    def integrity(self) -> Integrity | None:
        """That of the weakest."""
        return weakest_of(self.checks)

    async def __call__(self, ending: Ending, /) -> Mark:
        """Return what the most favourable thinks."""
        marks = [await check(ending) for check in self.checks]
        best = max(marks, key=lambda mark: mark.value)
        return DONE if best.done else Mark(best.value, "; ".join(mark.why for mark in marks if mark.why))


# --- texts ------------------------------------------------------------------------------------------------------------


def plain(text: str) -> str:
    """Return a text without what does not matter: case, further space, quotes around it and a full stop at its end."""
    text = " ".join(text.split()).lower()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    return text.rstrip(".").strip()


def mentions(text: str, wanted: str) -> bool:
    """Whether a text has some words in it as whole words: "3" is not in "13", "art" not in "cart"."""
    inner = re.escape(plain(wanted)).replace(r"\ ", r"\s+")
    if not inner:
        return True
    left = r"(?<!\w)(?<!\d[.,])" if re.match(r"\w", plain(wanted)) else ""
    right = r"(?!\w)(?![.,]\d)" if re.search(r"\w$", plain(wanted)) else ""
    return re.search(f"{left}{inner}{right}", " ".join(text.split()).lower()) is not None


def likeness(text: str, wanted: str) -> float:
    """Return how much two texts are alike: the F1 of their words, in [0, 1]; 0 where their numbers differ."""
    ours, theirs = (Counter(re.findall(r"\d+(?:[.,]\d+)*|\w+", plain(one))) for one in (text, wanted))
    numbers = [{word for word in words if word[0].isdigit()} for words in (ours, theirs)]
    shared = (ours & theirs).total()
    if not shared or numbers[0] != numbers[1]:
        return 0.0
    return 2 * shared / (ours.total() + theirs.total())


@dataclass(frozen=True, slots=True)
class AnswerIs:
    """The answer is one of some texts; case, space and quotes do not matter."""

    texts: tuple[str, ...]

    integrity: ClassVar[Integrity | None] = "host-io"

    async def __call__(self, ending: Ending, /) -> Mark:
        """Return whether it is."""
        if plain(ending.answer) in {plain(text) for text in self.texts}:
            return DONE
        return Mark(0.0, f"the answer {ending.answer!r} is not {_either(self.texts)}")


@dataclass(frozen=True, slots=True)
class AnswerIncludes:
    """The answer has all of some texts in it, as whole words."""

    texts: tuple[str, ...]

    integrity: ClassVar[Integrity | None] = "host-io"

    async def __call__(self, ending: Ending, /) -> Mark:
        """Return which part of them it has."""
        return _including(ending.answer, [(text,) for text in self.texts], "the answer")


Judge = Callable[[str, str], Awaitable[bool]]
"""Says of an answer and the right one whether they mean the same; for example by asking a model."""


@dataclass(frozen=True, slots=True)
class AnswerLike:
    """The answer means the same as each of some texts.

    Args:
        texts: what it is to mean.
        judge: what says so; unless given their words are compared, which takes other words for another meaning.
        least: likeness that is enough where words are compared, in (0, 1].
    """

    texts: tuple[str, ...]
    judge: Judge | None = None
    least: float = 0.7

    integrity: ClassVar[Integrity | None] = "host-io"

    async def __call__(self, ending: Ending, /) -> Mark:
        """Return how much it does."""
        if not ending.answer:
            return Mark(0.0, "there is no answer")
        if self.judge is not None:
            same = [await self.judge(ending.answer, text) for text in self.texts]
            value = sum(same) / len(same)
        else:
            value = min(likeness(ending.answer, text) for text in self.texts)
            value = 1.0 if value >= self.least else value
        return (
            DONE if value >= 1.0 else Mark(value, f"the answer {ending.answer!r} does not mean {_either(self.texts)}")
        )


def _including(text: str, wanted: Sequence[tuple[str, ...]], what: str) -> Mark:
    """Return which part of what is wanted a text mentions; of each entry one alternative is enough."""
    missing = [either for either in wanted if not any(mentions(text, one) for one in either)]
    if not missing:
        return DONE
    lacking = " and ".join(_either(either) for either in missing)
    return Mark(1 - len(missing) / len(wanted), f"{what} lacks {lacking}")


def _either(texts: Sequence[str]) -> str:
    return " or ".join(repr(text) for text in texts)


# --- addresses --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UrlIs:
    """The tab in front shows one of some addresses.

    Args:
        urls: addresses; a part of a query counts where it is named, one of its values is enough.
        below: whether pages below an address will do too, such as `/a/b` for `/a`.
    """

    urls: tuple[str, ...]
    below: bool = False

    integrity: ClassVar[Integrity | None] = "split"

    async def __call__(self, ending: Ending, /) -> Mark:
        """Return whether it does."""
        url = (await ending.env.observe()).url
        if any(leads_to(url, wanted, below=self.below) for wanted in self.urls):
            return DONE
        return Mark(0.0, f"the page is {url}, not {_either(self.urls)}")


def leads_to(url: str, wanted: str, *, below: bool = False) -> bool:
    """Whether an address is the one that is wanted, or one below it: host and path, and whatever of the query it names."""
    ours, theirs = urlsplit(url), urlsplit(wanted)
    path, least = _path(ours), _path(theirs)
    if theirs.netloc and (ours.hostname, ours.port) != (theirs.hostname, theirs.port):
        return False
    if path != least and not (below and path[: len(least)] == least):
        return False
    query = parse_qs(ours.query, keep_blank_values=True)
    return all(
        set(values) & set(query.get(key, [])) for key, values in parse_qs(theirs.query, keep_blank_values=True).items()
    )


def _path(url: SplitResult) -> list[str]:
    return [part for part in url.path.split("/") if part]


# --- pages and what is behind them ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Script:
    """JavaScript in the page in front says so: it returns true, or what is wanted.

    Args:
        code: an expression or a function, as `WebEnvironment.evaluate` takes it. It should change nothing.
        wanted: what it is to return.
        why: what is told where it returns something else.
    """

    code: str
    wanted: Any = True
    why: str = ""

    integrity: ClassVar[Integrity | None] = "in-process"

    async def __call__(self, ending: Ending, /) -> Mark:
        """Return whether it does."""
        value = await ending.env.evaluate(self.code)
        if value == self.wanted:
            return DONE
        return Mark(0.0, self.why or f"{self.code!r} returns {value!r}, not {self.wanted!r}")


@dataclass(frozen=True, slots=True)
class Stored:
    """The page's origin keeps something in the browser: entries of `localStorage` by key, each as the text that is kept."""

    entries: Mapping[str, str]

    integrity: ClassVar[Integrity | None] = "in-process"

    async def __call__(self, ending: Ending, /) -> Mark:
        """Return which part of it is there."""
        rows = dict(await ending.env.evaluate("Object.entries(localStorage)"))
        wrong = [key for key, value in self.entries.items() if rows.get(key) != value]
        if not wrong:
            return DONE
        return Mark(1 - len(wrong) / len(self.entries), f"the browser's storage is not right for {_either(wrong)}")


@dataclass(frozen=True, slots=True)
class Requested:
    """The branch's pages have sent a request that was answered, or have not.

    Args:
        url: where to, as `UrlIs` compares addresses; without a host it is any host's.
        method: by which method; None for any.
        below: whether addresses below it count too.
        least: so often at least.
        most: so often at most; `least=0, most=0` for never. None for any number.
    """

    url: str
    method: str | None = "POST"
    below: bool = False
    least: int = 1
    most: int | None = None
    integrity: ClassVar[Integrity | None] = "split"

    async def __call__(self, ending: Ending, /) -> Mark:
        """Return whether they have."""
        count = sum(
            (self.method is None or sent.method == self.method.upper())
            and leads_to(sent.url, self.url, below=self.below)
            for sent in await ending.env.requests()
        )
        if count >= self.least and (self.most is None or count <= self.most):
            return DONE
        return Mark(0.0, f"{self.method or 'a request'} to {self.url} was sent {count} times")


@dataclass(frozen=True, slots=True)
class Behind:
    """What is behind the pages is as it should be: a predicate over the branch's world, which a site's `open` has made.

    Args:
        predicate: says of the world, and of the answer, whether the task was done; may be async.
        why: what is told where it was not.
    """

    predicate: Callable[[Any, str], bool | Awaitable[bool]]
    why: str = "the site's state is not as it should be"

    integrity: ClassVar[Integrity | None] = "host-io"

    async def __call__(self, ending: Ending, /) -> Mark:
        """Return whether it is."""
        result = self.predicate(await ending.env.world(), ending.answer)
        return DONE if (await result if isawaitable(result) else result) else Mark(0.0, self.why)
