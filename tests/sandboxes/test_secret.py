"""Secrets: what programs get, and where they never show."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import docker
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from branchwise.core.errors import SandboxError, UsageError
from branchwise.sandboxes import Docker, Local
from branchwise.sandboxes.environment import WorkerSandboxes
from branchwise.sandboxes.secret import Secrets

TOKEN = 'tok/en+with "odd" characters & more'
SECRETS = Secrets({"TOKEN": TOKEN, "OTHER": "another-secret"})
LIMITS: dict[str, Any] = {"memory_mb": 256, "workspace_mb": 48, "scratch_mb": 16, "max_idle": 0}


@pytest.mark.parametrize(
    "form",
    [TOKEN, quote(TOKEN, safe=""), json.dumps(TOKEN)[1:-1], base64.b64encode(TOKEN.encode()).decode().rstrip("=")],
)
def test_every_form_is_redacted(form: str) -> None:
    """Plain, in a URL, in JSON and in base64 a secret becomes its name."""
    clean = SECRETS.redact(f"<{form}> another-secret".encode()).decode()
    assert form not in clean
    assert clean.startswith("<[secret TOKEN]")
    assert clean.endswith("[secret OTHER]")


def test_cut_output_does_not_show_a_beginning() -> None:
    """Where output ends at its limit, the part of a secret before it goes too."""
    assert SECRETS.redact(b"x" + TOKEN[:20].encode(), cut=True) == b"x[secret]"
    assert SECRETS.redact(b"x" + TOKEN[:20].encode()) == b"x" + TOKEN[:20].encode()


@given(st.lists(st.integers(1, 7), max_size=60), st.binary(max_size=20), st.binary(max_size=20))
def test_streams_are_redacted_as_wholes_are(sizes: list[int], before: bytes, after: bytes) -> None:
    """However a stream is cut into pieces, what comes out is the redacted whole."""
    whole = before + TOKEN.encode() + after + b"another-secret" + TOKEN[:9].encode()
    redactor = SECRETS.redactor()
    out, start = b"", 0
    for size in sizes:
        out += redactor.feed(whole[start : start + size])
        start += size
    out += redactor.feed(whole[start:]) + redactor.flush()
    assert out == SECRETS.redact(whole)


def test_innocent_streams_are_not_held_back() -> None:
    """What cannot be a secret's beginning is passed on at once: a prompt is seen when it is printed."""
    assert SECRETS.redactor().feed(b"name: ") == b"name: "


def test_short_or_missing_ones_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be protected is refused; so is a variable that is not there."""
    with pytest.raises(UsageError, match="give it by env="):
        Secrets({"PIN": "1234"})
    monkeypatch.setenv("THERE", "a-long-enough-value")
    assert Secrets.of(("THERE",)).environment == {"THERE": "a-long-enough-value"}
    with pytest.raises(UsageError, match=r"secrets=\['GONE'\]"):
        Secrets.of(("THERE", "GONE"))


def test_settings_do_not_show_them() -> None:
    """Neither the text of the settings nor their JSON has the value."""
    spec = Docker(secrets={"TOKEN": TOKEN})
    assert "characters & more" not in repr(spec) + str(spec) + spec.model_dump_json()


@pytest_asyncio.fixture(
    loop_scope="module", scope="module", params=[pytest.param("docker", marks=pytest.mark.docker), "local"]
)
async def supply(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[WorkerSandboxes]:
    """Sandboxes of each kind with a secret."""
    kind = Docker if request.param == "docker" else Local
    spec = kind(**LIMITS, secrets={"TOKEN": TOKEN}, env={"COLOUR": "green"})
    made = await spec.start(f"test-secret-{request.param}", tmp_path_factory.mktemp("store"))
    yield made
    await made.aclose()


@pytest.mark.asyncio(loop_scope="module")
async def test_programs_get_them_and_their_output_does_not(
    supply: WorkerSandboxes, caplog: pytest.LogCaptureFixture
) -> None:
    """They are in the environment of every program; in what programs write they are names."""
    caplog.set_level(logging.DEBUG)
    environment = await supply.open()
    script = f'test "${{#TOKEN}}" = {len(TOKEN)} && echo $COLOUR; echo "$TOKEN"; echo "$TOKEN" >&2'
    result = await environment.exec(script)
    assert (result.stdout, result.stderr) == ("green\n[secret TOKEN]\n", "[secret TOKEN]\n")
    cut = await environment.exec('printf %s "$TOKEN"', output_limit_bytes=12)
    assert cut.stdout == "[secret]"
    own = await environment.exec("echo $TOKEN", env={"TOKEN": "mine"})
    assert own.stdout == "mine\n"
    async with environment.start('printf "pass: "; read x; echo "$TOKEN"; echo "$TOKEN"') as process:
        assert await process.receive() == b"pass: "
        await process.send(b"\n")
        said = b""
        while piece := await process.receive():
            said += piece
        assert said.decode() + (await process.wait()).stdout == "[secret TOKEN]\n" * 2
    assert TOKEN not in caplog.text
    await environment.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_no_state_holds_them(supply: WorkerSandboxes) -> None:
    """A state with a secret in a file cannot be kept, by snapshot or fork; reading the file shows its name."""
    environment = await supply.open()
    await environment.exec('echo "key=$TOKEN" > config; echo "$TOKEN" > /tmp/key')
    assert await environment.read("config") == b"key=[secret TOKEN]\n"
    with pytest.raises(SandboxError, match="the file 'config' holds the secret 'TOKEN'"):
        await environment.snapshot()
    with pytest.raises(SandboxError, match="the file 'config'"):
        await environment.fork()
    contents = [path.read_bytes() for path in supply.store.folder.rglob("*") if path.is_file()]
    assert not any(TOKEN.encode() in content for content in contents)
    await environment.remove("config")
    assert await environment.snapshot()
    await environment.close()


@pytest.mark.docker
async def test_the_engine_does_not_know_them(tmp_path: Path) -> None:
    """Whoever may ask the engine about a container learns no secret."""
    spec = Docker(**LIMITS, secrets={"TOKEN": TOKEN}, env={"COLOUR": "green"})
    supply = await spec.start("test-inspect", tmp_path)
    environment = await supply.open()
    await environment.exec("sleep 0")
    client = docker.from_env()
    found = client.containers.list(filters={"label": "branchwise.run=test-inspect"})
    told = json.dumps([container.attrs for container in found], ensure_ascii=False)
    tops = json.dumps([container.top() for container in found])
    client.close()
    assert "test-inspect" in told
    assert 'with \\"odd' not in told + tops
    assert 'with \\\\\\"odd' not in told + tops
    await environment.close()
    await supply.aclose()
