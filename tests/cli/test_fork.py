"""`branchwise fork`: a new run from a node of an earlier one, with an action put right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

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


def test_an_action_is_put_right(tmp_path: Path) -> None:
    """The node is forked with another action and other instructions; the view says where the new run comes from."""
    (tmp_path / "agent.py").write_text(textwrap.dedent(AGENT))
    env = {**os.environ, "BRANCHWISE_HOME": str(tmp_path / "home")}

    def command(*args: str) -> str:
        line = [sys.executable, "-m", "branchwise.cli", *args]
        done = subprocess.run(line, check=True, env=env, cwd=tmp_path, text=True, capture_output=True, timeout=60)
        return done.stdout

    first = json.loads(command("run", "agent.py:agent", "write", "--seed", "1", "--json").splitlines()[-1])["result"]
    assert first["answer"] == "noted helo"
    edit = ["--action", 'note={"text": "hello"}', "--instructions", "Answer LOUD."]
    place = f"{first['run_id'][:-1]}/{first['node'] - 2}"
    second = json.loads(command("fork", place, *edit, "--json").splitlines()[-1])["result"]
    assert (second["answer"], second["usage"]["calls"]) == ("NOTED HELLO", 1)
    assert f"forked from {first['run_id']}/{first['node'] - 2}" in command("view", second["run_id"])
