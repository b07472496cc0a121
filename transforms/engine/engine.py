"""An engine of this process: a thread that computes what bundles submit."""

from __future__ import annotations

import contextlib
import math
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..options.spec import Limits
from .allocator import free_model
from .core import EngineCore
from .device_memory import DeviceMemory
from .errors import EngineError
from .interface import Model
from .residency import Residency
from .tickets import BundleSession, Parameters, Ticket


class Engine:
    """One replica, computing in a thread of its own from construction until `close`.

    Args:
      load: loads the model.
      limits: what a batch may hold.
      name: the model's name, for messages.
      memory: the model's part in memory that models share. None: the model stays loaded.

    """

    def __init__(
        self,
        load: Callable[[], Model],
        limits: Limits,
        name: str,
        memory: DeviceMemory | None = None,
    ) -> None:
        self._load = load
        self._residency = Residency(memory, name)
        self._core = EngineCore(limits, Ticket.hand_back)
        self._arrivals: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()
        #: Whether its model is loaded.
        self.ready = False
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=f"engine {name}", daemon=True)
        self._thread.start()

    @property
    def dead(self) -> bool:
        """Whether it will answer nothing any more."""
        return self._core.dead

    def session(self, parameters: Mapping[str, Any]) -> BundleSession:
        """Access for one bundle."""
        return BundleSession(self, parameters, Parameters.of(parameters).key)

    def submit(self, ticket: Ticket) -> None:
        """Accept a ticket; never waits. Raises EngineError after `close`."""
        if self._closed:
            raise EngineError("the engine was closed")
        self._arrivals.put(ticket)

    def flush(self) -> None:
        """Nothing to do: every ticket is passed on at once."""

    def forget(self, session: BundleSession) -> None:
        """Nothing to do: a cancelled session's tickets are passed over when their turn comes."""

    def stop(self) -> None:
        """Stop after the batch that is running; never waits."""
        self._closed = True
        self._arrivals.put(None)

    def close(self) -> None:
        """Stop after the batch that is running, and wait for that."""
        self.stop()
        self._thread.join()

    def _work(self) -> None:
        try:
            self._compute()
        except BaseException as error:
            # Whatever waits, and comes until `close`, is told why: bundles would block forever.
            self._core.refuse(error)
            self._leave()
            while (ticket := self._arrivals.get()) is not None:
                self._core.admit([ticket])
            if not isinstance(error, Exception):
                raise
        self._leave()

    def _leave(self) -> None:
        """Give up the room in memory, if that is possible: nothing depends on it any more."""
        with contextlib.suppress(Exception):
            self._residency.unloaded()

    def _look_after_model(self) -> None:
        """Load the model or let go of it, if that is due."""
        if self._core.has_model:
            if self._residency.must_unload(is_busy=self._core.is_busy):
                self._core.unload()
                self._residency.unloaded()
        elif self._residency.may_load(is_needed=self._core.is_busy):
            start = time.perf_counter()
            model = self._load()
            seconds = time.perf_counter() - start
            if self._residency.loaded(model.nbytes, seconds):
                self._core.loaded(model, seconds)
                self.ready = True
                return
            del model
            free_model()
            self._residency.unloaded()

    def _compute(self) -> None:
        """Admit what arrives and compute it, until `stop`."""
        until: float | None = None  # the end of a wait for more
        while True:
            self._look_after_model()
            seconds = self._core.wait_seconds()
            if seconds:
                now = time.perf_counter()
                until = now + seconds if until is None else until
                seconds = max(until - now, 0.0)
            else:
                until = None
            poll = self._residency.poll_seconds
            arrived = self._arrived(min(poll, math.inf if seconds is None else seconds))
            if arrived is None:
                return
            if arrived:
                self._core.admit(arrived)
            elif seconds is not None and seconds <= poll:
                until = None
                self._core.step()

    def _arrived(self, seconds: float) -> list[Ticket] | None:
        """The tickets that arrive within a time: none, if nothing does; None after `stop`."""
        try:
            ticket = self._arrivals.get(seconds != 0, None if seconds == math.inf else seconds)
        except queue.Empty:
            return []
        if ticket is None:
            return None
        tickets = [ticket]
        while not self._arrivals.empty():
            ticket = self._arrivals.get()
            if ticket is None:
                self._arrivals.put(None)  # for the next time
                break
            tickets.append(ticket)
        return tickets
