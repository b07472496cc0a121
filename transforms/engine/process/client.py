"""A worker, as an engine's process sees it: what it sends, and how its tickets go back."""

from __future__ import annotations

import itertools
import logging
import pickle
import select
import socket
import time
from collections.abc import Callable, Sequence
from multiprocessing import AuthenticationError
from typing import Any

from ..blocks import Block, OutputRow
from ..core_base import CoreBase
from ..errors import PicklableError
from ..tickets import BundleSession, Ticket, each_unpacked
from . import arena, pickling, protocol
from .protocol import (
    BatchesLaunched,
    CancelSession,
    Message,
    OpenSession,
    Progress,
    SubmitTickets,
    TicketAnswered,
    TicketsAnswered,
)
from .transport import Doorkeeper, Incoming, Outgoing

logger = logging.getLogger(__name__)

_UNPROVEN = 1024  # bytes: what somebody may send who has not proved to know the key
_TAKES_ALL = 0.05  # seconds
_STANDS_STILL = 30.0  # seconds: a worker that reads nothing for so long is dropped


class Client:
    """One worker process; nothing here waits for it for longer than a moment.

    Args:
      sock: the connection.
      key: the secret that it has to prove to know.
      core: where its tickets go.
      on_join: called once it has proved that, and handed over its arena.

    """

    def __init__(
        self,
        sock: socket.socket,
        key: bytes,
        core: CoreBase,
        on_join: Callable[[Client], None] = lambda client: None,
    ) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.outgoing = Outgoing(sock)
        self._incoming = Incoming(sock)
        self._incoming.limit = _UNPROVEN
        self._core = core
        self._on_join = on_join
        self._door: Doorkeeper | None = Doorkeeper(key)
        self._arena: arena.MappedArena | None = None
        self._sessions: dict[int, BundleSession] = {}
        #: Since when it takes nothing of what waits for it, on time.monotonic.
        self._stands_still: float | None = None
        #: When it came, on time.monotonic.
        self.since = time.monotonic()
        #: Whether its connection has ended.
        self.gone = False
        self._put(self._door.challenge)

    @property
    def joined(self) -> bool:
        """Whether it has proved to know the key, and handed over its arena."""
        return self._arena is not None

    def read(self) -> None:
        """Accept what it has sent."""
        try:
            for frame in self._incoming.receive():
                if self._arena is not None:
                    self._accept(protocol.unpack(frame)[0])
                else:
                    self._greet(frame)
        except BlockingIOError:
            pass
        except (EOFError, OSError):
            self.gone = True
        except AuthenticationError as error:
            logger.warning("rejected a client: %s", error)
            self.gone = True
        except Exception:
            logger.exception("a worker was dropped")
            self.gone = True

    def _greet(self, frame: bytes) -> None:
        if self._door is not None:
            self._put(self._door.answer(frame))
            self._door = None
            return
        self._arena = arena.MappedArena(self._incoming.descriptors.popleft())
        self._incoming.limit = None
        self._on_join(self)

    def _accept(self, message: Message) -> None:
        match message:
            case SubmitTickets():
                self._submit(message)
            case OpenSession(number, key, pickled):
                parameters = pickle.loads(pickled)  # noqa: S301 - it has the key
                self._sessions[number] = BundleSession(self, parameters, key)
            case CancelSession(number) if number in self._sessions:
                self._sessions.pop(number).cancelled = True

    def _submit(self, message: SubmitTickets) -> None:
        session = self._sessions[message.session]
        session.brings_more = message.brings_more
        assert self._arena is not None
        error: Exception | None = None
        chunks: list[Any] = []
        try:
            pickled: Any = message.features
            if pickled is None:
                pickled = self._arena.get(message.spans[-1])
            features = pickling.loads(pickled, message.spans, self._arena)
            chunks = features.rows() if isinstance(features, Block) else features
        except Exception as unknown:  # of a class that is not known here
            error = unknown
        tickets = [
            Ticket(session, number, chunks[start : start + count], message.run_isolated)
            for number, start, count in message.tickets
        ]
        if error is None:
            self._core.admit(tickets)
            return
        for ticket in tickets:
            ticket.error = error
        self.answer(tickets)

    def answer(self, tickets: Sequence[Ticket]) -> None:
        """Send tickets that are answered; those whose outputs are together as one message."""
        if self.gone:
            return
        for outputs, group in itertools.groupby(tickets, _outputs_of):
            members = list(group)
            if outputs is None or not self._answer_together(members):
                for ticket in members:
                    self._put(self._answered(ticket))
        self.send()

    def _answer_together(self, tickets: Sequence[Ticket]) -> bool:
        outputs = tickets[0].outputs[0].outputs
        outputs = outputs.chosen([row.index for ticket in tickets for row in ticket.outputs])
        counts = [(ticket.token, len(ticket.outputs)) for ticket in tickets]
        reports = [report for ticket in tickets for report in ticket.reports]
        try:
            self._put(protocol.pack_with(TicketsAnswered(counts, self._progress(reports)), outputs))
        except Exception:  # what cannot be pickled may be in one of them
            return False
        return True

    def _progress(self, reports: Sequence[Any]) -> Progress:
        return Progress(reports, self._core.waiting, self._core.dead)

    def _answered(self, ticket: Ticket) -> bytes:
        def packed(error: BaseException | None, outputs: Any) -> bytes:
            picklable = None if error is None else PicklableError.of(error)
            message = TicketAnswered(ticket.token, picklable, self._progress(ticket.reports))
            # Outputs apart: if the worker does not know their class, only they cannot be read.
            return protocol.pack_with(message, outputs)

        if ticket.error is not None:
            return packed(ticket.error, None)
        try:
            return packed(None, each_unpacked(ticket.outputs))
        except Exception as error:  # outputs that cannot be pickled
            return packed(error, None)

    def announce(self, number: int, running: list[int], following: Sequence[int] = ()) -> None:
        """Tell it which of its tickets are launched; waits a moment for it to take all."""
        self.post(BatchesLaunched(number, running, following))
        end = time.monotonic() + _TAKES_ALL
        while self.outgoing and not self.gone and (left := end - time.monotonic()) > 0:
            select.select([], [self.sock], [], left)
            self.send()

    def post(self, message: Message) -> None:
        """Send a message."""
        self._put(protocol.pack(message))
        self.send()

    def _put(self, data: bytes) -> None:
        if self.gone:
            return
        try:
            self.outgoing.add(data)
            if self.outgoing.large:  # it keeps a descriptor open until it is sent
                self.outgoing.send()
        except OSError as error:
            logger.warning("a worker was dropped: %s", error)
            self.gone = True

    def send(self) -> None:
        """Send as much as it takes now; one that has taken nothing for long is dropped."""
        before = len(self.outgoing)
        try:
            self.outgoing.send()
        except OSError:
            self.gone = True
        now = time.monotonic()
        if not self.outgoing or len(self.outgoing) < before:
            self._stands_still = None
        elif self._stands_still is None:
            self._stands_still = now
        elif now - self._stands_still > _STANDS_STILL:
            logger.warning("a worker was dropped: it has read nothing for %.0f s", _STANDS_STILL)
            self.gone = True

    def last_words(self, message: Message, seconds: float) -> None:
        """Send all that waits and a message, and wait for that, for no longer than this."""
        if self.joined:  # one that has not takes nothing but a proof of the key
            self.sock.settimeout(seconds)
            self.post(message)

    def close(self) -> None:
        """Have its tickets passed over."""
        for session in self._sessions.values():
            session.cancelled = True
        self.outgoing.clear()
        self._incoming.close()
        self.sock.close()


def _outputs_of(ticket: Ticket) -> int | None:
    """The outputs that all of a ticket's chunks are rows of, if there are."""
    if ticket.error is not None or not ticket.outputs:
        return None
    first, *rest = ticket.outputs
    if type(first) is not OutputRow:
        return None
    outputs = first.outputs
    for each in rest:
        if type(each) is not OutputRow or each.outputs is not outputs:
            return None
    return id(outputs)
