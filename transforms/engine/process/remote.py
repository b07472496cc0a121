"""A worker's access to an engine in another process, whatever becomes of that process."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Any

from ..errors import BatchTimeoutError, EngineCrashError, EngineError
from ..reports import RestartReport
from ..tickets import AnyEngine, BundleSession, Parameters, Ticket
from . import arena, pickling, protocol
from .protocol import (
    BatchBegun,
    CancelSession,
    EngineBroken,
    Message,
    ModelLoaded,
    OpenSession,
    SubmitTicket,
    TicketAnswered,
)

logger = logging.getLogger(__name__)

_DEATHS_LOADING = 5  # engines that may die one after the other before any batch
_DEATHS = 10  # and with nothing answered
_DEATHS_OVER_ONE = 3  # over one element: in company, then twice alone
_TIMES_OVERDUE = 2  # in company, then alone


@dataclass(slots=True)
class _Sent:
    """A ticket as it crosses; kept until it is answered, to be sent again."""

    ticket: Ticket
    data: bytes
    spans: list[arena.Span]
    #: Engines that died while they computed it.
    deaths: int = 0


class RemoteEngine:
    """An engine's process, seen from a worker.

    When it dies, another is started and the tickets that were not answered are handed over again:
    those that were being computed each in a batch of its own, since one of them may be why.

    Args:
      connect: connects to the process, starting one if there is none.
      key: what both sides prove to know.
      name: of the model, for messages.
      timeout: seconds that a batch may take before the process is killed. None: any time.
      arena_bytes: the most bytes of features in shared memory.

    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        key: bytes,
        name: str,
        timeout: float | None,
        arena_bytes: int,
    ) -> None:
        self._connect, self._key = connect, key
        self._timeout = timeout
        self._arena = arena.Arena(arena_bytes)
        self._change = threading.Condition()
        self._numbers = itertools.count()
        self._live: dict[int, _Sent] = {}
        self._sessions: dict[BundleSession, int] = {}
        #: Sessions that the process knows.
        self._told: set[int] = set()
        self._connection: Connection | None = None
        #: Whether the process has taken this worker in.
        self._joined = False
        self._pid = 0
        #: Tickets in the batch that is computed, and since when.
        self._running: set[int] = set()
        self._since = 0.0
        self._began = self._overdue = False
        self._deaths = 0
        self._reason = ""
        self._restarts: list[RestartReport] = []
        self._waiting = 0
        self._closed = False
        self.dead = False
        #: Whether the model is loaded, as far as this worker was told.
        self.ready = False
        self._thread = threading.Thread(target=self._work, name=f"link to {name}", daemon=True)
        self._thread.start()

    @property
    def load(self) -> int:
        """About how many tickets wait for this engine, from all workers."""
        return max(self._waiting, len(self._live))

    @property
    def pid(self) -> int:
        """The engine's process; 0 before it has answered for the first time."""
        return self._pid

    def session(self, parameters: Mapping[str, Any]) -> BundleSession:
        """Access for one bundle."""
        return _session(self, parameters)

    def submit(self, ticket: Ticket) -> None:
        """Accept a ticket. Raises EngineError after `close`."""
        with self._change:
            if self._closed:
                raise EngineError("the engine was closed")
            if self.dead:
                _fail(ticket, EngineError(self._reason))
                return
            try:
                sent = _Sent(ticket, *pickling.dumps(ticket.features, self._arena))
            except Exception as error:  # features that cannot be pickled
                _fail(ticket, error)
                return
            ticket.features = []
            number = next(self._numbers)
            self._live[number] = sent
            if self._joined:
                self._send(number, sent)
            else:
                self._change.notify_all()

    def forget(self, session: BundleSession) -> None:
        """Have a cancelled session's tickets passed over."""
        with self._change:
            number = self._sessions.pop(session, None)
            if number in self._told:
                self._told.discard(number)
                self._post(CancelSession(number))

    def close(self) -> None:
        """Leave. The process ends when it has no other users."""
        with self._change:
            if self._closed:
                return
            self._closed = True
            self._change.notify_all()
            if self._connection is not None:
                protocol.shut(self._connection)
        self._thread.join()
        self._arena.close()

    # Sending, with the lock held.

    def _send(self, number: int, sent: _Sent) -> None:
        session = sent.ticket.session
        known = self._sessions.get(session)
        if known is None:
            known = self._sessions[session] = next(self._numbers)
        if known not in self._told:
            self._told.add(known)
            self._post(OpenSession(known, session.key, session.pickled))
        self._post(SubmitTicket(number, known, sent.ticket.run_isolated, sent.spans, sent.data))

    def _post(self, message: Message) -> None:
        assert self._connection is not None
        with contextlib.suppress(OSError):  # the process has died: all is sent again to the next
            self._connection.send_bytes(protocol.pack(message))

    # The thread that listens.

    def _work(self) -> None:
        try:
            while self._wanted():
                try:
                    self._join()
                    self._listen()
                except (EOFError, OSError) as error:
                    if self._connection is None:  # not a death: there was nothing to die
                        self._reason = f"{type(error).__name__}: {error}"
                self._left()
        except BaseException as error:
            with self._change:
                self._give_up(f"{type(error).__name__}: {error}")
                if self._connection is not None:  # nobody reads it any more
                    protocol.shut(self._connection)
            if not isinstance(error, Exception):
                raise

    def _wanted(self) -> bool:
        """Wait until a process is needed: at first, and then for whatever is live."""
        with self._change:
            while self._deaths and not self._live and not self._closed:
                self._change.wait()
            return not self._closed and not self.dead

    def _join(self) -> None:
        """Connect, and hand over all that is live."""
        connection = self._connect()
        with self._change:
            self._connection = connection
            if self._closed:
                return
        answer_challenge(connection, self._key)
        deliver_challenge(connection, self._key)
        self._pid = pickle.loads(connection.recv_bytes())  # noqa: S301 - it knew the key
        reduction.send_handle(connection, self._arena.fd, self._pid)
        with self._change:
            self._joined = True
            self._drop_cancelled()
            for number, sent in self._live.items():
                self._send(number, sent)

    def _listen(self) -> None:
        assert self._connection is not None
        while not self._closed:
            if self._timeout is not None and not self._connection.poll(self._seconds_left()):
                self._kill()
                continue
            self._receive(*protocol.unpack_with_outputs(self._connection.recv_bytes()))

    def _receive(self, message: Message, outputs: Iterator[Any]) -> None:
        match message:
            case TicketAnswered():
                self._answered(message, outputs)
            case BatchBegun(numbers):
                with self._change:
                    self._running = {number for number in numbers if number in self._live}
                    self._since = time.monotonic()
                    self._began = True
            case ModelLoaded():
                self.ready = True
            case EngineBroken(reason):
                self._reason = reason

    def _seconds_left(self) -> float | None:
        """Seconds until the batch that is computed is overdue."""
        if self._timeout is None or not self._running:
            return None
        return max(0.0, self._since + self._timeout - time.monotonic())

    def _kill(self) -> None:
        logger.warning("no answer within %s s: the engine's process is killed", self._timeout)
        self._overdue = True
        self._since = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)

    def _answered(self, answer: TicketAnswered, values: Iterator[Any]) -> None:
        error = None if answer.error is None else answer.error.error()
        outputs: list[Any] = []
        try:
            outputs = next(values)
        except Exception as unknown:  # of a class that is not known here
            error = unknown
        with self._change:
            sent = self._live.pop(answer.ticket)
            self._arena.free(sent.spans)
            self._running.discard(answer.ticket)
            self._deaths, self._waiting = 0, answer.waiting if self._live else 0
            if answer.dead:
                self._reason, self.dead = str(error), True
            reports = answer.reports
            if not sent.ticket.session.cancelled:
                reports = (*self._restarts, *reports)
                self._restarts = []
        ticket = sent.ticket
        ticket.reports = reports
        if error is None:
            ticket.outputs = outputs
        ticket.error = error
        ticket.session.answered.put(ticket)

    def _left(self) -> None:
        """The process is gone: find out over what, and prepare what is live for the next."""
        with self._change:
            if self._connection is not None:
                self._connection.close()
            self._connection, self._joined = None, False
            self._told.clear()
            if self._closed or self.dead:
                self._give_up(self._reason or "the engine was closed")
                return
            self._deaths += 1
            logger.warning("an engine's process died: another takes over")
            self._drop_cancelled()
            for number in self._running & self._live.keys():
                self._suspect(number)
            self._restarts.append(RestartReport(len(self._live)))
            if self._deaths >= (_DEATHS if self._began else _DEATHS_LOADING):
                self._give_up(f"the engine's process died {self._deaths} times: {self._why}")
            self._running = set()
            self._began = self._overdue = False
            self._reason = ""

    def _drop_cancelled(self) -> None:
        for number in [n for n, sent in self._live.items() if sent.ticket.session.cancelled]:
            self._arena.free(self._live.pop(number).spans)

    @property
    def _why(self) -> str:
        return self._reason or "it crashed or was killed, for lack of memory perhaps"

    def _suspect(self, number: int) -> None:
        """An element in the batch that was computed: it runs alone, or fails."""
        sent = self._live[number]
        ticket = sent.ticket
        sent.deaths += 1
        ticket.run_isolated = True
        ticket.attempts = sent.deaths
        error: Exception
        if self._overdue and sent.deaths >= _TIMES_OVERDUE:
            error = BatchTimeoutError(f"no answer within {self._timeout} s, in a batch of its own")
        elif sent.deaths >= _DEATHS_OVER_ONE:
            error = EngineCrashError(f"the engine's process died over this element: {self._why}")
        else:
            ticket.attempts += 1
            return
        self._arena.free(self._live.pop(number).spans)
        _fail(ticket, error)

    def _give_up(self, reason: str) -> None:
        self.dead, self._reason = True, reason
        for sent in self._live.values():
            _fail(sent.ticket, EngineError(reason))
        self._live.clear()


