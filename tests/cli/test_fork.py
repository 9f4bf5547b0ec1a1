"""`branchwise fork`: a new run from a node of an earlier one, with an action put right."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner

from branchwise.cli.app import app
from branchwise.graphs import RunRecord, RunStore

AGENT = '''
    import json
    import branchwise as bw
    from branchwise.core.testing import ScriptedModel

    def reply(request):
        loud = "LOUD" in request.messages[0].content
        turns = sum(m.role == "assistant" for m in request.messages)
        said = request.messages[-1].content
        tool, args = ("note", {"text": "helo"}) if turns == 0 else ("answer", {"text": said.upper() if loud else said})
        return json.dumps({"thought": "", "tool": tool, "args": args})

    @bw.tool(effects="pure")
    def note(text: str) -> str:
        """Note something."""
        return f"noted {text}"

    agent = bw.Agent(name="a", model=ScriptedModel(reply, native_tools=False), tools=[note])
'''


def test_an_action_is_put_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node is forked with another action and other instructions; the view says where the new run comes from."""
    (tmp_path / "agent.py").write_text(textwrap.dedent(AGENT))
    monkeypatch.setenv("BRANCHWISE_HOME", str(tmp_path / "home"))

    def command(*args: str) -> str:
        done = CliRunner().invoke(app, args)
        assert done.exit_code == 0, done.output
        return done.output

    def newest() -> RunRecord:
        return max((run.load() for run in RunStore().runs()), key=lambda record: record.created)

    command("run", f"{tmp_path / 'agent.py'}:agent", "write", "--seed", "1")
    first = newest()
    assert first.summary["answer"] == "noted helo"
    place = f"{first.run_id[:-1]}/{first.summary['node'] - 2}"
    command("fork", place, "--action", 'note={"text": "hello"}', "--instructions", "Answer LOUD.")
    second = newest()
    assert (second.summary["answer"], second.summary["usage"]["calls"]) == ("NOTED HELLO", 1)
    assert f"forked from {first.run_id}/{first.summary['node'] - 2}" in command("view", second.run_id)
