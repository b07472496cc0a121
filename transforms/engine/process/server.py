"""An engine in a process of its own, for all worker processes of the machine.

Started by `sharing`, with its config on standard input; gone when nobody has used it for a while.
A connection carries tuples. From a worker: ("session", its number, key, parameters), ("ticket", its
number, its session's, whether alone, spans, features) and ("cancel", session's number). Back to it:
("loaded",) when the model is there; ("begin", tickets' numbers) before each batch that has some of
its tickets; ("answer", ticket's number, error, reports, how many wait, whether nothing will be
answered any more), and behind it the outputs; ("broken", why) before the end.
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

from ..engine import Engine, load_outside_gc
from ..errors import PicklableError
from ..interface import Model
from ..tickets import BundleSession, Ticket
from . import arena, protocol
from .launch import LOCK, ServerConfig

logger = logging.getLogger(__name__)

_LINGER = 5.0  # seconds without users: a worker that was killed may be back by then
_FIRST = 60.0  # seconds until the first user
_UNREAD = 30  # seconds: what one worker does not read keeps the engine from all others
_GRACE = 5.0  # seconds beyond its time: until then, workers end an overdue batch


class _Connection:
    """One worker process."""

    def __init__(self, server: Server, link: Connection) -> None:
        self._server = server
        self._link = link
        #: Tickets that are answered, and messages to send as they are; None to stop.
        self.outgoing: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._sessions: dict[int, BundleSession] = {}
        self._sending = threading.Lock()
        self.sender = threading.Thread(target=self._send, daemon=True)

    def serve(self) -> None:
        """Take in what the worker sends until it goes."""
        try:
            deliver_challenge(self._link, self._server.key)
            answer_challenge(self._link, self._server.key)
            self._link.send_bytes(pickle.dumps(os.getpid()))
            self._arena = arena.MappedArena(reduction.recv_handle(self._link))
            self.sender.start()
            while True:
                self._accept(*pickle.loads(self._link.recv_bytes()))  # noqa: S301 - it has the key
        except (EOFError, OSError):
            pass
        except AuthenticationError as error:
            logger.warning("who does not know the key was turned away: %s", error)
        except Exception:
            logger.exception("a worker was dropped")
        finally:
            for session in self._sessions.values():
                session.cancel()
            self.outgoing.put(None)
            self._server.left(self)

    def _accept(self, kind: str, number: int, *rest: Any) -> None:
        engine = self._server.engine
        if kind == "session":
            key, pickled = rest
            parameters = pickle.loads(pickled)  # noqa: S301 - it has the key
            self._sessions[number] = BundleSession(engine, parameters, key, self.outgoing)
        elif kind == "ticket":
            owner, run_isolated, spans, data = rest
            ticket = Ticket(self._sessions[owner], number, [], run_isolated=run_isolated)
            try:
                ticket.features = protocol.loads(data, spans, self._arena)
            except Exception as error:  # of a class that is not known here
                ticket.error = error
                self.outgoing.put(ticket)
            else:
                engine.submit(ticket)
        elif number in self._sessions:
            self._sessions.pop(number).cancel()

    def _send(self) -> None:
        while (item := self.outgoing.get()) is not None:
            self._post(self._answer(item) if isinstance(item, Ticket) else protocol.message(item))

    def begin(self, numbers: list[int]) -> None:
        """Tell the worker, before anything else can happen, which tickets are about to run."""
        self._post(protocol.message(("begin", numbers)))

    def _post(self, message: bytes) -> None:
        """Send; a worker that has gone, or reads nothing for `_UNREAD` seconds, is dropped."""
        with self._sending:
            try:
                self._link.send_bytes(message)
            except OSError:
                protocol.shut(self._link)

    def _answer(self, ticket: Ticket) -> bytes:
        engine = self._server.engine

        def message(error: BaseException | None, outputs: Any) -> bytes:
            crossing = None if error is None else PicklableError.of(error)
            rest = (crossing, ticket.reports, engine.waiting, engine.dead)
            # Outputs apart: of a class that the worker does not know, they fail alone.
            return protocol.message(("answer", ticket.token, *rest), outputs)

        if ticket.error is not None:
            return message(ticket.error, None)
        try:
            return message(None, ticket.outputs)
        except Exception as error:  # outputs that cannot be pickled
            return message(error, None)


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
        self.engine = Engine(self._load, spec.limits, spec.name, self._begin, self._broken)

    def _load(self) -> Model:
        model = load_outside_gc(self._config.spec.load)
        with self._lock:
            self._loaded = True
            for connection in self._connections:
                connection.outgoing.put(("loaded",))
        return model

    def run(self) -> None:
        """Serve whoever connects; return when nobody has been there for a while."""
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
            elif dead or time.monotonic() - used > (_LINGER if joined else _FIRST):
                withdrawn = self._withdraw(listener, dead)
        listener.close()
        while self._connections:  # of a dead engine: each ticket is told why
            time.sleep(0.1)

    def _join(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _UNREAD, 0))
        connection = _Connection(self, Connection(sock.detach()))
        with self._lock:
            self._connections.add(connection)
            if self._loaded:
                connection.outgoing.put(("loaded",))
        threading.Thread(target=connection.serve, daemon=True).start()

    def left(self, connection: _Connection) -> None:
        """A worker has gone."""
        with self._lock:
            self._connections.discard(connection)

    def _withdraw(self, listener: socket.socket, dead: bool) -> bool:
        """Take the socket away, unless somebody is about to join who can be served."""
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

    def _begin(self, tickets: Sequence[Ticket]) -> None:
        """Tell each worker which of its tickets are about to run, and none if they are others'."""
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
        """End with a batch that takes too long, should nobody be left to end it."""
        timeout, since = self._config.spec.sharing.timeout, self.engine.running_since
        if timeout is None or since is None:
            return
        if time.monotonic() - since > timeout + _GRACE:
            os._exit(1)

    def _broken(self, error: BaseException) -> None:
        """End: whoever waits hands its tickets to another process."""
        logger.error("the engine's process ends: %s", error)
        try:
            with self._lock:
                connections = list(self._connections)
            for connection in connections:
                connection.outgoing.put(("broken", f"{type(error).__name__}: {error}"))
                connection.outgoing.put(None)
            for connection in connections:
                if connection.sender.is_alive():
                    connection.sender.join(5)
        finally:
            os._exit(1)


def main() -> None:
    """Run until nobody needs it any more."""
    config: ServerConfig = pickle.load(sys.stdin.buffer)  # noqa: S301 - from who started this
    logging.basicConfig(level=logging.WARNING)
    Server(config).run()
    sys.stderr.flush()
    os._exit(0)  # without waiting for libraries to take themselves apart
