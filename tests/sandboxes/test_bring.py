"""What a user may bring along: Dockerfiles, devcontainers, set-up commands, mounts."""

from __future__ import annotations

import io
import logging
import os
import secrets
import subprocess
import tarfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from branchwise.core.errors import SandboxStartFailed, UsageError
from branchwise.sandboxes import Docker, Mount
from branchwise.sandboxes.build import BUILT, STEP_LABEL, ensure_built, labelled, pack_context
from branchwise.sandboxes.devcontainer import read_devcontainer
from branchwise.sandboxes.docker_engine import DockerEngine
from branchwise.sandboxes.image import ensure_base_image
from branchwise.sandboxes.image_setup import SET_UP
from branchwise.sandboxes.owner import LABEL
from branchwise.sandboxes.recipe import Recipe

SMALL = Docker(memory_mb=256, workspace_mb=48, scratch_mb=16, max_idle=0)


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerEngine]:
    """A connection to the engine; the images that the tests make are removed afterwards."""
    connected = DockerEngine.connect()
    before = names(connected)
    yield connected
    for name in names(connected) - before:
        connected.api.remove_image(name, force=True)
    connected.close()


def names(engine: DockerEngine) -> set[str]:
    """Return the names of the images that were built or set up."""
    return {
        tag
        for image in engine.api.images()
        for tag in image["RepoTags"] or ()
        if tag.partition(":")[0] in {BUILT, SET_UP}
    }


@pytest.fixture
def base(engine: DockerEngine) -> str:
    """The made image, which stands for one from a registry."""
    return ensure_base_image(engine, ("pytest",))


def write(folder: Path, files: dict[str, str]) -> Path:
    """Make a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return folder


async def ask(spec: Docker, command: str, store: Path) -> str:
    """Return what a command says in a sandbox."""
    supply = await spec.start("test-bring", store)
    environment = await supply.open()
    result = await environment.exec(command)
    await environment.close()
    await supply.aclose()
    return result.stdout + result.stderr


# --- contexts ---------------------------------------------------------------------------------------------------------


def members(recipe: Recipe) -> tuple[str, dict[str, tarfile.TarInfo]]:
    """Return the address of a context, and what it holds."""
    packed = io.BytesIO()
    address = pack_context(recipe, packed)
    with tarfile.open(fileobj=packed) as archive:
        return address, {member.name: member for member in archive}


def test_contexts_have_content_addresses(tmp_path: Path) -> None:
    """Same content, same address, whoever wrote it and when; any change of a file that counts changes it."""
    files = {
        "Dockerfile": "FROM x\n",
        "a": "1",
        "b/c": "2",
        "ignored/d": "3",
        ".dockerignore": "ignored\n# note\n*.log\n!kept.log\n",
    }
    first = write(tmp_path / "first", files | {"x.log": "", "kept.log": ""})
    second = write(tmp_path / "second", files | {"ignored/e": "4", "kept.log": ""})
    os.utime(second / "a", (1, 1))
    address, held = members(Recipe(first, first / "Dockerfile"))
    assert members(Recipe(second, second / "Dockerfile"))[0] == address
    assert {"a", "b/c", "kept.log"} <= held.keys()
    assert not {"ignored", "ignored/d", "x.log"} & held.keys()
    assert {member.uid for member in held.values()} == {0}
    others = {address}
    for change in ({"a": "2"}, {"Dockerfile": "FROM y\n"}, {"e": ""}):
        write(second, change)
        others.add(members(Recipe(second, second / "Dockerfile"))[0])
    others.add(members(Recipe(second, second / "Dockerfile", {"VERSION": "1"}))[0])
    (second / "a").chmod(0o755)
    others.add(members(Recipe(second, second / "Dockerfile"))[0])
    assert len(others) == 6


def test_odd_files_in_contexts(tmp_path: Path) -> None:
    """Links stay links, pipes and sockets are left out, a hard link is a file."""
    folder = write(tmp_path / "odd", {"Dockerfile": "FROM x\n", "a": "1"})
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to("/etc/shadow")
    os.link(folder / "a", folder / "hard")
    _, held = members(Recipe(folder, folder / "Dockerfile"))
    assert "pipe" not in held
    assert held["link"].issym()
    assert held["a"].isreg()
    assert held["hard"].isreg()
    with pytest.raises(UsageError, match="cannot be read"):
        members(Recipe(folder, folder / "Nothing"))


def test_every_stage_is_labelled() -> None:
    """What a build leaves half done is known as ours; text that only looks like a stage is left alone."""
    dockerfile = "ARG A=1\nFROM a AS one\nRUN echo \\\n  from here \\\n# note\n  on\nfrom b\nCOPY --from=one /x /x\n"
    mark = f"LABEL {LABEL}=image {STEP_LABEL}=yes"
    assert labelled(dockerfile).splitlines() == [
        "ARG A=1", "FROM a AS one", mark, "RUN echo \\", "  from here \\", "# note", "  on", "from b", mark,
        "COPY --from=one /x /x",
    ]  # fmt: skip


# --- builds -----------------------------------------------------------------------------------------------------------


@pytest.mark.docker
async def test_folder_with_a_dockerfile(
    engine: DockerEngine, base: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is built once, with what the context has, and found again; every step is shown."""
    caplog.set_level(logging.INFO)
    folder = write(
        tmp_path / "app",
        {
            "Dockerfile": f"FROM {base}\nCOPY motto /etc/motto\nENV COLOUR=green\nRUN echo built > /etc/built\n",
            "motto": "search\n",
            "never-built": secrets.token_hex(),
        },
    )
    spec = SMALL.model_copy(update={"build": folder})
    assert (
        await ask(spec, "cat /etc/motto /etc/built; echo $COLOUR; id -u", tmp_path / "s")
        == "search\nbuilt\ngreen\n65532\n"
    )
    assert "Step 4/" in caplog.text
    caplog.clear()
    begun = time.monotonic()
    name = ensure_built(engine, Recipe(folder, folder / "Dockerfile"), "test-bring")
    assert time.monotonic() - begun < 2
    assert "Step" not in caplog.text
    labels = engine.image(name)["Config"]["Labels"]
    assert labels[LABEL] == "image"
    assert labels[STEP_LABEL] == ""


