"""An engine in a process of its own, for all worker processes of the machine.

Started by `launch`, with its configuration on standard input; it ends when it has had no users for
a while. What it is told and what it answers is in `protocol`.
"""

from __future__ import annotations

import logging
import os
import pickle
import queue
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing import AuthenticationError, reduction
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Any

from ..allocator import load_outside_gc
from ..engine import Engine
from ..errors import PicklableError
from ..interface import Model
from ..tickets import BundleSession, Ticket
from . import arena, pickling, protocol
from .launch import LOCK, ServerConfig
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

_LINGER = 5.0  # seconds without users: a worker that was killed may be back by then
_FIRST_USER = 60.0  # seconds that it waits for its first user
_SEND_TIMEOUT = 30  # seconds: a worker that does not read keeps the engine from all others
_GRACE = 5.0  # seconds beyond the timeout: until then, workers end an overdue batch


class _Connection:
    """One worker process."""

    def __init__(self, server: Server, link: Connection) -> None:
        self._server = server
        self._link = link
        #: Tickets that are answered, and other messages; None to stop.
        self.outgoing: queue.SimpleQueue[Ticket | Message | None] = queue.SimpleQueue()
        self._sessions: dict[int, BundleSession] = {}
        self._sending = threading.Lock()
        self.sender = threading.Thread(target=self._send, daemon=True)

    def serve(self) -> None:
        """Receive what the worker sends until the connection ends."""
        try:
            deliver_challenge(self._link, self._server.key)
            answer_challenge(self._link, self._server.key)
            self._link.send_bytes(pickle.dumps(os.getpid()))
            self._arena = arena.MappedArena(reduction.recv_handle(self._link))
            self.sender.start()
            while True:
                self._accept(protocol.unpack(self._link.recv_bytes()))
        except (EOFError, OSError):
            pass
        except AuthenticationError as error:
            logger.warning("rejected a client with a wrong key: %s", error)
        except Exception:
            logger.exception("a worker was dropped")
        finally:
            for session in self._sessions.values():
                session.cancel()
            self.outgoing.put(None)
            self._server.left(self)

    def _accept(self, message: Message) -> None:
        match message:
            case SubmitTicket():
                self._submit(message)
            case OpenSession(number, key, pickled):
                parameters = pickle.loads(pickled)  # noqa: S301 - it has the key
                engine = self._server.engine
                self._sessions[number] = BundleSession(engine, parameters, key, self.outgoing)
            case CancelSession(number) if number in self._sessions:
                self._sessions.pop(number).cancel()

    def _submit(self, message: SubmitTicket) -> None:
        session = self._sessions[message.session]
        ticket = Ticket(session, message.ticket, [], run_isolated=message.run_isolated)
        try:
            ticket.features = pickling.loads(message.features, message.spans, self._arena)
        except Exception as error:  # of a class that is not known here
            ticket.fail(error)
        else:
            self._server.engine.submit(ticket)

    def _send(self) -> None:
        while (item := self.outgoing.get()) is not None:
            self._post(self._answer(item) if isinstance(item, Ticket) else protocol.pack(item))

    def begin(self, numbers: list[int]) -> None:
        """Tell the worker, before anything else can happen, which tickets are about to run."""
        self._post(protocol.pack(BatchBegun(numbers)))

    def _post(self, data: bytes) -> None:
        """Send; a worker that has ended, or does not read in time, is dropped."""
        with self._sending:
            try:
                self._link.send_bytes(data)
            except OSError:
                protocol.shut(self._link)

    def _answer(self, ticket: Ticket) -> bytes:
        engine = self._server.engine

        def packed(error: BaseException | None, outputs: Any) -> bytes:
            picklable = None if error is None else PicklableError.of(error)
            rest = (picklable, ticket.reports, engine.waiting, engine.dead)
            # Outputs apart: if the worker does not know their class, only they cannot be read.
            return protocol.pack_with(TicketAnswered(ticket.token, *rest), outputs)

        if ticket.error is not None:
            return packed(ticket.error, None)
        try:
            return packed(None, ticket.outputs)
        except Exception as error:  # outputs that cannot be pickled
            return packed(error, None)


