"""MiniWoB++: a hundred and thirty small pages, each with a task that it judges itself, as a family of tasks.

Liu et al. (2018), Reinforcement Learning on Web Interfaces using Workflow-Guided Exploration; Shi et al. (2017), World of Bits.
The pages are those of the PyPI package `miniwob` (Farama Foundation, MIT licence), which is not needed otherwise.
"""

from __future__ import annotations

import importlib.util
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import parse_qs, urlsplit

from ...core.errors import UsageError
from ...core.types import Integrity
from .task import DONE, Ending, Mark, WebTask

_BEGIN = """
<style>#reward-display, #click-canvas { display: none !important; }</style>
<script>
window.addEventListener("load", () => {
    Math.seedrandom("%s");
    core.EPISODE_MAX_TIME = 1e9;
    core.countdownTimer = () => {};
    const begin = core.startEpisode;
    // Over is over: a click on the cover must not begin another episode, whose reward would be taken for this one's.
    core.startEpisode = () => { begin(); core.cover_div.onclick = null; core.cover_div.textContent = "The episode is over."; };
    core.startEpisodeReal();
});
</script>
"""
_ENDED = "() => ({ done: WOB_DONE_GLOBAL, reward: WOB_RAW_REWARD_GLOBAL })"
_OVER = "() => window.WOB_DONE_GLOBAL === true"
_GOAL = "() => { const said = core.getUtterance(); return typeof said === 'string' ? said : said.utterance; }"


@dataclass(frozen=True, slots=True)
class RawReward:
    """The page's own reward at the end of the episode, without its penalty for time; 1 is done, and nothing is worth less than 0."""

    integrity: ClassVar[Integrity | None] = "in-process"
    at_the_end: ClassVar[bool] = True
    """It is what the task is scored by: a search that it guided would be told what no agent is told."""

    async def __call__(self, ending: Ending, /) -> Mark:
        """Return what the page thinks."""
        told = await ending.env.evaluate(_ENDED)
        if not told["done"]:
            return Mark(0.0, "the episode is not over")
        reward = float(told["reward"])
        return DONE if reward >= 1.0 else Mark(max(reward, 0.0), f"the page's own reward is {reward:g}")


@dataclass(frozen=True)
class MiniWoBWorld:
    """One episode's page. What happens in it stays in the browser, so there is nothing to give back."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    async def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class MiniWoBSite:
    """A page, as good as new for every branch. Implements `Site`."""

    url: str

    async def open(self) -> MiniWoBWorld:
        """Return the page."""
        return MiniWoBWorld(self.url)


class MiniWoB:
    """All tasks, their pages served on this machine while it is open: `with MiniWoB() as family`. Implements `TaskFamily`.

    The seed is part of a page's address, and everything that a page draws follows from it.

    Args:
        folder: the pages, `html` of the package; found unless given.
        port: where they are served; 0 for a free port. A run that is resumed later needs the same port again.

    Raises:
        UsageError: there are no pages.
    """

    def __init__(self, folder: Path | None = None, *, port: int = 0) -> None:
        self.folder = _installed() if folder is None else folder
        if not (self.folder / "core" / "core.js").is_file():
            raise UsageError(f"{self.folder} has no pages of MiniWoB++; give the folder `html` of the package miniwob")
        self._server = ThreadingHTTPServer(("127.0.0.1", port), partial(_Handler, directory=str(self.folder)))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="miniwob", daemon=True)

    @property
    def names(self) -> Sequence[str]:
        """What there is, for example `click-test`."""
        return sorted(path.stem for path in (self.folder / "miniwob").glob("*.html"))

    async def task(self, name: str, seed: int = 0, *, goal: str | None = None) -> WebTask:
        """Return a task.

        Args:
            name: one of `names`.
            seed: what the page draws.
            goal: what the agent is told; unless given, what the page asks for, for which it is opened once.

        Raises:
            UsageError: there is none of that name.
            SandboxStartFailed: there is no browser to read the goal in.
        """
        if name not in self.names:
            raise UsageError(f"there is no MiniWoB task {name!r}; there are: {', '.join(self.names)}")
        site = MiniWoBSite(f"http://127.0.0.1:{self._server.server_address[1]}/miniwob/{name}.html?seed={seed}")
        task = WebTask(f"miniwob-{name}-{seed}", goal or "", site, RawReward(), {"over": _OVER})
        return task if goal is not None else replace(task, goal=await _asked(task))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(SimpleHTTPRequestHandler):
    """Serves the package's files; pages with a seed begin their episode by themselves."""

    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        """Answer, if there is still somebody to answer."""
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True  # the page was closed while it was loading

    def do_GET(self) -> None:
        """Answer."""
        url = urlsplit(self.path)
        seeds = parse_qs(url.query).get("seed")
        if seeds is None or not seeds[0].lstrip("-").isdecimal():
            super().do_GET()
            return
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        page = (path.read_text(encoding="utf-8") + _BEGIN % int(seeds[0])).encode()  # behind the page's own scripts
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that it overrides
        """Say nothing."""


def _installed() -> Path:
    spec = importlib.util.find_spec("miniwob")
    if spec is None or not spec.submodule_search_locations:
        raise UsageError("the pages of MiniWoB++ are not installed: pip install miniwob, or give their folder")
    return Path(spec.submodule_search_locations[0]) / "html"


async def _asked(task: WebTask) -> str:
    """Return what a page asks for."""
    with tempfile.TemporaryDirectory() as folder:
        supply = await task.browser().start(task.name, Path(folder))
        try:
            env = await supply.open()
            try:
                return str(await env.evaluate(_GOAL))
            finally:
                await env.close()
        finally:
            await supply.aclose()
