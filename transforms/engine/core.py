"""One model replica at work, without a thread of its own: what its engine or process calls.

Chunks of all tickets wait in one pool, so small bundles still make full batches. A batch starts on
whatever is there: while one computes, the next one gathers. It waits, for no longer than
`max_wait_ms`, only for work that is known to come, or likely (see expected_work.py).

Where the device works by itself, two batches are in flight: the next one is put together and
launched while the device is at work on the one before, as soon as it is full; one that is not
full gathers on until the device has nothing else to do.
"""

from __future__ import annotations

import itertools
import logging
import operator
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from ..options.spec import Limits
from .allocator import FreedMemory, clear_frames
from .batch_sizes import BatchSizes
from .blocks import unpacked
from .chunks import Chunk, InFlight, Launch, chunks_of, padded
from .core_base import CANCELLED, CoreBase, OnLaunch
from .errors import EngineError, breaks_engine, contained, is_fatal, is_out_of_memory
from .expected_work import ExpectedWork
from .host_time import HostTime
from .interface import Computed, Model
from .reports import BatchReport, LoadReport
from .scheduler import Pool
from .tickets import Ticket

logger = logging.getLogger(__name__)

_LOOK_AGAIN = 0.0005  # seconds until a device is asked again whether it has finished


class EngineCore(CoreBase):
    """One replica that computes batch after batch.

    Args:
      limits: what a batch may hold.
      hand_back: called with each ticket that is answered or has failed.
      on_launch: called with the tickets of the batch that the device works on, and of the batch
        behind it, by the batches' numbers, whenever either is about to be another batch.
      on_broken: called with an error that says that the process cannot compute any more.

    """

    def __init__(
        self,
        limits: Limits,
        hand_back: Callable[[Ticket], None],
        on_launch: OnLaunch = lambda batches: None,
        on_broken: Callable[[BaseException], None] = lambda error: None,
    ) -> None:
        super().__init__(hand_back, on_launch, on_broken)
        self._limits = limits
        #: Those that were learned before the model was unloaded.
        self._learned: BatchSizes | None = None
        self._pool: Pool[Chunk] = Pool()
        self._in_flight: deque[InFlight] = deque()
        self._depth = 1
        #: Batches that were launched.
        self._launched = 0
        #: When the last batch, or loading, ended, on time.perf_counter.
        self._idle_since = 0.0
        self._expected = ExpectedWork(limits.max_wait_ms / 1e3)
        #: Chunks that came since the last batch: no chunk waits twice.
        self._new_chunks = 0

    @property
    def waiting(self) -> int:
        """About how many tickets and chunks wait."""
        return len(self._pool) + len(self._early)

    def loaded(self, model: Model, seconds: float) -> None:
        """Begin with a model that took `seconds` to load."""
        self._model = model
        self._depth = 2 if model.overlaps else 1
        self._reports.append(LoadReport(seconds, model.nbytes))
        self._idle_since = time.perf_counter()
        self._host_time = HostTime()
        self._memory = FreedMemory(model.accelerated)
        self._sizes = self._learned = self._learned or BatchSizes(self._limits, model)
        self._admit_early()

    def unload(self) -> None:
        """Let go of the model: what waits, and comes, stays until another is loaded."""
        self._finish_all()
        self._drop_model()

    def _arrived(self, tickets: Sequence[Ticket]) -> None:
        if self._model is not None:
            self._host_time.works()
        for ticket in tickets:
            self._expected.arrived(ticket.session)

    def _left(self, ticket: Ticket) -> None:
        self._expected.answered(ticket.session)

    def _forget_running(self) -> None:
        self._in_flight.clear()

    def _place(self, tickets: Sequence[Ticket]) -> None:
        """Put the chunks of a session's tickets into the pool."""
        try:
            with contained:
                program = self._program(tickets[0].session)
                if not program.takes_rows:
                    for ticket in tickets:
                        ticket.features = [unpacked(each) for each in ticket.features]
                slots = program.batch_slots(
                    [each for ticket in tickets for each in ticket.features]
                )
        except Exception as error:
            if len(tickets) == 1:
                self._fail(tickets[0], error)
                return
            for ticket in tickets:  # it may be the fault of one of them
                self._place([ticket])
            return
        chunks = chunks_of(tickets, slots)
        for key, group in itertools.groupby(chunks, operator.attrgetter("key")):
            self._add(key, list(group))
        self._new_chunks += len(chunks)
        for ticket in tickets:
            if not ticket.remaining:
                self._done(ticket)

    def _add(self, key: Hashable, chunks: Sequence[Chunk]) -> None:
        self._pool.add(key, [chunk.length for chunk in chunks], chunks)

    def wait_seconds(self) -> float | None:
        """For how long more tickets may be waited for before `step`; None: it has nothing to do."""
        if self._in_flight:
            if self._may_read() or self._may_launch():
                self._host_time.works()
                return 0.0
            self._host_time.looks()
            return _LOOK_AGAIN
        if not len(self._pool) or self._model is None:
            return None
        seconds = self._expected.wait_seconds(self._sizes.cost)
        if not seconds or len(self._pool) > self._new_chunks or self._sizes.full(self._pool):
            return 0.0
        return seconds

    def step(self) -> None:
        """Launch a batch, or wait for the oldest one and hand back its tickets.

        Raises what ends the engine.
        """
        if self._may_launch():
            self._new_chunks = 0
            self._launch(self._pool.take(self._sizes.budget))
        if self._in_flight and self._may_read() and not self._may_launch():
            self._finish()
        self._memory.after_batch(self._idle_since)

    def _may_launch(self) -> bool:
        if not len(self._pool) or len(self._in_flight) == self._depth:
            return False
        return (
            not self._in_flight
            or self._in_flight[0].ends_soon(self._idle_since, self._sizes.cost)
            or self._sizes.full(self._pool)
        )

    def _may_read(self) -> bool:
        """Whether the oldest batch in flight has finished, or there is nothing to do but wait."""
        return len(self._in_flight) == self._depth or self._in_flight[0].launched.done()

    def _launch(self, batch: list[Chunk]) -> None:
        """Have the device work on a batch; on an error, half by half, down to the one that fails.

        One that may end the process, or that has failed, is alone on the device.
        """
        batch = self._wanted(batch)
        if not batch:
            return
        isolated = batch[0].ticket.run_isolated
        if isolated:
            self._finish_all()
        start = time.perf_counter()
        error = self._try_launch(batch, start)
        if error is not None and is_out_of_memory(error) and self._in_flight:
            # The batches before it may have had the memory.
            clear_frames(error)
            self._finish_all()
            self._memory.after_failure()
            batch = self._wanted(batch)  # some may have failed with those batches
            error = self._try_launch(batch, time.perf_counter()) if batch else None
        if error is not None:
            self._finish_all()
            self._recover(batch, error)
        elif isolated:
            self._finish_all()

    def _wanted(self, batch: list[Chunk]) -> list[Chunk]:
        """The chunks that somebody waits for."""
        for chunk in batch:
            if chunk.ticket.session.cancelled:
                self._fail(chunk.ticket, CANCELLED)
        return [chunk for chunk in batch if chunk.ticket.error is None]

    def _try_launch(self, batch: list[Chunk], start: float) -> Exception | None:
        """Launch a batch; or the error that it fails with at once."""
        self._launched += 1
        tickets = [chunk.ticket for chunk in batch]
        self._announce({self._launched: tickets})
        idle = 0.0 if self._in_flight else start - self._idle_since
        if not self._in_flight:
            self.running_since = time.monotonic()
        program = self._program(batch[0].ticket.session)
        try:
            with contained:
                launched = program.launch([chunk.features for chunk in batch])
        except Exception as error:
            if not self._in_flight:
                self.running_since = None
            return error
        computed, host = isinstance(launched, Computed), self._host_time.lap()
        took = Launch(0.0, 0.0) if computed else Launch(time.perf_counter() - start, host)
        self._in_flight.append(
            InFlight(self._launched, batch, tickets, launched, start, idle, took)
        )
        if computed:  # there is nothing to wait for
            self._finish_all()
        return None

    def _announce(self, launched: Mapping[int, Sequence[Ticket]]) -> None:
        """Say which tickets the device works on now, and which come next."""
        self._on_launch({each.number: each.tickets for each in self._in_flight} | dict(launched))

    def _finish_all(self) -> None:
        while self._in_flight:
            self._finish()

    def _finish(self) -> None:
        """Wait for the oldest batch, and answer its chunks."""
        oldest = self._in_flight[0]
        outputs: Iterable[Any] = ()
        try:
            with contained:
                read = oldest.launched.outputs
                outputs = read() if oldest.launched.done() else self._host_time.wait(read)
        except Exception as error:
            failed: Exception | None = error
        else:
            failed = None
        if failed is not None and breaks_engine(failed):
            self._broken(failed)
        self._in_flight.popleft()
        end = time.perf_counter()
        begun = max(oldest.start, self._idle_since)
        self._idle_since = end
        self.running_since = time.monotonic() if self._in_flight else None
        if self._in_flight:
            self._announce({})
        if failed is not None:  # no longer in `except`, which would keep the tensors of its frames
            self._finish_all()
            self._recover(oldest.batch, failed)
            return
        self._observe(oldest, oldest.launched.seconds or end - begun)
        self._answer(oldest.batch, outputs)

    def _broken(self, error: BaseException) -> None:
        """The process cannot compute any more. Each batch in flight may be the reason."""
        self._on_broken(error)
        raise EngineError(f"{type(error).__name__}: {error}") from error

    def _recover(self, batch: list[Chunk], error: Exception) -> None:
        """Split a batch that failed, or have its only chunk fail. Nothing else is in flight."""
        if is_fatal(error):
            raise error
        if breaks_engine(error):
            self._broken(error)
        clear_frames(error)
        memory = is_out_of_memory(error)
        if len(batch) == 1:
            self._fail(batch[0].ticket, error)
            if memory:
                self._memory.after_failure()
                self._sizes.ceilings.failed_alone(batch[0].key, padded(batch))
                self._pool.replan()
            return
        self._reports.append(BatchReport(rows=len(batch), split="memory" if memory else "data"))
        if not memory:
            logger.info("a batch of %d failed (%r): running its halves", len(batch), error)
            middle = len(batch) // 2
            for half in (batch[:middle], batch[middle:]):
                self._launch(half)
                self._finish_all()
            return
        logger.info("no memory for %d padded tokens: smaller batches from here", padded(batch))
        self._memory.after_failure()
        self._sizes.ceilings.failed(batch[0].key, padded(batch))
        self._add(batch[0].key, batch)
        self._pool.replan()

    def _observe(self, finished: InFlight, seconds: float) -> None:
        batch = finished.batch
        size = padded(batch)
        self._sizes.cost.observe(size, seconds, finished.launch)
        if self._sizes.ceilings.succeeded(batch[0].key, size):
            self._pool.replan()
        self._reports.append(finished.report(seconds))

    def _answer(self, batch: Sequence[Chunk], outputs: Iterable[Any]) -> None:
        for chunk, output in zip(batch, outputs, strict=True):
            ticket = chunk.ticket
            ticket.outputs[chunk.index] = output
            ticket.remaining -= 1
            if not ticket.remaining and ticket.error is None:
                self._done(ticket)
