"""One model replica that has no batches: chunks enter it as they come, and leave as they finish.

The model says how many chunks it works on at once; a few more are handed to it, so that one is
there when another leaves. The rest waits here: should the process die, only those that the model
had may be the reason, and run alone in the next one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..blocks import unpacked
from ..core_base import CANCELLED, CoreBase, OnLaunch
from ..errors import EngineError, contained
from ..reports import BatchReport, LoadReport
from ..tickets import Ticket
from .interface import ContinuousModel

_AHEAD = 8  # the part of what the model works on at once that is handed to it ahead
_TELL = 1.0  # seconds between announcements that steps go on, at most
_TELL_OFTEN = 4  # announcements in the time that a step may take


@dataclass(slots=True, eq=False)
class Waiting:
    """One chunk of a ticket."""

    ticket: Ticket
    index: int
    features: object
    #: When it arrived, on time.perf_counter.
    since: float
    #: Its tokens, once the model has it.
    length: int = 0


class ContinuousCore(CoreBase):
    """One replica that works on each chunk for as many steps as it takes."""

    def __init__(
        self,
        hand_back: Callable[[Ticket], None],
        on_launch: OnLaunch = lambda batches: None,
        on_broken: Callable[[BaseException], None] = lambda error: None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(hand_back, on_launch, on_broken)
        self._tell = _TELL if timeout is None else min(_TELL, timeout / _TELL_OFTEN)
        self._model: ContinuousModel | None = None
        self._waiting: deque[Waiting] = deque()
        #: Chunks of tickets that run alone: one of them may have broken an engine.
        self._isolated: deque[Waiting] = deque()
        #: What the model works on, by number.
        self._running: dict[int, Waiting] = {}
        self._numbers = 0
        self._announced = 0
        self._announced_at = 0.0
        #: Whether other chunks run than were announced.
        self._changed = False
        #: Seconds of steps since the last chunk finished, and without work before the first.
        self._seconds = self._idle = 0.0
        self._idle_since = 0.0

    @property
    def waiting(self) -> int:
        """About how many tickets and chunks wait."""
        return len(self._waiting) + len(self._isolated) + len(self._running) + len(self._early)

    def loaded(self, model: ContinuousModel, seconds: float) -> None:
        """Begin with a model that took `seconds` to load."""
        self._model = model
        self._reports.append(LoadReport(seconds, model.nbytes))
        self._idle_since = time.perf_counter()
        self._admit_early()

    def unload(self) -> None:
        """Never: a model of this kind makes no room for others."""
        raise EngineError("the model stays loaded")

    def wait_seconds(self) -> float | None:
        """None without work, else nothing: more joins what is there at any step."""
        has_work = self._running or self._waiting or self._isolated
        return 0.0 if has_work and self._model is not None else None

    def step(self) -> None:
        """Hand over what waits, compute a step, and hand back what has finished.

        Raises what ends the engine.
        """
        assert self._model is not None
        self._drop_cancelled()
        self._submit()
        if not self._running:
            return
        self._announce()
        start = time.perf_counter()
        self._idle += start - self._idle_since
        self.running_since = time.monotonic()
        try:
            with contained:
                finished = self._model.step()
        except Exception as error:  # of no chunk in particular: any of them may be the reason
            self._on_broken(error)
            raise EngineError(f"{type(error).__name__}: {error}") from error
        self.running_since = None
        self._idle_since = time.perf_counter()
        self._seconds += self._idle_since - start
        self._answer(finished)

    def _place(self, tickets: Sequence[Ticket]) -> None:
        now = time.perf_counter()
        for ticket in tickets:
            features, ticket.features = ticket.features, []
            ticket.outputs = [None] * len(features)
            ticket.remaining = len(features)
            queue = self._isolated if ticket.run_isolated else self._waiting
            queue += [Waiting(ticket, i, each, now) for i, each in enumerate(features)]
            if not features:
                self._done(ticket)

    def _submit(self) -> None:
        """Hand over what the model has room for; what is to run alone when it has nothing else."""
        while self._isolated and not self._running:
            self._hand_over(self._isolated.popleft())
        if self._isolated or any(each.ticket.run_isolated for each in self._running.values()):
            return
        assert self._model is not None
        room = self._model.capacity + max(1, self._model.capacity // _AHEAD)
        while self._waiting and len(self._running) < room:
            self._hand_over(self._waiting.popleft())

    def _hand_over(self, chunk: Waiting) -> None:
        ticket = chunk.ticket
        if ticket.session.cancelled:
            self._fail(ticket, CANCELLED)
        if ticket.error is not None:
            return
        self._numbers += 1
        try:
            with contained:
                program = self._program(ticket.session)
                features = unpacked(chunk.features)
                chunk.length = program.length(features)
                program.submit(self._numbers, features)
        except Exception as error:
            self._fail(ticket, error)
            return
        chunk.features = None
        self._running[self._numbers] = chunk
        self._changed = True

    def _drop_cancelled(self) -> None:
        """Have the model forget chunks that nobody waits for."""
        gone = [
            number
            for number, chunk in self._running.items()
            if chunk.ticket.session.cancelled or chunk.ticket.error is not None
        ]
        if not gone:
            return
        assert self._model is not None
        self._model.cancel(gone)
        for number in gone:
            self._fail(self._running.pop(number).ticket, CANCELLED)
        self._changed = True

    def _announce(self) -> None:
        """Say what the model works on, and now and then that it goes on."""
        now = time.monotonic()
        if not self._changed and now - self._announced_at < self._tell:
            return
        self._announced += 1
        self._announced_at, self._changed = now, False
        tickets = dict.fromkeys(chunk.ticket for chunk in self._running.values())
        self._on_launch({self._announced: list(tickets)})

    def _answer(self, finished: Sequence[tuple[int, object]]) -> None:
        chunks = [(self._running.pop(number), outputs) for number, outputs in finished]
        if not chunks:
            return
        self._changed = True
        self._report([chunk for chunk, _ in chunks])
        for chunk, outputs in chunks:
            ticket = chunk.ticket
            if isinstance(outputs, Exception):
                self._fail(ticket, outputs)
                continue
            ticket.outputs[chunk.index] = outputs
            ticket.remaining -= 1
            if not ticket.remaining and ticket.error is None:
                self._done(ticket)

    def _report(self, chunks: Sequence[Waiting]) -> None:
        """The chunks that have finished, as a batch, with the time since others did."""
        tokens = sum(chunk.length for chunk in chunks)
        waited = time.perf_counter() - min(chunk.since for chunk in chunks)
        self._reports.append(
            BatchReport(len(chunks), tokens, tokens, self._seconds, waited, self._idle)
        )
        self._seconds = self._idle = 0.0

    def _forget_running(self) -> None:
        self._running.clear()
        self._waiting.clear()
        self._isolated.clear()
