"""Work spaces side by side in one sandbox: forks by mounts, and that what they report is what is there."""

from __future__ import annotations

import asyncio
import json
import random
import textwrap
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from branchwise.core.types import Python
from branchwise.sandboxes import Docker
from branchwise.sandboxes import manifest as manifests
from branchwise.sandboxes.environment import WorkerEnvironment, WorkerSandboxes
from branchwise.sandboxes.manifest import Manifest

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def supply(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WorkerSandboxes]:
    """A supply of sandboxes with small limits."""
    spec = Docker(memory_mb=256, workspace_mb=48, scratch_mb=16, pids=40, max_idle=2)
    made = await spec.start("test-branches", tmp_path_factory.mktemp("store"))
    yield made
    await made.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def env(supply: WorkerSandboxes) -> AsyncIterator[WorkerEnvironment]:
    """An environment with an empty work space, in a sandbox that has branches."""
    environment = await supply.open()
    assert environment._space is not None
    if not environment._space.guest.has_branches:
        pytest.skip("this machine's engine or kernel does not let containers make overlay mounts")
    yield environment
    await environment.close()


async def whole(environment: WorkerEnvironment) -> Manifest:
    """Return the manifest as a walk over all files finds it."""
    space = environment._space
    assert space is not None
    _, text = await space._call("manifest", {})
    return manifests.parse(json.loads(text))


MEDDLE = textwrap.dedent(
    """
    import os, random, shutil, sys
    chance = random.Random(int(sys.argv[1]))
    for _ in range(12):
        folders = [root for root, _, _ in os.walk(".")]
        files = [os.path.join(root, name) for root, _, names in os.walk(".") for name in names]
        inner = folders[1:]
        kind = chance.randrange(12)
        fresh = os.path.join(chance.choice(folders), "n%d" % chance.randrange(8))
        try:
            if kind <= 2 and (os.path.isfile(fresh) or not os.path.lexists(fresh)):
                with open(fresh, "w") as file: file.write(str(chance.random()))
            elif kind == 3: os.makedirs(os.path.join(fresh, "in", "side"))
            elif kind == 4 and files: os.unlink(chance.choice(files))
            elif kind == 5 and inner: shutil.rmtree(chance.choice(inner))
            elif kind == 6 and files: os.replace(chance.choice(files), fresh)
            elif kind == 7: os.symlink(chance.choice(["nowhere", "..", "/etc/passwd"]), fresh)
            elif kind == 8 and files: os.chmod(chance.choice(files), chance.choice([0o600, 0o755, 0o000]), follow_symlinks=False)
            elif kind == 9 and inner:
                old = chance.choice(inner); shutil.rmtree(old); open(old, "w").close()
            elif kind == 10 and files:
                old = chance.choice(files); os.unlink(old); os.makedirs(os.path.join(old, "now"))
            elif kind == 11:
                if chance.random() < .5: os.mkfifo(fresh)
                else: os.makedirs(os.path.join(chance.choice(folders), "__pycache__"), exist_ok=True)
        except (OSError, NotImplementedError):
            pass
    """
)


@pytest.mark.parametrize("seed", range(6))
async def test_changes_add_up_to_what_is_there(supply: WorkerSandboxes, env: WorkerEnvironment, seed: int) -> None:
    """Whatever a guest does to its files: base and changes together are what a walk over everything finds."""
    chance = random.Random(seed)
    states: list[tuple[str, Manifest]] = []
    for turn in range(12):
        result = await env.exec(Python(MEDDLE, (str(1000 * seed + turn),)), timeout_seconds=20)
        assert result.ok, result.stderr
        expected = await whole(env)
        assert env._space is not None
        assert await env._space.manifest(supply.store) == expected
        if chance.random() < 0.7:
            ref = await env.snapshot()
            assert supply.store.manifest(ref) == expected
            states.append((ref, expected))
        if states and chance.random() < 0.3:
            ref, then = chance.choice(states)
            await env.restore(ref)
            assert await whole(env) == then