@pytest.mark.docker
@pytest.mark.parametrize(
    ("dockerfile", "words"),
    [
        (
            "FROM {base}\nRUN echo broken pipe fitting >&2; exit 3\n",
            r"Step 3/.*RUN echo broken.*code: 3.*\(it said: .*broken pipe fitting",
        ),
        ("FROM {base}\nCOPY missing /x\n", "COPY missing /x.*missing"),
        ("FROM {base}\nNONSENSE\n", "unknown instruction: NONSENSE.*no BuildKit syntax"),
        ("FROM no.registry.invalid/x:1\n", "neither in the engine nor can it be pulled"),
    ],
)
async def test_failing_builds_are_told(base: str, dockerfile: str, words: str, tmp_path: Path) -> None:
    """One message says which step failed, why, and what it said last."""
    folder = write(tmp_path / "app", {"Dockerfile": dockerfile.format(base=base)})
    with pytest.raises(SandboxStartFailed, match=words) as error:
        await SMALL.model_copy(update={"build": folder}).start("test-bring", tmp_path / "s")
    assert "\n" not in str(error.value)


@pytest.mark.docker
async def test_folder_without_anything_is_told(tmp_path: Path) -> None:
    """A folder in which there is nothing to build from is named."""
    with pytest.raises(UsageError, match="the Dockerfile .* cannot be read"):
        await SMALL.model_copy(update={"build": tmp_path}).start("test-bring", tmp_path / "s")


# --- devcontainers ----------------------------------------------------------------------------------------------------


