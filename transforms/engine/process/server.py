"""An engine in a process of its own, for all worker processes of the machine.

Started by `launch`, with its configuration on standard input; it ends when it has had no users for
a while. What it is told and what it answers is in `protocol`.

Once the model is loaded, one thread does everything: it reads what workers send, puts batches
together, launches them, reads results back and sends them. A second thread that ran Python would
take the interpreter from it between any two of the hundreds of operations of a forward pass, for
up to 5 ms each time; beside one that is busy, a pass that takes 4 ms was seen to take 2 s.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import pickle
import resource
import select
import selectors
import socket
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from ..allocator import free_model, load_outside_gc
from ..continuous.core import ContinuousCore
from ..core import EngineCore
from ..core_base import CoreBase
from ..device_memory import device_memory
from ..residency import Residency
from ..tickets import Ticket
from .client import Client
from .launch import LOCK, ServerConfig, folder
from .protocol import EngineBroken, ModelLoaded

logger = logging.getLogger(__name__)

_LINGER = 5.0  # seconds without users: a worker that was killed may be back by then
_FIRST_USER = 60.0  # seconds that it waits for its first user
_LAST_WORDS = 5.0  # seconds for workers to read why the process ends
_GREETING = 10.0  # seconds in which a worker proves that it knows the key
_MOST_READS = 16  # of what workers have sent, before the next batch
_GRACE = 5.0  # seconds beyond the timeout: until then, workers end an overdue batch
_LOADING = 0.02  # seconds between looks at whether the model is there
_LOOK = 1.0  # seconds between looks at who is still there


class Server:
    """The engine and its connections."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._clients: dict[socket.socket, Client] = {}
        self._listener = socket.socket(fileno=config.listener)
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        #: Tickets that are to be handed back.
        self._answered: list[Ticket] = []
        #: The numbers of tickets in batches that the device has not finished, by batch and client.
        self._launched: dict[int, dict[Client, list[int]]] = {}
        self._joined = False
        #: When the wait for more tickets ends, on time.monotonic; None: nothing waits for them.
        self._until: float | None = None
        #: The thread that loads the model, and what it has loaded.
        self._loading: threading.Thread | None = None
        self._loaded: Any = None
        self._ready = False
        self._residency = Residency(device_memory(config.spec, folder), config.spec.name)
        self._used = time.monotonic()
        self.core = self._new_core()

    def _new_core(self) -> CoreBase:
        spec, calls = self._config.spec, (self._answered.append, self._announce, self._on_broken)
        if spec.continuous:
            return ContinuousCore(*calls, timeout=spec.sharing.timeout)
        return EngineCore(spec.limits, *calls)

    def run(self) -> None:
        """Serve whoever connects; return when there have been no users for a while."""
        threading.Thread(target=self._watch, daemon=True).start()
        while not self._withdrawn():
            try:
                self._look_after_model()
            except BaseException as error:  # of loading, too
                self.core.refuse(error)
            if self.core.has_model or self.core.dead:
                self._serve(time.monotonic() + min(_LOOK, self._residency.poll_seconds))
            else:
                self._receive(_LOADING)
        with contextlib.suppress(Exception):  # nothing depends on it any more
            self._residency.unloaded()
        while self._clients and self._loading is None:  # of a dead engine: each ticket is told why
            self._receive(0.1)

    def _look_after_model(self) -> None:
        """Load the model, begin with it or let go of it, if that is due. Raises what fails."""
        if self._loading is not None:
            if not self._loading.is_alive():
                self._loading = None
                self._begin()
        elif self.core.has_model:
            if self._residency.must_unload(is_busy=self.core.is_busy):
                self.core.unload()
                self._residency.unloaded()
        elif not self.core.dead and self._residency.may_load(is_needed=self.core.is_busy):
            self._loading = threading.Thread(target=self._load, daemon=True)
            self._loading.start()

    def _load(self) -> None:
        start = time.perf_counter()
        try:
            self._loaded = load_outside_gc(self._config.spec.load)
        except BaseException as error:
            self._loaded = error
        self._loading_seconds = time.perf_counter() - start

    def _begin(self) -> None:
        loaded, self._loaded = self._loaded, None
        assert loaded is not None
        if isinstance(loaded, BaseException):
            raise loaded
        if not self._residency.loaded(loaded.nbytes, self._loading_seconds):
            del loaded
            free_model()
            self._residency.unloaded()
            return
        self._ready = True
        if not self._residency.may_unload:
            gc.collect()
            gc.freeze()  # what was imported and made for the model stays, too
        for client in self._clients.values():
            if client.joined:
                client.post(ModelLoaded())
        self.core.loaded(loaded, self._loading_seconds)

    def _serve(self, end: float) -> None:
        """Compute what comes until a time on time.monotonic."""
        while (now := time.monotonic()) < end:
            seconds = None if self.core.dead else self.core.wait_seconds()
            if seconds is None:
                self._until = None
                self._receive(end - now)
                continue
            until = now + seconds if self._until is None else min(self._until, now + seconds)
            self._until = until
            if self._receive(max(until - now, 0.0)) and time.monotonic() < until:
                continue
            for _ in range(_MOST_READS):  # what has come while a batch was computed
                if not self._receive(0.0):
                    break
            self._until = None
            try:
                self.core.step()
            except Exception as error:
                self.core.refuse(error)

    def _receive(self, seconds: float) -> bool:
        """Hand back what is answered, and accept and read what comes within a time; whether any."""
        self._hand_back()
        events = self._selector.select(seconds)
        for key, event in events:
            if key.fileobj is self._listener:
                self._accept()
                continue
            client = key.data
            if event & selectors.EVENT_WRITE:
                client.send()
            if event & selectors.EVENT_READ:
                client.read()
            self._settle(client)
        return bool(events)

    def _accept(self) -> None:
        try:
            sock = self._listener.accept()[0]
        except OSError as error:  # who came has gone, or there are no descriptors left
            logger.warning("a worker cannot be accepted: %s", error)
            time.sleep(_LOADING)
            return
        client = Client(sock, self._config.spec.sharing.key, self.core, self._on_join)
        self._clients[sock] = client
        self._selector.register(sock, selectors.EVENT_READ, client)
        self._joined = True
        self._settle(client)

    def _on_join(self, client: Client) -> None:
        if self._ready:
            client.post(ModelLoaded())

    def _drop_strangers(self) -> None:
        """Forget who has not proved in time to know the key."""
        oldest = time.monotonic() - _GREETING
        for client in tuple(self._clients.values()):
            if not client.joined and client.since < oldest:
                client.gone = True
                self._settle(client)

    def _settle(self, client: Client) -> None:
        """Forget a client that has gone, and wait to write to one that could not take all."""
        if client.gone:
            if self._clients.pop(client.sock, None) is not None:
                self._selector.unregister(client.sock)
                for tokens in self._launched.values():
                    tokens.pop(client, None)
                client.close()
            return
        write = selectors.EVENT_WRITE if client.outgoing else 0
        if self._selector.get_key(client.sock).events != selectors.EVENT_READ | write:
            self._selector.modify(client.sock, selectors.EVENT_READ | write, client)

    def _hand_back(self) -> None:
        """Send the tickets that are answered."""
        if not self._answered:
            return
        tickets, self._answered[:] = self._answered[:], []
        by_client: dict[Client, list[Ticket]] = {}
        for ticket in tickets:
            by_client.setdefault(ticket.session.engine, []).append(ticket)
        for client, own in by_client.items():
            client.answer(own)
            self._settle(client)

    def _announce(self, batches: Mapping[int, Sequence[Ticket]]) -> None:
        """Tell each worker which of its tickets are launched: none, if all are of others."""
        self._hand_back()
        before = self._launched
        self._launched = {
            number: before[number] if number in before else _by_client(tickets)
            for number, tickets in batches.items()
        }
        number, *_ = batches
        for client in {*chain(*before.values()), *chain(*self._launched.values())}:
            client.announce(number, *(own.get(client, []) for own in self._launched.values()))
            self._settle(client)

    def _withdrawn(self) -> bool:
        """Whether there have been no users for a while, or no answers will come; nobody joins."""
        self._drop_strangers()
        dead = self._joined and self.core.dead  # and somebody is told why
        now = time.monotonic()
        if any(client.joined for client in self._clients.values()) and not dead:
            self._used = now
            return False
        longest = _LINGER if self._joined else _FIRST_USER
        if not dead and now - self._used < longest:
            return False
        return self._withdraw(dead)

    def _withdraw(self, dead: bool) -> bool:
        """Remove the socket, unless a worker is about to join that can be served."""
        import fcntl

        path = self._config.path
        with open(os.path.join(os.path.dirname(path), LOCK), "ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            if not dead and select.select([self._listener], [], [], 0)[0]:
                return False
            os.unlink(path)
            self._selector.unregister(self._listener)
            self._listener.close()
            return True

    def _watch(self) -> None:
        """End the process if a batch outlasts all workers, or its time and theirs to end it.

        A thread that sleeps: it runs for some microseconds a second.
        """
        left: float | None = None  # since when nobody is there, while a batch is computed
        while True:
            time.sleep(_LOOK)
            since, timeout = self.core.running_since, self._config.spec.sharing.timeout
            if since is None:
                left = None
                continue
            now = time.monotonic()
            if timeout is not None and now - since > timeout + _GRACE:
                os._exit(1)
            if not _all_gone(tuple(self._clients)):
                left = None
            elif left is None:
                left = now
            elif now - left > _LINGER:
                os._exit(1)

    def _on_broken(self, error: BaseException) -> None:
        """End the process: workers hand their tickets to another."""
        logger.error("the engine's process ends: %s", error)
        end = time.monotonic() + _LAST_WORDS
        try:
            self._hand_back()
            for client in self._clients.values():
                left = max(end - time.monotonic(), 0.1)
                client.last_words(EngineBroken(f"{type(error).__name__}: {error}"), left)
        finally:
            os._exit(1)


def _by_client(tickets: Sequence[Ticket]) -> dict[Client, list[int]]:
    """The numbers of tickets."""
    numbers: dict[Client, list[int]] = {}
    for ticket in tickets:
        numbers.setdefault(ticket.session.engine, []).append(ticket.token)
    return numbers


def _all_gone(sockets: Iterable[socket.socket]) -> bool:
    """Whether the other end of every socket is closed."""
    poll = select.poll()
    count = 0
    for each in sockets:
        with contextlib.suppress(ValueError):  # it is closed now
            poll.register(each, 0)  # hang-ups are told in any case
            count += 1
    return sum(bool(event & select.POLLHUP) for _, event in poll.poll(0)) == count


def main() -> None:
    """Serve what standard input says."""
    serve(pickle.load(sys.stdin.buffer))  # noqa: S301 - from the process that started this


def serve(config: ServerConfig) -> None:
    """Be the engine's process until it has no users any more."""
    logging.basicConfig(level=logging.WARNING)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses more than it can open
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    Server(config).run()
    sys.stderr.flush()
    os._exit(0)  # without waiting for what libraries do when a process ends
