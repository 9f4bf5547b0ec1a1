# LangGraph's signatures are partly untyped.
# pyright: reportUnknownMemberType=false
"""An append-only LangGraph channel and its SQLite saver, for journals that grow long.

The only module that knows `DeltaChannel` (beta in LangGraph 1.2) and the saver. A plain list with a reducer is rewritten
whole at every super-step, which grows with the square of the run; a delta channel stores only what was written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    PendingWrite,
)
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver

from .stored import CHAIN, WRITES

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig  # LangGraph brings it; its type is all that is needed


def _extend(journal: list[str], batches: Sequence[list[str]]) -> list[str]:
    """Append in place: a copy per super-step would make the run quadratic in time."""
    for batch in batches:
        journal.extend(batch)
    return journal


class JournalChannel(DeltaChannel[list[str]]):
    """A delta channel that is held in memory only until the process has read it.

    Its base keeps every batch of the run in memory, though nobody reads them before the next process, and writes a snapshot
    of them all every 5,000 super-steps, which makes the file grow with the square of the run. A channel that says it is not
    available is neither read nor snapshotted; so a snapshot is taken at most once by each process that resumes a long run.
    """

    __slots__ = ("writes",)

    def __init__(
        self,
        reducer: Callable[[Any, Sequence[Any]], Any] = _extend,
        typ: Any = list,
        *,
        snapshot_frequency: int = 1_000_000_000,
    ) -> None:
        super().__init__(reducer, typ, snapshot_frequency=snapshot_frequency)
        self.writes = 0
        """How often it was written to since it was loaded."""

    def copy(self) -> Self:
        """Return a channel in the same state."""
        twin = super().copy()
        twin.writes = self.writes
        return twin

    def update(self, values: Sequence[Any]) -> bool:
        """Take in what a super-step wrote; LangGraph stores it in any case."""
        if not values:
            return False
        self.writes += 1
        if self.writes == 1:
            return super().update(values)
        self.value = []
        return True

    def is_available(self) -> bool:
        """Whether there may be something that this process has not read.

        The first write may be one that an earlier process had stored and LangGraph applies now. Every later one comes from
        a super-step of this process, which has read all that was there before.
        """
        return self.writes <= 1 and super().is_available()


class JournalSaver(SqliteSaver):
    """The SQLite saver for asynchronous graphs and for threads of any length.

    The asynchronous methods call the synchronous ones: to store a super-step takes some 50 us, to hand it over to the thread
    that LangGraph's own asynchronous saver runs takes longer, and a busy machine makes a search wait for it. Reads a delta
    channel without one SQL variable per super-step: SQLite allows 32,766 by default, and a longer run could not be resumed.
    """

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint."""
        return self.put(config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store what a task wrote."""
        self.put_writes(config, writes, task_id, task_path)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return a checkpoint, the newest unless `config` names one."""
        return self.get_tuple(config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Yield checkpoints, the newest first."""
        for saved in self.list(config, filter=filter, before=before, limit=limit):
            yield saved

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread."""
        self.delete_thread(thread_id)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what was written to each channel up to a checkpoint, from its last snapshot on."""
        return self.get_delta_channel_history(config=config, channels=channels)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what was written to each channel up to a checkpoint, from its last snapshot on."""
        head = self.get_tuple(config)
        if head is None:
            return {channel: {"writes": []} for channel in channels}
        where = head.config.get("configurable", {})
        keys = {"thread": str(where["thread_id"]), "ns": where.get("checkpoint_ns", ""), "head": where["checkpoint_id"]}
        with self.cursor(transaction=False) as cursor:
            return {channel: self._history(cursor, channel, keys) for channel in channels}

    def _history(self, cursor: sqlite3.Cursor, channel: str, keys: dict[str, str]) -> DeltaChannelHistory:
        """Walk from the head to the nearest snapshot, then collect the writes on the way, oldest first."""
        history: DeltaChannelHistory = {"writes": []}
        chain: list[str] = []
        for checkpoint_id, kind, blob in cursor.execute(CHAIN, keys):
            if checkpoint_id == keys["head"]:
                continue  # its own writes belong to the checkpoint that comes next
            chain.append(checkpoint_id)
            values: Mapping[str, Any] = self.serde.loads_typed((kind, blob)).get("channel_values") or {}
            if channel in values:
                history["seed"] = values[channel]
                break
        writes: dict[str, list[PendingWrite]] = {checkpoint_id: [] for checkpoint_id in chain}
        for checkpoint_id, task_id, kind, blob in cursor.execute(WRITES, keys | {"channel": channel}):
            if checkpoint_id in writes:
                writes[checkpoint_id].append((task_id, channel, self.serde.loads_typed((kind, blob))))
        history["writes"] = [write for checkpoint_id in reversed(chain) for write in writes[checkpoint_id]]
        return history


def strict_serializer() -> JsonPlusSerializer:
    """Return a serialiser that refuses to construct anything but plain data when it reads."""
    return JsonPlusSerializer(pickle_fallback=False, allowed_json_modules=None, allowed_msgpack_modules=None)
