"""Chunks on their way through an engine: in its pool, and in a batch on its device."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .interface import BatchSlot, Launched
from .reports import BatchReport
from .scheduler import BatchCostModel
from .tickets import Ticket


@dataclass(slots=True, eq=False)
class Chunk:
    """One chunk of a ticket, waiting in the pool."""

    ticket: Ticket
    index: int
    length: int
    key: Hashable
    #: When it arrived, on time.perf_counter.
    since: float
    #: What the model takes.
    features: Any


class Launch(NamedTuple):
    """What a batch costs its engine's thread. Zeros for one that is computed by its launch."""

    #: Seconds until the device worked on it.
    seconds: float
    #: Seconds of work since the launch before it: this launch, messages, answers.
    host_seconds: float


@dataclass(slots=True, eq=False)
class InFlight:
    """A batch that was launched and is not read back."""

    #: How many were launched up to it.
    number: int
    batch: list[Chunk]
    #: Of each chunk, its ticket.
    tickets: list[Ticket]
    launched: Launched
    #: When its launch began, on time.perf_counter.
    start: float
    #: Seconds that the device had nothing to do before it.
    idle: float
    #: What it costs this thread.
    launch: Launch

    def ends_soon(self, idle_since: float, cost: BatchCostModel) -> bool:
        """Whether the device has finished, or will before another batch could be launched.

        `idle_since` is when the batch before it ended.
        """
        begun, speed = max(self.start, idle_since), cost.tokens_per_second
        left = begun - time.perf_counter() + padded(self.batch) / speed if speed else 1.0
        return left < cost.launch_seconds or self.launched.done()

    def report(self, seconds: float) -> BatchReport:
        """What it was, once it has taken `seconds`."""
        return BatchReport(
            rows=len(self.batch),
            tokens=sum(chunk.length for chunk in self.batch),
            padded=padded(self.batch),
            seconds=seconds,
            waited=self.start - min(chunk.since for chunk in self.batch),
            idle=self.idle,
        )


def chunks_of(tickets: Sequence[Ticket], slots: Iterable[BatchSlot]) -> list[Chunk]:
    """The chunks of a session's tickets, whose features they take, at these slots in order."""
    now, following = time.perf_counter(), iter(slots)
    chunks = []
    for ticket in tickets:
        features, ticket.features = ticket.features, []
        ticket.outputs = [None] * len(features)
        ticket.remaining = len(features)
        session, isolated = ticket.session.key, id(ticket) if ticket.run_isolated else None
        for i, part in enumerate(features):
            slot = next(following)
            key = (session, slot.key, isolated)
            chunks.append(Chunk(ticket, i, slot.length, key, now, part))
    return chunks


def padded(batch: Sequence[Chunk]) -> int:
    """The padded tokens of a batch."""
    return max(chunk.length for chunk in batch) * len(batch)
