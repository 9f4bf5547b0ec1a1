"""One supply of sandboxes per kind and module: the same tests run over all kinds."""

from __future__ import annotations

import textwrap
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from branchwise.core.protocols import Sandboxes
from branchwise.sandboxes import Docker, Local
from branchwise.sandboxes.environment import WorkerEnvironment

KINDS = {"docker": Docker, "local": Local}

PROOF = textwrap.dedent(
    """
    import os, socket, sys
    # Refuses to do any harm unless this is the guest of a sandbox.
    if not (os.environ.get("BRANCHWISE_SANDBOX") == "1" and os.getuid() == 65532 and socket.gethostname() == "sandbox"
            and open("/proc/1/cmdline").read().startswith("python3") and not os.path.exists("/home")):
        sys.exit("not in a sandbox")
    """
)


@pytest.fixture(scope="session")
def hostile() -> Callable[[str], list[str]]:
    """Turn a hostile program into a command that first proves that it is inside of a sandbox."""
    return lambda program: ["python3", "-c", PROOF + textwrap.dedent(program)]


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=[pytest.param("docker", marks=pytest.mark.docker), "local"]
)
async def supply(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandboxes]:
    """A supply of sandboxes of each kind, with small limits that tests can reach."""
    spec = KINDS[request.param](memory_mb=256, workspace_mb=48, scratch_mb=16, pids=40, max_idle=2)
    made = await spec.start(f"test-{request.param}", tmp_path_factory.mktemp("store"))
    yield made
    await made.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def env(supply: Sandboxes) -> AsyncIterator[WorkerEnvironment]:
    """An environment with an empty work space."""
    environment = await supply.open()
    assert isinstance(environment, WorkerEnvironment)
    yield environment
    await environment.close()