def test_devcontainer_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Comments and trailing commas are fine; what cannot be followed is named, nothing of this machine's environment is taken."""
    folder = write(tmp_path, {".devcontainer/devcontainer.json": r"""
        // what this is
        {
            "name": "it // is no comment",
            "build": {"dockerfile": "Dockerfile", "context": "..", "args": {"V": "1", "K": "${localEnv:HOME}"}, "target": "dev"},
            "containerEnv": {"A": "x,}", "HERE": "${containerWorkspaceFolder}/a", "TOKEN": "${localEnv:TOKEN}"},
            "postCreateCommand": {"one": "echo 1", "two": ["echo", "it's"]}, /* done
            later */ "onCreateCommand": "echo 0",
            "remoteUser": "vscode", "runArgs": ["--privileged"], "mounts": [], "customizations": {"vscode": {}},
        }
    """})  # fmt: skip
    found = read_devcontainer(folder / ".devcontainer" / "devcontainer.json")
    assert found.recipe == Recipe(folder, folder / ".devcontainer" / "Dockerfile", {"V": "1"}, "dev")
    assert found.image is None
    assert found.project == folder
    assert found.commands == ("echo 0", "echo 1", "echo 'it'\"'\"'s'")
    assert found.environment == {"A": "x,}", "HERE": "/workspace/a"}
    assert (
        "not followed: mounts (use mounts=), remoteUser (programs run as the sandbox's own user), runArgs"
        in caplog.text
    )
    assert "TOKEN='${localEnv:TOKEN}'" in caplog.text
    assert "customizations" not in caplog.text


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "cannot be read"), ("[]", "the file must be an object"), ("{}", "neither an 'image'"), ('{"dockerComposeFile": "x"}', "services"),
     ('{"image": "x", "postCreateCommand": 3}', "must be a text")],
)  # fmt: skip
def test_devcontainers_that_cannot_be_followed(text: str, words: str, tmp_path: Path) -> None:
    """What makes no sandbox is refused in words."""
    path = write(tmp_path, {"devcontainer.json": text}) / "devcontainer.json"
    with pytest.raises(UsageError, match=words):
        read_devcontainer(path)


@pytest.mark.docker
async def test_devcontainer_becomes_a_sandbox(base: str, tmp_path: Path) -> None:
    """Image, variables and commands of a devcontainer are the sandbox's; the project's files are there for the commands."""
    folder = write(tmp_path / "project", {
        ".devcontainer/devcontainer.json": f"""{{"image": "{base}", "containerEnv": {{"COLOUR": "blue"}},
            "postCreateCommand": "cp requirements.txt /etc/wanted && whoami > /etc/who"}}""",
        "requirements.txt": "numpy\n",
    })  # fmt: skip
    said = await ask(
        SMALL.model_copy(update={"build": folder}), "cat /etc/wanted /etc/who; echo $COLOUR; ls -A", tmp_path / "s"
    )
    assert said == "numpy\nroot\nblue\n"


# --- set-up commands --------------------------------------------------------------------------------------------------


