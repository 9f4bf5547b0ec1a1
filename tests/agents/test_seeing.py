"""Agents and judges that see: what arrives at a real server is the marked page, without its secrets, and nothing of it in the run's logs."""

from __future__ import annotations

import base64
import http.server
import json
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

import branchwise as bw
from branchwise.agents.seeing import NO_PICTURE, Seeing, show_screen
from branchwise.core.errors import UsageError
from branchwise.core.protocols import Meter
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import JSON, Message, ModelRequest, Picture, Task, ToolCall
from branchwise.graphs import LocalRunner
from branchwise.models import HttpModel
from branchwise.models.fake_server import Answer, FakeServer, pictures

if TYPE_CHECKING:
    from playwright.async_api import Page

    from branchwise.web.chromium import Chromium

SECRET = "lantern-forty-two"
PAGE = """<!doctype html><title>Login</title><body style="margin:0;background:white">
<input aria-label="Word" style="position:absolute;left:100px;top:100px;width:300px;height:40px;font:24px monospace"
 oninput="said.textContent = this.value">
<button style="position:absolute;left:100px;top:200px;width:200px;height:40px" onclick="said.textContent += '!'">Go</button>
<p id="said" style="position:absolute;left:100px;top:300px;margin:0;font:24px monospace"></p>
<p style="position:absolute;left:100px;top:400px;margin:0;font:24px monospace">nothing to hide</p></body>"""
_COLOURS = """async ([picture, boxes]) => {
  const bitmap = await createImageBitmap(await (await fetch(picture)).blob());
  const pen = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
  pen.drawImage(bitmap, 0, 0);
  const seen = boxes.map(([x, y, width, height]) => {
    const { data } = pen.getImageData(x, y, width, height);
    let least = 255, most = 0, strong = 0;
    for (let n = 0; n < data.length; n += 4) {
      const [low, high] = [Math.min(data[n], data[n + 1], data[n + 2]), Math.max(data[n], data[n + 1], data[n + 2])];
      least = Math.min(least, low); most = Math.max(most, high); strong = Math.max(strong, high - low);
    }
    return [most - least, strong, most];
  });
  return [bitmap.width, bitmap.height, seen];
}"""
"""Of parts of a picture: how far the brightest and the darkest point are apart, how strong the strongest colour is, and the brightest point."""


@pytest_asyncio.fixture(loop_scope="module")
async def painter(chromium: Chromium) -> AsyncIterator[Page]:
    """A page in which pictures are looked at."""
    context = await chromium.context(offline=True)
    yield await context.new_page()
    await context.close()


async def seen(painter: Page, url: str, *boxes: tuple[int, int, int, int]) -> list[tuple[int, int, int]]:
    """Return contrast, colour and brightness of parts of a picture, which must be of the usual size."""
    width, height, found = await painter.evaluate(_COLOURS, [url, boxes])
    assert (width, height) == (1280, 720)
    return [(contrast, colour, bright) for contrast, colour, bright in found]


@pytest.fixture
def login() -> Iterator[str]:
    """The address of the page."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(PAGE.encode())

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def client(server: FakeServer) -> HttpModel:
    """A model that sees."""
    return HttpModel("openai:seer", model="seer", base_url=server.base_url, api_key="none")


class Talk:
    """What a server was asked, by whom, and its replies: two actions, then the answer; a judge says how it stands."""

    moves = (ToolCall("c1", "fill_secret", {"ref": "e1", "secret": "word"}), ToolCall("c2", "click", {"ref": "e2"}))

    def __init__(self) -> None:
        self.agent: list[Mapping[str, JSON]] = []
        self.judge: list[Mapping[str, JSON]] = []

    def __call__(self, body: Mapping[str, JSON]) -> Answer:
        if "response_format" in body:
            self.judge.append(body)
            return Answer(json.dumps({"verdict": "progress"}))
        self.agent.append(body)
        taken = sum(message["role"] == "assistant" for message in body["messages"])
        return Answer(tool_calls=self.moves[taken : taken + 1]) if taken < len(self.moves) else Answer("done")


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="module")
async def test_what_arrives_is_the_page_with_marks_and_without_secrets(
    painter: Page, login: str, runner: LocalRunner
) -> None:
    """The page of that very state, one picture in a prompt; the judge gets it too; logs hold none of it, and the server's count is charged."""
    talk = Talk()
    async with FakeServer(talk) as server:
        model = client(server)
        agent = bw.agents.web(
            login,
            model=model,
            screenshot=True,
            verifiers=[bw.verifiers.web_judge(screenshot=True)],
            secrets={"word": SECRET},
        )
        result = await runner.run(agent, Task(prompt="log in"), bw.Budget(tokens=100_000), seed=1)
        await model.aclose()
    assert result.answer == "done"
    assert [len(pictures(body)) for body in talk.agent + talk.judge] == [1] * (3 + 4), (
        "the judge also sees the start page"
    )
    field, label, said, plain, button = (
        (110, 105, 280, 30),
        (100, 88, 14, 10),
        (102, 304, 236, 18),
        (100, 400, 220, 28),
        (99, 199, 202, 3),
    )
    first, second, third = [
        await seen(painter, pictures(body)[0], field, label, said, plain, button) for body in talk.agent
    ]
    for picture in (first, second, third):
        assert picture[1][1] > 80, "the reference stands in its own colour above the field"
        assert picture[4][1] > 60, "and a box around the button"
        assert picture[3][0] > 150, "what is no secret is to be seen"
    assert first[0][2] > 200, "nothing was filled in yet"
    for picture in (second, third):
        assert picture[0][2] < 120, "the field is masked, and dark all over"
        assert picture[2][2] < 120, "and so is the text that the page made of it"
    assert pictures(talk.judge[-2]) == pictures(talk.agent[-1]), "the same picture of the same state"
    text = json.dumps(
        [
            [part for part in m["content"] if part["type"] == "text"]
            for body in talk.agent
            for m in body["messages"]
            if isinstance(m["content"], list)
        ]
    )
    assert SECRET not in text
    assert "each box has its reference beside it" in text
    assert result.usage.prompt_tokens < 6 * 8_000
    folder = runner.store.open(result.run_id).folder
    logged = b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())
    beginning = pictures(talk.agent[0])[0].partition(",")[2][200:260].encode()
    assert beginning not in logged
    assert base64.b64decode(pictures(talk.agent[0])[0].partition(",")[2])[200:240] not in logged