class Server:
    """The engine and its connections."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        spec = config.spec
        self.key = spec.sharing.key
        self._lock = threading.Lock()
        self._connections: set[_Connection] = set()
        self._loaded = False
        #: Whose tickets are in the batch that is computed.
        self._told: set[int] = set()
        self.engine = Engine(
            self._load, spec.limits, spec.name, self._before_batch, self._on_broken
        )

    def _load(self) -> Model:
        model = load_outside_gc(self._config.spec.load)
        with self._lock:
            self._loaded = True
            for connection in self._connections:
                connection.outgoing.put(ModelLoaded())
        return model

    def run(self) -> None:
        """Serve whoever connects; return when there have been no users for a while."""
        listener = socket.socket(fileno=self._config.listener)
        joined = dead = withdrawn = False
        used = time.monotonic()
        while not withdrawn:
            if select.select([listener], [], [], 1.0)[0] and not dead:
                self._join(listener.accept()[0])
                joined = True
            self._check_time()
            dead = joined and self.engine.dead  # and somebody is told why
            if self._connections and not dead:
                used = time.monotonic()
            elif dead or time.monotonic() - used > (_LINGER if joined else _FIRST_USER):
                withdrawn = self._withdraw(listener, dead)
        listener.close()
        while self._connections:  # of a dead engine: each ticket is told why
            time.sleep(0.1)

    def _join(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SEND_TIMEOUT, 0))
        connection = _Connection(self, Connection(sock.detach()))
        with self._lock:
            self._connections.add(connection)
            if self._loaded:
                connection.outgoing.put(ModelLoaded())
        threading.Thread(target=connection.serve, daemon=True).start()

    def left(self, connection: _Connection) -> None:
        """Forget a worker whose connection has ended."""
        with self._lock:
            self._connections.discard(connection)

    def _withdraw(self, listener: socket.socket, dead: bool) -> bool:
        """Remove the socket, unless a worker is about to join that can be served."""
        import fcntl

        path = self._config.path
        with open(os.path.join(os.path.dirname(path), LOCK), "ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            if not dead and select.select([listener], [], [], 0)[0]:
                return False
            os.unlink(path)
            return True

    def _before_batch(self, tickets: Sequence[Ticket]) -> None:
        """Tell each worker which of its tickets are about to run: none, if all are of others."""
        with self._lock:
            connections = {id(each.outgoing): each for each in self._connections}
        told: dict[int, list[int]] = {}
        for ticket in tickets:
            told.setdefault(id(ticket.session.answered), []).append(ticket.token)
        for owner, connection in connections.items():
            if owner in told or owner in self._told:
                connection.begin(told.get(owner, []))
        self._told = set(told)

    def _check_time(self) -> None:
        """End the process if a batch takes too long and no worker is left that would end it."""
        timeout, since = self._config.spec.sharing.timeout, self.engine.running_since
        if timeout is None or since is None:
            return
        if time.monotonic() - since > timeout + _GRACE:
            os._exit(1)

    def _on_broken(self, error: BaseException) -> None:
        """End the process: workers hand their tickets to another."""
        logger.error("the engine's process ends: %s", error)
        try:
            with self._lock:
                connections = list(self._connections)
            for connection in connections:
                connection.outgoing.put(EngineBroken(f"{type(error).__name__}: {error}"))
                connection.outgoing.put(None)
            for connection in connections:
                if connection.sender.is_alive():
                    connection.sender.join(5)
        finally:
            os._exit(1)


def main() -> None:
    """Run until it has no users any more."""
    config: ServerConfig = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this
    logging.basicConfig(level=logging.WARNING)
    Server(config).run()
    sys.stderr.flush()
    os._exit(0)  # without waiting for what libraries do when a process ends
