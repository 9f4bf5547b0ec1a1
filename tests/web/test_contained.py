"""The browser in a container: it does what it does outside, and what gets hold of it has nowhere to go."""

from __future__ import annotations

import asyncio
import io
import itertools
import os
import signal
import socket
import sys
import tarfile
import time
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

import branchwise as bw
from branchwise.core.errors import SandboxStartFailed
from branchwise.core.types import Task
from branchwise.graphs import LocalRunner, RunStore
from branchwise.sandboxes import Allow, door
from branchwise.sandboxes.docker_engine import DockerEngine
from branchwise.sandboxes.inventory import objects
from branchwise.web import Browser, Container, Goto, Upload, WebEnvironment
from branchwise.web.chromium import Chromium, Launch

from .attack import ARRIVING, try_all
from .conftest import Start
from .crosses import clicker
from .hand import do, shown
from .small_site import SmallSite

pytestmark = [pytest.mark.browser, pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

RUN = f"test-contained-{os.getpid()}"
CONTAINER = Container(memory_mb=1024, scratch_mb=128)


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerEngine]:
    """A connection of the tests' own."""
    connected = DockerEngine.connect()
    yield connected
    connected.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def contained() -> AsyncIterator[Chromium]:
    """One contained browser for all tests: a further lease keeps it running between them."""
    browser = await Chromium.lease(Launch(contained=CONTAINER), RUN)
    yield browser
    await browser.release()


def members(engine: DockerEngine, run: str = RUN) -> list[psutil.Process]:
    """The processes of a run's containers, the first program of each first."""
    found: list[psutil.Process] = []
    for container in engine.containers(run):
        first = psutil.Process(engine.api.inspect_container(container["Id"])["State"]["Pid"])
        found += [first, *first.children(recursive=True)]
    return found


