"""Chunks on their way through an engine: in its pool, and in a batch on its device."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from .interface import Launched
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
    #: Seconds that launching it took.
    launch: float


def padded(batch: Sequence[Chunk]) -> int:
    """The padded tokens of a batch."""
    return max(chunk.length for chunk in batch) * len(batch)
