"""States of a small repository, and candidates for verifiers to judge."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import branchwise as bw
from branchwise.core.protocols import Candidate, Environment, Sandboxes, Verifier
from branchwise.core.types import ROOT, Node, NodeId, Verdict


class Bench:
    """Judges states and answers."""

    def __init__(self, sandboxes: Sandboxes, origin: str | None) -> None:
        self.sandboxes = sandboxes
        self.origin = origin

    @asynccontextmanager
    async def open(self, ref: str | None) -> AsyncGenerator[Environment]:
        """Open an environment and close it."""
        environment = await self.sandboxes.open(ref)
        try:
            yield environment
        finally:
            await environment.close()

    async def state(self, files: Mapping[str, str | None], shell: str = "") -> str:
        """Return a state of the repository with files changed (None removes one), after a line for the shell."""
        async with self.open(self.origin) as environment:
            for path, content in files.items():
                if content is None:
                    await environment.exec(["rm", "-r", path])
                else:
                    await environment.write(path, content.encode())
            if shell:
                assert (await environment.exec(shell)).ok
            return await environment.snapshot()

    async def judge(
        self,
        verifier: Verifier,
        files: Mapping[str, str | None] | None = None,
        *,
        shell: str = "",
        answer: str | None = None,
    ) -> Verdict:
        """Judge the state that changes lead to."""
        ref = await self.state(files, shell) if files is not None else self.origin
        nodes = [Node(ROOT, None, None, self.origin), Node(NodeId(1), ROOT, None, ref, 1, answer=answer)]
        candidate = Candidate(bw.Task(prompt="x"), nodes, self.origin, self.open, self.sandboxes.diff)
        return await verifier.judge(candidate)