def test_the_picture_goes_with_what_the_user_said_last() -> None:
    """In a message of its own where that was not the user."""
    messages = [Message("user", "do"), Message("user", "now")]
    show_screen(messages, "abc", "Look.")
    assert [m.content for m in messages] == ["do", "now\n\nLook."]
    messages = [Message("user", "do"), Message("tool", "seen", tool_call_id="c1")]
    show_screen(messages, None, "Look.")
    assert [(m.role, len(m.pictures)) for m in messages] == [("user", 0), ("tool", 0), ("user", 1)]


class Album:
    """A supply of which one state can be seen."""

    isolation = "none"

    def keep_pictures(self, folder: Path) -> None:
        """Keep none."""

    async def screen(self, ref: str | None) -> Picture | None:
        """The same for all states but one."""
        return None if ref == "dark" else Picture(b"P", 2, 2)


async def test_a_page_that_cannot_be_seen_is_said_to_be_so() -> None:
    """The model is asked all the same; requests without pictures are left alone."""
    model = ScriptedModel(lambda _: "yes", sees=True)
    supply: Any = Album()
    seeing = Seeing(model, supply)
    for state in ("light", "dark"):
        messages = [Message("user", "now")]
        show_screen(messages, state, "Look.")
        await seeing.generate(ModelRequest(tuple(messages)), Meter())
    plain = ModelRequest((Message("user", "now"),))
    await seeing.generate(plain, Meter())
    light, dark, last = model.requests
    assert light.messages[0] == Message("user", "now\n\nLook.", pictures=(Picture(b"P", 2, 2),))
    assert dark.messages[0] == Message("user", f"now\n\nLook.\n\n{NO_PICTURE}")
    assert last is plain


def blind(name: str = "scripted:blind") -> ScriptedModel:
    """A model that takes no pictures."""
    return ScriptedModel(lambda _: "never", name=name, native_tools=False)


async def test_who_cannot_see_is_refused_before_the_first_call(runner: LocalRunner) -> None:
    """The agent's model, the judge's own, and agents without pages; nothing was begun, and nobody asked."""
    seer, judge = ScriptedModel(lambda _: "x", sees=True), blind("scripted:judge")
    page = "https://example.org/"
    seeing = [bw.verifiers.web_judge(screenshot=True)]
    cases = {
        "scripted:blind takes no pictures": replace(bw.agents.web(page, model=blind()), screenshot=True),
        "embedded:m takes no pictures": bw.agents.web(page, model="embedded:m", verifiers=seeing),
        "scripted:judge takes no pictures": bw.agents.web(
            page, model=seer, verifiers=[bw.verifiers.web_judge(model=judge, screenshot=True, votes=3)]
        ),
        "agent 'a' was to be shown pictures of pages": bw.Agent(name="a", model=seer, verifiers=seeing),
    }
    for message, agent in cases.items():
        with pytest.raises(UsageError, match=message):
            await runner.run(agent, Task(prompt="look"), bw.Budget())
    assert seer.requests == judge.requests == []
    assert not list(runner.store.folder.glob("*"))
