"""`branchwise run --url`: a web agent from the command line alone, and what is said where that cannot be."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from branchwise.cli.app import app
from branchwise.cli.began import read_goal
from branchwise.cli.loading import load_agent
from branchwise.cli.web import WebRun, announce, read_secrets, read_web_run
from branchwise.core.errors import UsageError
from branchwise.core.types import JSON, Budget, ToolCall
from branchwise.models.fake_server import Answer, FakeServer
from branchwise.web import Browser

URL = "http://shop.example.org/"
SECRET = "lantern-forty-two"


def test_options_make_a_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts beside the start page's own, secrets from the environment; what a run notes of it makes the same again."""
    monkeypatch.setenv("SHOP_PASSWORD", SECRET)
    run = read_web_run(
        URL, model="openai:m", headed=True, allow=["cdn.example.org"], secrets=["password=SHOP_PASSWORD"], search=None
    )
    assert run is not None
    assert SECRET not in run.source
    agent, source = load_agent(run.source)
    assert source == run.source
    assert isinstance(agent.sandbox, Browser)
    assert (agent.sandbox.headed, agent.sandbox.contained) == (True, False)
    assert agent.sandbox.allow is not None
    assert agent.sandbox.allow.hosts == ("shop.example.org:80", "cdn.example.org")
    assert agent.sandbox.secrets["password"].get_secret_value() == SECRET


def test_the_browser_can_run_in_a_container() -> None:
    """Also where the run is taken up again."""
    run = read_web_run(URL, model="openai:m", headed=False, contained=True, allow=(), secrets=(), search=None)
    assert run is not None
    agent, _ = load_agent(run.source)
    assert isinstance(agent.sandbox, Browser)
    assert agent.sandbox.container is not None
    assert "in a Docker container" in agent.sandbox.isolation


def test_a_search_that_throws_branches_away_does_nothing_for_good() -> None:
    """The agent is made with its strategy: the tool for what cannot be taken back is not there."""
    tools = {
        search: {tool.name for tool in WebRun(url=URL, model="openai:m", search=search).agent().toolbox}
        for search in (None, "best-first:width=2,depth=2")
    }
    assert "for_good" in tools[None]
    assert tools["best-first:width=2,depth=2"] == tools[None] - {"for_good"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "shop.example.org"}, "is no address; give one that begins with https://"),
        ({"allow": ("not a host",)}, "is no host to allow"),
        ({"secrets": {"password": "NO_SUCH_VARIABLE"}}, "has no variable NO_SUCH_VARIABLE"),
        ({"secrets": {"pin": "SHORT"}}, "fewer than 8 characters"),
        ({"model": "gpt"}, "names no provider"),
        ({"search": "clairvoyance"}, "clairvoyance"),
        ({"headed": True, "contained": True}, "no display to show it on"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(
    options: dict[str, object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And never with a secret in it."""
    monkeypatch.setenv("SHORT", "1234567")
    with pytest.raises(UsageError, match=message) as refused:
        WebRun.model_validate({"url": URL, "model": "openai:m", **options}).agent()
    assert "\n" not in str(refused.value)
    assert "1234567" not in str(refused.value)


def test_values_on_the_command_line_are_refused_unread() -> None:
    """Others on the machine see them there; the message does not repeat what may be one."""
    with pytest.raises(UsageError, match="NAME=VARIABLE") as refused:
        read_secrets(["word=WORD", f"password={SECRET}"])
    assert SECRET not in str(refused.value)


def test_options_that_do_not_go_together() -> None:
    """Each says what to do instead."""
    nothing = {"headed": False, "allow": (), "secrets": (), "search": None}
    with pytest.raises(UsageError, match="--headed, --allow belongs to --url"):
        read_web_run(None, model=None, **{**nothing, "headed": True, "allow": ("x",)})
    with pytest.raises(UsageError, match="--contained belongs to --url"):
        read_web_run(None, model=None, **nothing, contained=True)
    with pytest.raises(UsageError, match="no display to show it on"):
        read_web_run(URL, model="openai:m", **{**nothing, "headed": True}, contained=True)
    with pytest.raises(UsageError, match="--url needs a model"):
        read_web_run(URL, model=None, **nothing)
    assert read_web_run(None, model=None, **nothing) is None
    with pytest.raises(UsageError, match=r"leave out 'agents\.py'"):
        read_goal("agents.py", "Buy a mug.", "web:{}")
    with pytest.raises(UsageError, match="what is to be done is missing"):
        read_goal("agents.py:coder", None, None)
    assert read_goal("Buy a mug.", None, "web:{}") == ("web:{}", "Buy a mug.")


def test_what_may_be_spent_and_reached_is_said_first() -> None:
    """Before anything is started."""
    console = Console(record=True, width=200, quiet=False)
    announce(console, WebRun(url=URL, model="openai:m", secrets={"password": "P"}), Budget(tokens=5000, seconds=60))
    announce(console, WebRun(url=URL, model="openai:m", contained=True), Budget(tokens=5000))
    told = console.export_text()
    assert "pages of shop.example.org:80, in a browser in a container; budget" in told
    assert "pages of shop.example.org:80; secrets: password; budget: 5000 tokens, 60 seconds" in told.replace("  ", " ")


@pytest.fixture
def page(tmp_path: Path) -> Iterator[str]:
    """The address of a page on this machine."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text(
        "<title>Mugs</title><button onclick='this.textContent += 1'>Add</button>"
    )
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    handler = functools.partial(quiet, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.browser
def test_a_web_agent_from_the_command_line(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run, look at the page of the run, film its path; a page that cannot be reached is one clear line."""
    monkeypatch.setenv("BRANCHWISE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPENAI_API_KEY", "none")

    def reply(body: Mapping[str, JSON]) -> Answer:
        done = "Add1" in str(body["messages"])
        return Answer("one mug") if done else Answer(tool_calls=(ToolCall("c1", "click", {"ref": "e1"}),))

    cli = CliRunner(env={"COLUMNS": "160", "NO_COLOR": "1"})
    with FakeServer(reply).in_thread() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        run = cli.invoke(app, ["run", "--url", page, "Add a mug.", "--model", "openai:m", "--tokens", "20000"])
        assert run.exit_code == 0, run.output
        assert "click button 'Add'  on Mugs" in run.output
        assert "one mug" in run.output
        [folder] = (tmp_path / "home" / "runs").iterdir()
        lost = cli.invoke(app, ["run", "--url", "http://127.0.0.1:9/", "Add a mug.", "--model", "openai:m"])
    assert lost.exit_code == 1
    assert "http://127.0.0.1:9/ could not be opened" in f"{lost.output}{lost.exception}"
    shown = cli.invoke(app, ["view", folder.name, "--html", str(tmp_path / "run.html")])
    assert shown.exit_code == 0, shown.output
    assert (tmp_path / "run.html").read_text().count("data:image/webp") >= 2
    filmed = cli.invoke(app, ["film", folder.name])
    assert filmed.exit_code == 0, f"{filmed.output}{filmed.exception}"
    assert "did 1 steps again; look at them: playwright show-trace" in filmed.output
    assert list(folder.glob("trace-*.zip"))