def _session(engine: AnyEngine, parameters: Mapping[str, Any]) -> BundleSession:
    """Access for one bundle."""
    known = Parameters.of(parameters)
    return BundleSession(engine, known, known.key, pickled=known.pickled)


def _fail(ticket: Ticket, error: BaseException) -> None:
    ticket.error = error
    ticket.session.answered.put(ticket)


class ReplicaGroup:
    """Replicas of one model on several accelerators: each ticket goes to the least loaded."""

    def __init__(self, engines: Sequence[RemoteEngine]) -> None:
        self._engines = engines

    @property
    def dead(self) -> bool:
        """Whether one of them will answer nothing any more."""
        return any(engine.dead for engine in self._engines)

    @property
    def ready(self) -> bool:
        """Whether all have their model loaded."""
        return all(engine.ready for engine in self._engines)

    def session(self, parameters: Mapping[str, Any]) -> BundleSession:
        """Access for one bundle."""
        return _session(self, parameters)

    def submit(self, ticket: Ticket) -> None:
        """Accept a ticket."""
        min(self._engines, key=lambda engine: engine.load).submit(ticket)

    def forget(self, session: BundleSession) -> None:
        """Have a cancelled session's tickets passed over."""
        for engine in self._engines:
            engine.forget(session)

    def close(self) -> None:
        """Leave them all."""
        for engine in self._engines:
            engine.close()
