"""Tickets that an engine's process has not answered: kept, to be sent to the next if it dies.

One of the elements in the batch that a process computed may be why it died. So each of them runs
in a batch of its own from then on, and fails if another process dies over it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..errors import BatchTimeoutError, EngineCrashError, EngineError
from ..tickets import Ticket
from . import pickling
from .arena import Arena, Span

_MAX_DEATHS = 3  # of processes over one element: in a batch with others, then twice isolated
_MAX_TIMEOUTS = 2  # of one element: in a batch with others, then isolated


@dataclass(slots=True)
class InFlightTicket:
    """A ticket as it crosses to the engine's process."""

    ticket: Ticket
    #: The features, pickled, and where in the arena their large tensors are.
    features: bytes
    spans: list[Span]
    #: Processes that died while they computed it.
    deaths: int = 0


class InFlightTickets:
    """Tickets that were submitted and are not answered, by number.

    Not safe for several threads by itself: whoever changes it holds a lock.
    """

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._numbers = itertools.count()
        self._tickets: dict[int, InFlightTicket] = {}
        #: Those in the batch that is computed.
        self._running: set[int] = set()
        #: When that batch began, on time.monotonic.
        self._running_since = 0.0

    def __len__(self) -> int:
        return len(self._tickets)

    def __iter__(self) -> Iterator[tuple[int, InFlightTicket]]:
        return iter(self._tickets.items())

    def add(self, ticket: Ticket) -> tuple[int, InFlightTicket]:
        """Take a ticket; its features are kept pickled. Raises what pickling them raises."""
        sent = InFlightTicket(ticket, *pickling.dumps(ticket.features, self._arena))
        ticket.features = []
        number = next(self._numbers)
        self._tickets[number] = sent
        return number, sent

    def begin(self, numbers: Sequence[int]) -> None:
        """A batch with these tickets, and no others of this worker's, is computed now."""
        self._running = {number for number in numbers if number in self._tickets}
        self._running_since = time.monotonic()

    def seconds_left(self, timeout: float) -> float | None:
        """Seconds until the batch that is computed has taken too long; None between batches."""
        if not self._running:
            return None
        return max(0.0, self._running_since + timeout - time.monotonic())

    def allow_more_time(self) -> None:
        """Count the time of the batch that is computed from now on."""
        self._running_since = time.monotonic()

    def pop(self, number: int) -> Ticket:
        """A ticket that is answered: it is not kept any more, nor is its place in the arena."""
        self._running.discard(number)
        return self._remove(number)

    def drop_cancelled(self) -> None:
        """Keep no ticket whose session is cancelled."""
        for number in [n for n, sent in self if sent.ticket.session.cancelled]:
            self._remove(number)

    def process_died(self, timeout: float | None, reason: str) -> None:
        """Isolate the tickets that were computed when the process died, or have them fail.

        Args:
          timeout: the seconds after which it was killed; None: it was not.
          reason: why it died.

        """
        for number in self._running & self._tickets.keys():
            self._isolate(number, timeout, reason)
        self._running = set()

    def _isolate(self, number: int, timeout: float | None, reason: str) -> None:
        sent = self._tickets[number]
        ticket = sent.ticket
        sent.deaths += 1
        ticket.run_isolated = True
        ticket.attempts = sent.deaths
        error: Exception
        if timeout is not None and sent.deaths >= _MAX_TIMEOUTS:
            error = BatchTimeoutError(f"no answer within {timeout} s, in a batch of its own")
        elif sent.deaths >= _MAX_DEATHS:
            error = EngineCrashError(f"the engine's process died over this element: {reason}")
        else:
            ticket.attempts += 1
            return
        self._remove(number).fail(error)

    def fail_all(self, reason: str) -> None:
        """Have all tickets fail with an EngineError."""
        for _, sent in self:
            sent.ticket.fail(EngineError(reason))
        self._tickets.clear()

    def _remove(self, number: int) -> Ticket:
        sent = self._tickets.pop(number)
        self._arena.free(sent.spans)
        return sent.ticket
