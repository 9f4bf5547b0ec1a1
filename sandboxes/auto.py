"""Docker where an engine answers, else the next best, with a notice."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from pydantic import Field

from ..core.errors import SandboxStartFailed
from .docker import Docker
from .door import brought
from .environment import WorkerSandboxes
from .launch import SandboxLimits
from .local import Local
from .unprotected import HostSandboxes, Unprotected

_log = logging.getLogger(__name__)


class Auto(SandboxLimits):
    """`Docker` where an engine answers, else `Local` with a warning that says what that isolates and what not.

    Where neither can be had it refuses, unless `or_unprotected=True` says that programs may then run as you, on this
    machine, with no isolation at all.
    """

    or_unprotected: bool = Field(default=False, description="whether programs may run without any sandbox, if need be")

    async def start(self, run_id: str, store: Path) -> WorkerSandboxes | HostSandboxes:
        """Return a supply of sandboxes whose snapshots live in the folder `store`; its `isolation` says of which kind.

        Raises:
            SandboxStartFailed: neither kind can be had here.
        """
        from .docker_engine import DockerEngine  # the client library takes its time to load

        limits = self.model_dump(exclude={"or_unprotected"})
        try:
            engine = await brought(asyncio.to_thread(DockerEngine.connect), DockerEngine.close)
        except SandboxStartFailed as no_engine:
            try:
                supply = await Local(**limits).start(run_id, store)
            except SandboxStartFailed as no_namespaces:
                if self.or_unprotected:
                    _log.warning("%s; %s", no_engine, no_namespaces)
                    return await Unprotected(**limits, code_may_do_anything=True).start(run_id, store)
                raise SandboxStartFailed(f"no sandbox can run here. {no_engine}. {no_namespaces}") from no_engine
            _log.warning("%s; running without an engine: %s", no_engine, supply.isolation)
            return supply
        engine.close()
        return await Docker(**limits).start(run_id, store)