@pytest.mark.docker
async def test_set_up_runs_once(engine: DockerEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Commands run as root over the image, find their files, and are not run again until they or the files change."""
    caplog.set_level(logging.INFO)
    before = names(engine)
    folder = write(tmp_path / "files", {"deep/list": "a\n", "never-set-up": secrets.token_hex()})
    single = write(tmp_path, {"tool.sh": "echo tool\n"}) / "tool.sh"
    spec = SMALL.model_copy(
        update={
            "setup": (
                "cat deep/list > /etc/list && sh tool.sh >> /etc/list; id -u >> /etc/list",
                "echo $COLOUR >> /etc/list",
            ),
            "setup_files": (folder, single),
            "env": {"COLOUR": "red"},
        }
    )
    assert (
        await ask(spec, "cat /etc/list; ls -A; ls -ld /workspace | cut -c1-10", tmp_path / "s")
        == "a\ntool\n0\nred\ndrwxrwxrwt\n"
    )
    made = names(engine)
    kept = engine.image(*(made - before))["Config"]
    assert not [line for line in kept["Env"] if line.startswith("COLOUR")]
    assert kept["Entrypoint"] == ["python3"]
    assert kept["Labels"][LABEL] == "image"
    assert "1/2: cat deep/list" in caplog.text
    caplog.clear()
    assert "red" in await ask(spec, "cat /etc/list", tmp_path / "s")
    assert "setting up" not in caplog.text
    assert names(engine) == made
    write(folder, {"deep/list": "b\n"})
    assert (await ask(spec, "cat /etc/list", tmp_path / "s")).startswith("b\n")
    assert len(names(engine)) == len(made) + 1
    assert engine.containers("test-bring") == []


@pytest.mark.docker
async def test_set_up_that_fails_is_told(engine: DockerEngine, tmp_path: Path) -> None:
    """The message has the command and what it said; nothing is kept."""
    before = names(engine)
    spec = SMALL.model_copy(update={"setup": ("echo fine", "echo no such thing >&2; exit 4")})
    with pytest.raises(SandboxStartFailed, match="ended with status 4: no such thing"):
        await spec.start("test-bring", tmp_path)
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        await spec.model_copy(update={"setup_files": (tmp_path / "none",)}).start("test-bring", tmp_path)
    assert names(engine) == before
    assert engine.containers("test-bring") == []


@pytest.mark.docker
async def test_set_up_gets_no_secrets_and_no_network(tmp_path: Path) -> None:
    """What is kept as an image has seen no secret, and reached nothing that the sandbox may not."""
    probe = (
        "python3 -c \"import socket; print(socket.create_connection(('1.1.1.1', 80), 2))\" 2>&1 | tail -1 > /etc/probe"
    )
    spec = Docker(
        **SMALL.model_dump(exclude={"setup", "secrets"}),
        setup=(probe, 'echo "<$TOKEN>" >> /etc/probe'),
        secrets={"TOKEN": "a-long-token"},
    )
    said = await ask(spec, 'cat /etc/probe; test -n "$TOKEN" && echo there', tmp_path)
    assert said == "OSError: [Errno 101] Network is unreachable\n<>\nthere\n"


# --- mounts -----------------------------------------------------------------------------------------------------------


@pytest.mark.docker
async def test_mounts(tmp_path: Path) -> None:
    """Read-only unless said otherwise; what is written is outside of states, and shows on this machine."""
    data = write(tmp_path / "data", {"a": "1\n"})
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    spec = SMALL.model_copy(update={"mounts": (Mount(data, "/data"), Mount(shared, "/shared", writable=True))})
    assert "WRITES to" in spec.isolation
    supply = await spec.start("test-mounts", tmp_path / "s")
    environment = await supply.open()
    assert environment.capability == "irreversible"
    result = await environment.exec("cat /data/a; echo x > /data/b; echo 2 > /shared/c; touch file")
    assert result.stdout == "1\n"
    assert "Read-only file system" in result.stderr
    assert (shared / "c").read_text() == "2\n"
    assert await environment.list() == ["file"]
    await environment.close()
    await supply.aclose()


@pytest.mark.parametrize("target", ["data", "/", "/workspace", "/workspace/x", "/tmp/x", "/a/../b", "/proc/x", "/a//b"])
def test_mounts_do_not_cover_the_sandbox(target: str) -> None:
    """Targets that would take the place of the sandbox's own folders are refused."""
    with pytest.raises(ValueError, match="target="):
        Mount("/x", target)


@pytest.mark.parametrize(
    "source", ["/", "/proc", "/proc/1", "/sys/kernel", "/dev/null", "/var/run/docker.sock", "/run", "/no/such"]
)
def test_mounts_do_not_give_the_machine_away(source: str) -> None:
    """Sockets, devices and the kernel's own folders are no data."""
    with pytest.raises(SandboxStartFailed, match="mount"):
        Mount(source, "/x").settings()


@pytest.mark.docker
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts something")
async def test_what_is_mounted_below_is_not_seen(tmp_path: Path) -> None:
    """A read-only mount must not carry along a writable one from below it."""
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", inner], check=True)  # noqa: ASYNC221  # a moment
    try:
        (inner / "precious").write_text("")
        said = await ask(
            SMALL.model_copy(update={"mounts": (Mount(tmp_path / "outer", "/o"),)}),
            "ls /o/inner; touch /o/inner/x",
            tmp_path / "s",
        )
        assert "precious" not in said
        assert "Read-only" in said
    finally:
        subprocess.run(["umount", inner], check=True)  # noqa: ASYNC221  # a moment


def test_devcontainer_beside_a_dockerfile(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The Dockerfile is built, and the user reads how to have the other."""
    from branchwise.sandboxes.docker import _build_file

    folder = write(tmp_path, {"Dockerfile": "FROM x\n", ".devcontainer/devcontainer.json": "{}"})
    assert _build_file(folder) == folder / "Dockerfile"
    assert "name it in build=" in caplog.text
    assert _build_file(folder / ".devcontainer") == folder / ".devcontainer" / "devcontainer.json"
