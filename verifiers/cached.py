"""Judging equal answers once."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import TypeAlias
from weakref import WeakKeyDictionary

from ..core.errors import UsageError
from ..core.protocols import Candidate
from ..core.tree import TreeView
from ..core.types import NO_USAGE, Semantics, Verdict
from ..search.equivalence import Named, key
from .adapters import Around
from .combining import need_parts

_Known: TypeAlias = WeakKeyDictionary[TreeView, dict[Hashable, Verdict]]
_Locks: TypeAlias = WeakKeyDictionary[TreeView, dict[Hashable, asyncio.Lock]]


@dataclass(frozen=True)
class Cached(Around):
    """Judge equal answers once. Fifty trajectories often have five answers.

    What was judged is looked up in the run's own tree, so that a resumed run knows it, too.

    Args:
        verifier: one that looks at nothing but the answer.
        same: when answers are equal (`search.equivalence`): `exact`, `text` or `number`.
        name: shown beside its verdicts; unless given, the verifier's.
    """

    same: Named = "exact"
    name: str = ""
    _running: _Locks = field(default_factory=_Locks, init=False, repr=False, compare=False)
    _fresh: _Known = field(default_factory=_Known, init=False, repr=False, compare=False)
    """Verdicts that are not in the tree yet."""

    def __post_init__(self) -> None:
        need_parts("Cached", self.parts)
        if self.verifier.scope != "answer":
            raise UsageError(
                f"Cached: {self.verifier.name!r} judges states, and equal states are never judged twice anyway"
            )
        object.__setattr__(self, "name", self.name or self.verifier.name)

    @property
    def semantics(self) -> Semantics:
        """As the verifier's."""
        return self.verifier.semantics

    async def judge(self, candidate: Candidate) -> Verdict:
        """Return the verdict on an equal answer, or judge."""
        view = candidate.view
        if view is None or candidate.answer is None:
            return replace(await candidate.ask(self.verifier), verifier=self.name)
        what = key(candidate.answer, self.same)
        async with self._running.setdefault(view, {}).setdefault(what, asyncio.Lock()):
            known = self._known(view, what)
            if known is None:
                known = replace(await candidate.ask(self.verifier), verifier=self.name)
                self._fresh.setdefault(view, {})[what] = known
                return known
        return replace(known, calls=0, usage=NO_USAGE)

    def _known(self, view: TreeView, what: Hashable) -> Verdict | None:
        if (fresh := self._fresh.get(view, {}).get(what)) is not None:
            return fresh
        for node in view:
            if node.answer is not None and key(node.answer, self.same) == what:
                for verdict in view.verdicts(node.id):
                    if verdict.verifier == self.name and verdict.calls:
                        return verdict
        return None