def status(process: psutil.Process) -> dict[str, list[str]]:
    """What the kernel says of a process."""
    rows = (row.partition(":") for row in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    return {name: value.split() for name, _, value in rows}


def ways_of(process: psutil.Process) -> tuple[list[str], list[str]]:
    """The interfaces and the routes of a process's network."""
    place = Path(f"/proc/{process.pid}/net")
    interfaces = (place / "dev").read_text().splitlines()[2:]
    return [row.split(":")[0].strip() for row in interfaces], (place / "route").read_text().splitlines()[1:]


def network_of(process: psutil.Process) -> int:
    """The number of a process's network."""
    return Path(f"/proc/{process.pid}/ns/net").stat().st_ino


def places() -> set[str]:
    """The folders that this process has beside its sandboxes."""
    return {place.name for place, _ in door.places() if f"_{os.getpid()}_" in place.name}


async def test_nothing_leaves_the_container(
    start: Start, contained: Chromium, site: SmallSite, datagrams: socket.socket, engine: DockerEngine
) -> None:
    """Not by the page that tries everything, counted where it would arrive; nor could it: there is no interface but a loopback."""
    await try_all(start, site, datagrams.getsockname()[1], contained=CONTAINER)
    assert site.strayed == []
    with pytest.raises(BlockingIOError):
        datagrams.recv(100)
    assert site.asked("GET", "/ways") == 1
    assert site.asked("GET", "/away") >= 3, "redirects were followed as far as the proxy"
    assert ways_of(members(engine)[0]) == (["lo"], [])


async def test_with_the_other_allowed_the_same_page_reaches_it(
    start: Start, contained: Chromium, site: SmallSite, datagrams: socket.socket
) -> None:
    """So there is a way out, and it is the allow-list that stops; a second supply's does not hold for the first."""
    hosts = [f"127.0.0.{n}:{site.port}" for n in (1, 2)]
    narrow = await start("/", contained=CONTAINER)
    await try_all(start, site, datagrams.getsockname()[1], ARRIVING, allow=Allow(*hosts), contained=CONTAINER)
    assert ARRIVING | {"/stolen", "/popup", "/blank", "/left", "/asked"} <= {hit[2] for hit in site.strayed}
    site.hits.clear()
    env = await narrow.open()
    assert "is refused" in (await env.act(Goto(url=site.elsewhere + "/again"))).told
    assert (site.strayed, list(narrow.gateway.egress.refused)) == ([], [f"127.0.0.2:{site.port}"])
    await env.close()


async def test_who_is_inside_may_do_nothing(contained: Chromium, start: Start, engine: DockerEngine) -> None:
    """Nobody is root or has a capability; all are under a filter, pages under a second one, and in namespaces of their own."""
    env = await (await start("/", contained=CONTAINER)).open()
    await env.observe()
    processes = members(engine)
    told = [status(process) for process in processes]
    assert {tuple(one["Uid"]) for one in told} == {("65532",) * 4}
    assert {one["NoNewPrivs"][0] for one in told} == {"1"}
    pages = [one for process, one in zip(processes, told, strict=True) if "--type=renderer" in process.cmdline()]
    assert pages
    assert {int(one["CapEff"][0], 16) for one in [told[0], *pages]} == {0}
    assert {one["Seccomp"][0] for one in told} == {"2"}
    assert contained.contained is not None
    if contained.contained.told.namespaces:
        assert {one["Seccomp_filters"][0] for one in pages} == {"2"}
        homes = {network_of(process) for process in processes if "--type=renderer" in process.cmdline()}
        assert network_of(processes[0]) not in homes
    record = engine.api.inspect_container(engine.containers(RUN)[0]["Id"])
    assert record["HostConfig"]["ReadonlyRootfs"]
    assert record["HostConfig"]["Memory"] == CONTAINER.memory_mb << 20
    assert {mount["RW"] for mount in record["Mounts"]} == {False}
    things = {
        thing.kind: thing for thing in objects(engine) if thing.run == RUN or thing.name == record["Config"]["Image"]
    }
    assert things["container"].in_use
    assert things["image"].in_use
    await env.close()


async def test_pages_are_the_same_inside(contained: Chromium, start: Start, tmp_path: Path) -> None:
    """What is seen and what states are: fonts, too, since fingerprints hold where things stand."""
    seen: list[list[str]] = []
    for settings in ({}, {"contained": CONTAINER}):
        env = await (await start("/parts", **settings)).open()
        lines = [shown(await do(env, '"Shadow"')), shown(await do(env, '"City"', "fill", text="Bonn"))]
        box = await env.evaluate("JSON.stringify(document.querySelector('a').getBoundingClientRect())")
        seen.append([*lines, str(box)])
        await env.close()
    assert seen[0] == seen[1]


async def test_forks_are_exact(contained: Chromium, start: Start, site: SmallSite) -> None:
    """A state is kept, or done again, and what comes out is what was there, by its source and by what a further action does."""
    site.pages["/"] += "<input aria-label='Note'>"
    supply = await start("/", contained=CONTAINER)
    env = await supply.open()
    for number, words in enumerate(('"Add"', '"Fetch"', '"Tell"', "the second page", "Main"), 1):
        await do(env, words)
        if number == 2:
            await do(env, '"Note"', "fill", text="later")
        source = await source_of(env)
        kept = await env.snapshot()
        forks = [await supply.open(kept) for _ in range(2)]
        assert [await source_of(fork) for fork in forks] == [source, source]
        if number in {1, 3, 5}:
            assert len({shown(await do(fork, '"Add"')) for fork in forks}) == 1
        for fork in forks:
            await fork.close()
    assert supply.ways.refused == 0
    assert supply.ways.opened["replay"] >= 3
    await env.close()


async def source_of(env: WebEnvironment) -> str:
    """The page's source with what stands in its fields."""
    await env.observe()
    fields = "[...document.querySelectorAll('input, select')].map(e => e.value + e.checked)"
    return str(await env.evaluate(f"document.documentElement.outerHTML + {fields}"))


async def test_files_come_and_go(contained: Chromium, start: Start, site: SmallSite) -> None:
    """Downloads are handed out of the container and gone there, uploads go in by content, and what is too large is dropped."""
    env = await (await start("/parts", contained=CONTAINER)).open()
    assert "downloads/list.csv was downloaded (8 bytes)" in (await do(env, '"Get list"')).told
    assert await env.read("downloads/list.csv") == b"a,b\n1,2\n"
    assert "list.csv" in shown(await do(env, '"File"', "upload", paths=["downloads/list.csv"]))
    await do(env, '"Choose"')
    await env.write("other.txt", b"other")
    assert "other.txt" in (await env.act(Upload(paths=("other.txt",)))).told
    assert contained.contained is not None
    with pytest.raises(bw.SandboxError, match="No such file"):
        await contained.contained.take("../../etc/passwd.gone")
    await env.close()
    site.pages["/large"] = (
        "<!doctype html><title>Large</title><a download='zeros' id='a'>Zeros</a>"
        "<script>a.href = URL.createObjectURL(new Blob([new Uint8Array((1 << 20) + 1)]))</script>"
    )
    env = await (await start("/large", contained=CONTAINER, download_mb=1)).open()
    assert "has 1048577 bytes, more than the 1048576" in (await do(env, '"Zeros"')).told
    assert await env.list() == []
    await env.close()


async def test_it_is_filmed(contained: Chromium, start: Start, tmp_path: Path) -> None:
    """A trace is written outside, with pictures of what was seen inside."""
    supply = await start("/", contained=CONTAINER)
    env = await supply.open()
    await do(env, '"Add"')
    assert await bw.web.film(supply, await env.snapshot(), tmp_path / "trace.zip") == 1
    names = zipfile.ZipFile(tmp_path / "trace.zip").namelist()
    assert any(name.endswith(".jpeg") for name in names)
    assert (await env.screenshot(marks=True))[:2] == b"\xff\xd8"
    await env.close()


async def test_pages_from_files(contained: Chromium, start: Start, tmp_path: Path) -> None:
    """They are brought to the browser, which sees no folder of this machine: the same page, and no file beyond its folder."""
    place = tmp_path / "pages"
    place.mkdir()
    (tmp_path / "secret.html").write_text("treasure")
    (place / "beside.html").write_text("neighbour")
    (place / "link.html").symlink_to(tmp_path / "secret.html")
    (place / "script.js").write_text("document.write('<b>written</b>')")
    (place / "style.css").write_text("b { color: rgb(1, 2, 3) }")
    frames = "".join(
        f"<iframe src='{name}'></iframe>" for name in ("beside.html", "../secret.html", "link.html", "none.html", ".")
    )
    (place / "a.html").write_text(
        "<!doctype html><title>A</title><link rel=stylesheet href=style.css><script src=script.js></script>"
        f"<p>caf\u00e9</p>{frames}<a href='beside.html'>Go</a>",
        encoding="utf-8",
    )
    looks: list[str] = []
    for settings in ({}, {"contained": CONTAINER}):
        env = await (await start((place / "a.html").as_uri(), **settings)).open()
        looks.append((await env.observe()).text)
        colour = "getComputedStyle(document.querySelector('b')).color + document.characterSet + document.compatMode"
        looks[-1] += str(await env.evaluate(colour))
        with pytest.raises(bw.ToolError, match="not among the files"):
            await env.act(Goto(url="file:///etc/passwd"))
        assert "neighbour" in (await do(env, '"Go"')).told
        await env.close()
    assert "neighbour" in looks[1]
    assert "written" in looks[1]
    assert "treasure" not in looks[1]
    outside, inside = (look.replace("Index of", "") for look in looks)
    assert inside.splitlines()[-1] == outside.splitlines()[-1]


async def test_a_search_goes_on_after_a_kill(site: SmallSite, tmp_path: Path, engine: DockerEngine) -> None:
    """`docker kill` in the middle of a whole run: the container is started again, the goal is found, and nothing is left."""
    clicks = itertools.count()
    folders = places()
    killed: list[str] = []

    async def killing() -> None:
        if next(clicks) == 2:
            mine = [one for one in engine.containers() if one["Labels"]["branchwise.run"] == run_id(tmp_path)]
            killed.extend(one["Id"] for one in mine)
            engine.api.kill(mine[0]["Id"])

    runner = LocalRunner(RunStore(tmp_path / "runs"))
    agent = clicker(Browser(site.url + "/", contained=Container(memory_mb=768)), killing)
    result = await runner.run(agent, Task(prompt="Make three crosses."), bw.Budget(nodes=20), seed=1)
    assert (result.answer, result.accepted, len(killed)) == ("xxx", True, 1)
    assert next(clicks) > 3
    assert engine.containers(run_id(tmp_path)) == []
    assert places() == folders
    relays = [p for p in psutil.Process().children(recursive=True) if "relay.py" in " ".join(p.cmdline())]
    assert len(relays) <= 1, "but the one of the browser that the other tests share"


@pytest.fixture
def own_image(contained: Chromium, engine: DockerEngine) -> Iterator[str]:
    """An image of the user's own: ours with a font in it, since fonts are mounted into ours only."""
    font = next(Path("/usr/share/fonts").rglob("LiberationSans-Regular.ttf"))
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        archive.add(font, arcname="one.ttf")
        text = f"FROM {engine.containers(RUN)[0]['Image']}\nCOPY one.ttf /usr/share/fonts/\n".encode()
        info = tarfile.TarInfo("Dockerfile")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text))
    context.seek(0)
    name = "users-own/browser:test"
    for record in engine.api.build(fileobj=context, custom_context=True, tag=name, rm=True, forcerm=True, decode=True):
        assert "error" not in record, record
    yield name
    engine.api.remove_image(name, force=True)