async def test_both_sides_of_a_fork_go_on_by_themselves(supply: WorkerSandboxes, env: WorkerEnvironment) -> None:
    """Neither sees what the other does, in the work space and in scratch space, however often they take turns."""
    await env.write("shared", b"before")
    await env.exec("echo mine > /tmp/note")
    child = await env.fork()
    for turn in range(3):
        await env.write("shared", b"parent %d" % turn)
        await child.write("shared", b"child %d" % turn)
        assert await env.read("shared") == b"parent %d" % turn
        assert await child.read("shared") == b"child %d" % turn
        assert (await child.exec("ls /tmp")).stdout == ""
        assert (await env.exec("cat /tmp/note")).stdout == "mine\n"
    assert env._space is not None
    assert child._space is not None
    assert child._space.guest is env._space.guest
    grandchild = await child.fork()
    await child.close()
    assert await grandchild.read("shared") == b"child 2"
    await grandchild.close()
    assert await env.read("shared") == b"parent 2"


async def test_fork_of_a_sandbox_at_work_goes_elsewhere(env: WorkerEnvironment) -> None:
    """A fork does not wait for its parent's program."""
    await env.write("file", b"content")
    child = await env.fork()
    working = asyncio.create_task(env.exec(["sleep", "30"], timeout_seconds=30))
    await asyncio.sleep(0.1)
    assert await child.read("file") == b"content"
    assert not working.done()
    working.cancel()
    await asyncio.wait([working])
    await child.close()


async def test_deep_lines_of_forks(supply: WorkerSandboxes) -> None:
    """A line longer than the layers that a mount takes is put on a single one, with nothing lost."""
    line = await supply.open()
    for depth in range(95):
        await line.write(f"d{depth % 7}/f{depth}", b"%d" % depth)
        child = await line.fork()
        await line.close()
        line = child
    files = await line.list()
    assert len(files) == 95
    assert await line.read("d0/f0") == b"0"
    assert (await line.exec("stat -c '%u %a' d0/f0")).stdout == "65532 644\n"
    await line.close()


async def test_limit_of_the_work_space_holds_beside_other_states(
    supply: WorkerSandboxes, env: WorkerEnvironment
) -> None:
    """States kept at hand take nothing away from a work space, and give it nothing."""
    fill = Python("import os\nfor n in range(%d): open(f'big{n}', 'wb').write(os.urandom(1 << 20))")
    for _ in range(4):
        result = await env.exec(Python(fill.code % 40))
        assert result.ok, result.stderr
        await env.snapshot()
        await env.restore(supply.store.empty_ref)
    result = await env.exec(Python(fill.code % 60))
    assert "No space left on device" in result.stderr
    assert 40 <= len(await env.list()) <= 49


async def test_nothing_of_a_branch_is_in_reach_of_another(env: WorkerEnvironment) -> None:
    """A guest can name no other branch's files, cannot mount, and sees no mount but its own."""
    await env.write("secret", b"do not find this")
    child = await env.fork()
    await child.remove("secret")
    looked = await child.exec(
        "find / -xdev -name secret 2>/dev/null; find /workspace /tmp /dev/shm -name secret; ls -a /workspace; "
        "grep -c overlay /proc/self/mountinfo; cat /workspace/.branches/* 2>&1"
    )
    assert "do not find" not in looked.stdout
    assert "secret" not in looked.stdout
    tried = await child.exec(
        Python(
            "import ctypes, os\n"
            "libc = ctypes.CDLL(None, use_errno=True)\n"
            "print(libc.unshare(0x10000000), ctypes.get_errno())\n"
            "print(libc.mount(b'tmpfs', b'/tmp', b'tmpfs', 0, b''), ctypes.get_errno())\n"
            "print(libc.umount2(b'/workspace', 2), ctypes.get_errno())\n"
            "print(open('/proc/self/status').read().count('CapEff:\\t0000000000000000'))\n"
        )
    )
    assert tried.stdout == "-1 1\n-1 1\n-1 1\n1\n"
    await child.close()
