"""A worker's access to an engine in another process, which is replaced when it dies."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import EngineError
from ..reports import RestartReport
from ..tickets import BundleSession, Ticket
from . import protocol
from .arena import Arena
from .in_flight import InFlightTickets
from .link_state import CONNECTED, ENDED, NEXT, LinkState
from .protocol import (
    BatchesLaunched,
    CancelSession,
    EngineBroken,
    Message,
    ModelLoaded,
    OpenSession,
    Progress,
    TicketAnswered,
    TicketsAnswered,
)
from .transport import Incoming, Outgoing, greet, shut

logger = logging.getLogger(__name__)

_MAX_DEATHS_LOADING = 5  # processes that may die one after the other before any batch began
_MAX_DEATHS = 10  # and after one began, with nothing answered in between
_MOST_TOGETHER = 64  # tickets: more in one message gain little
_LONGEST_TOGETHER = 0.005  # seconds that the first of them waits, at the next one's arrival


class RemoteEngine:
    """An engine's process, seen from a worker.

    When it dies, another is started and the tickets that were not answered are sent again.

    Args:
      connect: connects to the process, starting one if there is none.
      key: the secret that both sides prove to know.
      name: the model's, for messages.
      timeout: seconds that a batch may take before the process is killed. None: any time.
      arena_bytes: the most bytes of features in shared memory.

    """

    def __init__(
        self,
        connect: Callable[[], socket.socket],
        key: bytes,
        name: str,
        timeout: float | None,
        arena_bytes: int,
    ) -> None:
        self._connect, self._key = connect, key
        self._timeout = timeout
        self._arena = Arena(arena_bytes)
        #: Held for all that follows; notified when a ticket comes, and by `close`.
        self._change = threading.Condition()
        self._state = LinkState.CONNECTING
        self._tickets = InFlightTickets(self._arena)
        self._session_numbers = itertools.count()
        self._sessions: dict[BundleSession, int] = {}
        #: Sessions that are open in the process.
        self._opened: set[int] = set()
        self._socket: socket.socket | None = None
        self._outgoing: Outgoing
        self._incoming: Incoming
        #: Tickets that wait for a few more to cross with, and since when, on time.monotonic.
        self._unsent: list[Ticket] = []
        self._unsent_since = 0.0
        self._pid = 0
        #: Processes that died since the last answer.
        self._deaths = 0
        #: Why the process ends, or why nothing will be answered any more.
        self._reason = ""
        self._restarts: list[RestartReport] = []
        self._waiting = 0
        #: Whether the model was loaded once, as far as this worker was told. It stays so when the
        #: process dies: another is started when there is a ticket for it.
        self.ready = False
        self._thread = threading.Thread(target=self._work, name=f"link to {name}", daemon=True)
        self._thread.start()

    @property
    def dead(self) -> bool:
        """Whether it will answer nothing any more."""
        return self._state in ENDED

    @property
    def load(self) -> int:
        """About how many tickets wait for this engine, from all workers."""
        return max(self._waiting, self._waiting_here)

    @property
    def _waiting_here(self) -> int:
        """How many tickets this worker waits for."""
        return len(self._tickets) + len(self._unsent)

    @property
    def pid(self) -> int:
        """The engine's process; 0 before one was joined."""
        return self._pid

    def session(self, parameters: Mapping[str, Any]) -> BundleSession:
        """Access for one bundle."""
        return BundleSession.remote(self, parameters)

    def submit(self, ticket: Ticket) -> None:
        """Accept a ticket, which may wait for a few more to cross with. Raises EngineError.

        Nothing waits while the process has nothing of this worker's.
        """
        with self._change:
            if self._state is LinkState.CLOSED:
                raise EngineError("the engine was closed")
            if self._state is LinkState.FAILED:
                ticket.fail(EngineError(self._reason))
                return
            if not self._unsent:
                self._unsent_since = time.monotonic()
            self._unsent.append(ticket)
            if self._state not in CONNECTED:
                self._change.notify_all()
            elif (
                not len(self._tickets)
                or len(self._unsent) >= _MOST_TOGETHER
                or time.monotonic() - self._unsent_since > _LONGEST_TOGETHER
            ):
                self._send_unsent()

    def flush(self) -> None:
        """Keep no ticket back until there are more."""
        with self._change:
            if self._state in CONNECTED:
                self._send_unsent()

    def forget(self, session: BundleSession) -> None:
        """Have a cancelled session's tickets passed over."""
        with self._change:
            self._unsent = [each for each in self._unsent if each.session is not session]
            number = self._sessions.pop(session, None)
            if number in self._opened:
                self._opened.discard(number)
                self._post(CancelSession(number))

    def close(self) -> None:
        """Stop using the process. It ends when it has no other users."""
        with self._change:
            if self._state is LinkState.CLOSED:
                return
            self._enter(LinkState.CLOSED)
            self._change.notify_all()
            if self._socket is not None:
                shut(self._socket)
        self._thread.join()
        self._arena.close()

    # With the lock held.

    def _enter(self, state: LinkState) -> None:
        """Change to a state, if the present one leads to it: an end stays, whatever comes later."""
        if state in NEXT[self._state]:
            self._state = state

    def _send_unsent(self) -> None:
        tickets, self._unsent = self._unsent, []
        for session, group in itertools.groupby(tickets, lambda ticket: ticket.session):
            self._send(session, self._tickets.add(list(group)))

    def _send(self, session: BundleSession, numbers: Sequence[int]) -> None:
        """Send tickets of one session."""
        known = self._sessions.get(session)
        if known is None:
            known = self._sessions[session] = next(self._session_numbers)
        messages: list[Message] = list(self._tickets.messages(numbers, known))
        if known not in self._opened:
            self._opened.add(known)
            messages.insert(0, OpenSession(known, session.key, session.pickled))
        self._post(*messages)

    def _post(self, *messages: Message) -> None:
        try:
            for message in messages:
                self._outgoing.add(protocol.pack(message))
            self._outgoing.send()
        except OSError:  # the process has died, or cannot be reached: all is sent again to the next
            self._outgoing.clear()
            if self._socket is not None:
                shut(self._socket)

    def _give_up(self, reason: str) -> None:
        self._fail(reason)
        self._refuse(self._tickets.pop_all())

    def _fail(self, reason: str) -> None:
        """Send nothing any more: what was not sent will not be answered."""
        self._enter(LinkState.FAILED)
        self._reason = reason
        unsent, self._unsent = self._unsent, []
        self._refuse(unsent)

    def _refuse(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            ticket.error = EngineError(self._reason)
            self._hand_back(ticket)

    def _hand_back(self, ticket: Ticket) -> None:
        """Answer a ticket; if somebody collects it, it brings along the restarts until now."""
        if not ticket.session.cancelled:
            ticket.reports = (*self._restarts, *ticket.reports)
            self._restarts = []
        ticket.session.answered.put(ticket)

    # The thread that listens.

    def _work(self) -> None:
        try:
            while self._wanted():
                try:
                    self._join()
                    self._listen()
                except (EOFError, OSError) as error:
                    if self._socket is None:  # no process died: there was none yet
                        self._reason = f"{type(error).__name__}: {error}"
                self._process_ended()
        except BaseException as error:
            with self._change:
                self._give_up(f"{type(error).__name__}: {error}")
                if self._socket is not None:  # nobody reads it any more
                    shut(self._socket)
            if not isinstance(error, Exception):
                raise

    def _wanted(self) -> bool:
        """Wait until a process is needed: at first at once, later when there are tickets."""
        with self._change:
            while self._deaths and not self._waiting_here and not self.dead:
                self._change.wait()
            return not self.dead

    def _join(self) -> None:
        """Connect, and send all tickets."""
        sock = self._connect()
        with self._change:
            self._socket = sock
            self._outgoing = Outgoing(sock)
            self._incoming = Incoming(sock)
            if self._state is LinkState.CLOSED:
                return
        self._pid = greet(self._incoming, self._outgoing, self._key, self._arena.fd)
        with self._change:
            self._enter(LinkState.JOINED)
            self._tickets.drop_cancelled()
            for session, numbers in self._tickets.by_session().items():
                self._send(session, numbers)
            self._send_unsent()

    def _listen(self) -> None:
        """Receive what the process sends, until it ends or `close`. Raises EOFError or OSError."""
        assert self._socket is not None
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while self._state is not LinkState.CLOSED:
            if self._timeout is not None:
                seconds = self._tickets.seconds_left(self._timeout)
                if not poll.poll(None if seconds is None else seconds * 1e3):
                    self._kill()
                    continue
            for frame in self._incoming.receive():
                self._receive(*protocol.unpack(frame))

    def _receive(self, message: Message, outputs: Iterator[Any]) -> None:
        match message:
            case TicketsAnswered():
                self._answered_together(message, outputs)
            case TicketAnswered():
                self._answered(message, outputs)
            case BatchesLaunched():
                with self._change:
                    self._tickets.launched(*message)
                    self._enter(LinkState.SERVING)
            case ModelLoaded():
                self.ready = True
            case EngineBroken(reason):
                self._reason = reason

    def _kill(self) -> None:
        logger.warning("no answer within %s s: the engine's process is killed", self._timeout)
        # Before anything that waits for somebody who sends: the process may read nothing.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with self._change:
            self._enter(LinkState.KILLED)
            self._tickets.allow_more_time()

    def _answered(self, answer: TicketAnswered, values: Iterator[Any]) -> None:
        error = None if answer.error is None else answer.error.error()
        outputs: list[Any] = []
        try:
            outputs = next(values)
        except Exception as unknown:  # of a class that is not known here
            error = unknown
        if error is not None:
            outputs = []
        self._take_back([(answer.ticket, outputs)], error, answer.progress)

    def _answered_together(self, answer: TicketsAnswered, values: Iterator[Any]) -> None:
        error: Exception | None = None
        rows: Iterator[Any] = iter(())
        try:
            rows = iter(next(values))
        except Exception as unknown:  # of a class that is not known here
            error = unknown
        answers = [
            (number, list(itertools.islice(rows, count))) for number, count in answer.tickets
        ]
        self._take_back(answers, error, answer.progress)

    def _take_back(
        self,
        answers: Sequence[tuple[int, list[Any]]],
        error: BaseException | None,
        progress: Progress,
    ) -> None:
        """Hand tickets back with their outputs, or with an error."""
        with self._change:
            reports = progress.reports
            for number, outputs in answers:
                ticket = self._tickets.pop(number)
                ticket.outputs, ticket.error = outputs, error
                if not ticket.session.cancelled:
                    ticket.reports, reports = reports, ()
                self._hand_back(ticket)
            self._deaths, self._waiting = 0, progress.waiting if len(self._tickets) else 0
            if progress.dead:
                self._fail(str(error) if error is not None else "the engine has failed")
            elif not len(self._tickets):
                self._send_unsent()

    def _process_ended(self) -> None:
        """Prepare what is not answered for another process; give up if too many have died."""
        with self._change:
            if self._socket is not None:
                self._outgoing.clear()
                self._incoming.close()
                self._socket.close()
            self._socket = None
            self._opened.clear()
            if self.dead:
                self._give_up(self._reason or "the engine was closed")
                return
            logger.warning("an engine's process died: another takes over")
            reason = self._reason or "it crashed or was killed, for lack of memory perhaps"
            self._deaths += 1
            self._tickets.drop_cancelled()
            killed = self._state is LinkState.KILLED
            given_up = self._tickets.process_died(self._timeout if killed else None, reason)
            self._restarts.append(RestartReport(self._waiting_here))
            for ticket in given_up:
                self._hand_back(ticket)
            served = self._state in (LinkState.SERVING, LinkState.KILLED)
            if self._deaths >= (_MAX_DEATHS if served else _MAX_DEATHS_LOADING):
                self._give_up(f"the engine's process died {self._deaths} times: {reason}")
                return
            self._enter(LinkState.CONNECTING)
            self._reason = ""