async def test_an_image_of_ones_own(contained: Chromium, own_image: str, start: Start, engine: DockerEngine) -> None:
    """It needs Python, a Chromium and fonts; what is missing is said."""
    assert contained.contained is not None
    program = contained.contained.told.program
    supply = await start("/", contained=Container(image=own_image), executable=program)
    env = await supply.open()
    assert "Hello you" in (await env.observe()).text
    await env.close()
    with pytest.raises(SandboxStartFailed, match=r"has no Chromium at .*executable="):
        await start("/", contained=Container(image=own_image))
    with pytest.raises(SandboxStartFailed, match=r"has no fonts, .*fonts-liberation"):
        await start("/", contained=Container(image=engine.containers(RUN)[0]["Image"]), executable=program)
    with pytest.raises(
        SandboxStartFailed, match=r"(?s)python[\d.]+, in its container, does not start.*container said: .*option"
    ):
        await start("/", contained=Container(image=own_image), executable="python3")


def run_id(folder: Path) -> str:
    """The id of the only run that is kept there."""
    [run] = (folder / "runs").iterdir()
    return run.name


STARTING = """
import asyncio, pathlib, sys
from branchwise.web.chromium import Chromium, Launch
from branchwise.web import Container
async def main():
    await Chromium.lease(Launch(contained=Container(memory_mb=512, scratch_mb=64)), sys.argv[1])
    print("there", flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


async def test_a_killed_process_leaves_no_container(engine: DockerEngine) -> None:
    """After SIGKILL of whoever has started it the container ends by itself, and its driver and relay do too."""
    run = RUN + "-killed"
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STARTING, run, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert client.stdout is not None
    assert await asyncio.wait_for(client.stdout.readline(), 60) == b"there\n"
    below = psutil.Process(client.pid).children(recursive=True)
    assert engine.containers(run)
    client.send_signal(signal.SIGKILL)
    await client.wait()
    deadline = time.monotonic() + 30
    while engine.containers(run) or any(process.is_running() and process.status() != "zombie" for process in below):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_what_cannot_work_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: DockerEngine) -> None:
    """A window, no engine, an image or a program that is not there, and too little memory."""
    with pytest.raises(ValueError, match="no display"):
        Browser("https://example.org/", headed=True, contained=True)
    with pytest.raises(ValueError, match="scratch counts as memory"):
        Container(memory_mb=512, scratch_mb=512)
    for settings, words in (
        ({"contained": Container(image="nobodys/image:1")}, "has no image 'nobodys/image:1'"),
        ({"contained": True, "executable": "/nowhere/chrome"}, "no program '/nowhere/chrome'"),
    ):
        with pytest.raises(SandboxStartFailed, match=words):
            await Browser("https://example.org/", **settings).start(RUN + "-refused", tmp_path)
    assert engine.containers(RUN + "-refused") == []
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(SandboxStartFailed, match="no Docker engine answers"):
        await Browser("https://example.org/", contained=True).start(RUN + "-refused", tmp_path)
