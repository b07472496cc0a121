"""Tickets that an engine's process has not answered: kept, to be sent to the next if it dies.

One of the elements in the batch that a process computed may be why it died. So each of them runs
in a batch of its own from then on, and fails if another process dies over it.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..blocks import Block, Layout, layout_of
from ..errors import BatchTimeoutError, EngineCrashError
from ..tickets import BundleSession, Ticket
from . import pickling
from .arena import Arena, Span
from .protocol import SubmitTickets

logger = logging.getLogger(__name__)

_MAX_DEATHS = 3  # of processes over one element: in a batch with others, then twice isolated
_MAX_TIMEOUTS = 2  # of one element: in a batch with others, then isolated
_SMALL = 1024  # bytes: what is larger is in the arena, so that a socket holds many messages


@dataclass(slots=True, eq=False)
class _Features:
    """The features of several tickets, as they cross to the engine's process."""

    #: Pickled, but for the large arrays. None: where the last span says.
    pickled: bytes | None
    #: Where in the arena those are.
    spans: list[Span]
    #: Tickets that are not answered.
    users: int


@dataclass(slots=True)
class _InFlightTicket:
    ticket: Ticket
    features: _Features
    #: Where in the features its chunks are.
    start: int
    count: int
    #: Processes that died while they computed it.
    deaths: int = 0


class InFlightTickets:
    """Tickets that were submitted and are not answered, by number.

    Not safe for several threads by itself: whoever changes it holds a lock.
    """

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._numbers = itertools.count()
        self._tickets: dict[int, _InFlightTicket] = {}
        #: Those in the batch that is computed.
        self._running: set[int] = set()
        #: Those in a batch that was launched behind it.
        self._following: set[int] = set()
        #: The number of the batch that is computed.
        self._batch = -1
        #: When it began, on time.monotonic.
        self._running_since = 0.0

    def __len__(self) -> int:
        return len(self._tickets)

    def add(self, tickets: Sequence[Ticket]) -> list[int]:
        """Take tickets of one session; their features are kept as they cross.

        Those whose features cannot be pickled fail.

        Returns:
          The numbers of the others.

        """
        numbers: list[int] = []
        for layout, group in itertools.groupby(tickets, _layout):
            together = list(group)
            if layout is not None:
                chunks = [chunk for ticket in together for chunk in ticket.features]
                try:
                    numbers += self._keep(together, Block.of(layout, chunks))
                    continue
                except Exception:  # of one of them: apart, it alone fails
                    logger.debug("features do not cross together", exc_info=True)
            for ticket in together:
                try:
                    numbers += self._keep([ticket], ticket.features)
                except Exception as error:
                    ticket.fail(error)
        return numbers

    def _keep(self, tickets: Sequence[Ticket], features: Any) -> list[int]:
        pickled: bytes | None
        pickled, spans = pickling.dumps(features, self._arena)
        if len(pickled) > _SMALL and (span := self._arena.put(memoryview(pickled))) is not None:
            pickled = None
            spans.append(span)
        kept = _Features(pickled, spans, len(tickets))
        numbers, start = [], 0
        for ticket in tickets:
            count = len(ticket.features)
            ticket.features = []
            numbers.append(next(self._numbers))
            self._tickets[numbers[-1]] = _InFlightTicket(ticket, kept, start, count)
            start += count
        return numbers

    def messages(self, numbers: Sequence[int], session: int) -> Iterator[SubmitTickets]:
        """What submits these tickets, which are of one session and in ascending order."""
        sent = [(number, self._tickets[number]) for number in numbers]
        for _, group in itertools.groupby(sent, lambda item: _together(item[1])):
            members = list(group)
            _, first = members[0]
            chunks = [(number, each.start, each.count) for number, each in members]
            ticket, features = first.ticket, first.features
            yield SubmitTickets(
                chunks,
                session,
                ticket.run_isolated,
                features.spans,
                features.pickled,
                ticket.session.brings_more,
            )

    def by_session(self) -> dict[BundleSession, list[int]]:
        """The numbers of all tickets, in ascending order, by session."""
        sessions: dict[BundleSession, list[int]] = {}
        for number, sent in self._tickets.items():
            sessions.setdefault(sent.ticket.session, []).append(number)
        return sessions

    def launched(self, number: int, running: Sequence[int], following: Sequence[int]) -> None:
        """These are computed now, in the batch of this number; the others were launched behind."""
        self._running = {each for each in running if each in self._tickets}
        self._following = {each for each in following if each in self._tickets}
        if number != self._batch:
            self._running_since = time.monotonic()
        self._batch = number

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
        self._following.discard(number)
        sent = self._tickets.pop(number)
        sent.features.users -= 1
        if not sent.features.users:
            self._arena.free(sent.features.spans)
        return sent.ticket

    def drop_cancelled(self) -> None:
        """Keep no ticket whose session is cancelled."""
        for number in [n for n, sent in self._tickets.items() if sent.ticket.session.cancelled]:
            self.pop(number)

    def process_died(self, timeout: float | None, reason: str) -> list[Ticket]:
        """Isolate the tickets that were computed when the process died.

        Args:
          timeout: the seconds after which it was killed; None: it was not.
          reason: why it died.

        Returns:
          Those over which enough processes have died, with an error, to be handed back.

        """
        # Launching the batch behind may be what broke it, or what took so long.
        computed = (self._running | self._following) & self._tickets.keys()
        self._running, self._following = set(), set()
        self._batch = -1  # the next process counts from the beginning
        return [self.pop(n) for n in computed if _gives_up(self._tickets[n], timeout, reason)]

    def pop_all(self) -> list[Ticket]:
        """All tickets: they are not kept any more."""
        return [self.pop(number) for number in tuple(self._tickets)]


def _layout(ticket: Ticket) -> Layout | None:
    """The layout of all of a ticket's chunks, if they have one."""
    layouts = {layout_of(chunk) for chunk in ticket.features}
    return layouts.pop() if len(layouts) == 1 else None


def _together(sent: _InFlightTicket) -> Any:
    """Equal for tickets that one message can submit."""
    return id(sent.features), id(sent) if sent.ticket.run_isolated else None


def _gives_up(sent: _InFlightTicket, timeout: float | None, reason: str) -> bool:
    ticket = sent.ticket
    sent.deaths += 1
    ticket.run_isolated = True
    ticket.attempts = sent.deaths
    if timeout is not None and sent.deaths >= _MAX_TIMEOUTS:
        ticket.error = BatchTimeoutError(f"no answer within {timeout} s, in a batch of its own")
    elif sent.deaths >= _MAX_DEATHS:
        died = f"the engine's process died over this element: {reason}"
        ticket.error = EngineCrashError(died)
    else:
        ticket.attempts += 1
    return ticket.error is not None
