"""One model replica at work: a thread that computes, and the pool that feeds it.

Bundles submit tickets and collect them answered; chunks of all tickets wait in one pool, so small
bundles still make full batches. The engine starts on whatever is there: while one batch computes,
the next one gathers. It waits, for no longer than `max_wait_ms`, only for callers that were
answered a moment ago and have not brought more yet.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..options.spec import Limits
from .allocator import FreedMemory, clear_frames
from .errors import EngineError, breaks_engine, contained, is_fatal, is_out_of_memory
from .interface import Model, Program
from .memory_ceilings import Ceilings
from .reports import BatchReport, LoadReport, Report
from .scheduler import BatchCostModel, Budget, Pool, ReturningCallers
from .tickets import BundleSession, Parameters, Ticket

logger = logging.getLogger(__name__)

_MAX_ROWS = 512  # where the limits do not say: more gain nothing on any model measured
_CPU_TOKENS = 2048  # more make buffers so large that malloc asks the kernel for each of them
_MAX_ROWS_GENERATING = 64  # a generating model keeps a cache of every row in memory


class CancelledError(Exception):
    """The session was cancelled: nobody waits for the answer any more."""


_CANCELLED = CancelledError()


@dataclass(slots=True, eq=False)
class Chunk:
    """One chunk of a ticket, waiting in the pool."""

    ticket: Ticket
    index: int
    length: int
    key: Hashable
    #: When it arrived, on time.perf_counter.
    since: float
    #: What the model takes.
    features: Any


class Engine:
    """One replica, computing in a thread of its own from construction until `close`.

    `before_batch` is called with the tickets of each batch that is about to run; `on_broken` when
    an error says that the process cannot compute any more.
    """

    def __init__(
        self,
        load: Callable[[], Model],
        limits: Limits,
        name: str,
        before_batch: Callable[[Sequence[Ticket]], None] = lambda tickets: None,
        on_broken: Callable[[BaseException], None] = lambda error: None,
    ) -> None:
        self._load = load
        self._limits = limits
        self._before_batch = before_batch
        self._on_broken = on_broken
        self._arrivals: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()
        self._pool: Pool[Chunk] = Pool()
        self._programs: dict[str, Program] = {}
        self._ceilings = Ceilings()
        self._reports: list[Report] = []
        self.batches = 0
        #: When the batch that is computed began, on time.monotonic; None between batches.
        self.running_since: float | None = None
        #: When the last batch, or loading, ended, on time.perf_counter.
        self._idle_since = 0.0
        self._callers = ReturningCallers(limits.max_wait_ms / 1e3)
        #: Chunks that came since the last batch: no chunk waits for callers twice.
        self._new_chunks = 0
        #: Whether it will answer nothing any more.
        self.dead = False
        #: Whether its model is loaded.
        self.ready = False
        #: Tickets that are neither answered nor failed.
        self._live: set[Ticket] = set()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=f"engine {name}", daemon=True)
        self._thread.start()

    def session(self, parameters: Mapping[str, Any]) -> BundleSession:
        """Access for one bundle."""
        return BundleSession(self, parameters, Parameters.of(parameters).key)

    def submit(self, ticket: Ticket) -> None:
        """Accept a ticket; never waits. Raises EngineError after `close`."""
        if self._closed:
            raise EngineError("the engine was closed")
        self._arrivals.put(ticket)

    @property
    def waiting(self) -> int:
        """About how many tickets and chunks wait."""
        return len(self._pool) + self._arrivals.qsize()

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
            start = time.perf_counter()
            self._model = self._load()
            self._reports.append(LoadReport(time.perf_counter() - start, self._model.nbytes))
            self.ready = True
            self._idle_since = time.perf_counter()
            self._memory = FreedMemory(self._model.accelerated)
            self._cost = BatchCostModel(4096.0 if self._model.accelerated else 32.0)
            while self._accept():
                self._new_chunks = 0
                self._compute(self._pool.take(self._budget))
                self._memory.after_batch(self._idle_since)
        except BaseException as error:
            self._refuse(error)
            if not isinstance(error, Exception):
                raise

    def _budget(self, key: Hashable) -> Budget:
        overhead = self._cost.overhead
        rows = _MAX_ROWS_GENERATING if self._model.generates else _MAX_ROWS
        # Sixteen overheads of work make starting a batch cost about 6 % of it.
        tokens = self._limits.batch_tokens or int(min(max(_CPU_TOKENS, 16 * overhead), 131_072))
        tokens = min(tokens, self._ceilings.of(key))
        return Budget(self._limits.batch_size or rows, tokens, overhead)

    def _accept(self) -> bool:
        """Admit the tickets that have arrived, waiting if there is nothing to do. False: closed."""
        until: float | None = None  # the end of a wait for callers
        while True:
            seconds = (self._wait_seconds() if self._callers else 0.0) if len(self._pool) else None
            if seconds:
                now = time.perf_counter()
                until = now + seconds if until is None else until
                seconds = max(until - now, 0.0)
            try:
                ticket = self._arrivals.get(seconds != 0, seconds)
            except queue.Empty:
                return True
            if ticket is None:
                return False
            self._admit(ticket)

    def _wait_seconds(self) -> float:
        """How many seconds the pool may wait for elements from other bundles."""
        seconds = self._callers.wait_seconds(time.perf_counter(), self._cost.start_seconds)
        if not seconds or len(self._pool) > self._new_chunks:
            return 0.0
        budget = self._budget(None)
        full = len(self._pool) >= budget.max_rows or self._pool.tokens >= budget.max_padded_tokens
        return 0.0 if full else seconds

    def _admit(self, ticket: Ticket) -> None:
        self._live.add(ticket)
        if not ticket.session.in_flight:
            self._callers.arrived()
        ticket.session.in_flight += 1
        if ticket.session.cancelled:
            self._fail(ticket, _CANCELLED)
            return
        try:
            with contained:
                program = self._program(ticket.session)
                slots = [program.batch_slot(each) for each in ticket.features]
        except Exception as error:
            self._fail(ticket, error)
            return
        features, ticket.features = ticket.features, []
        ticket.outputs = [None] * len(slots)
        ticket.remaining = len(slots)
        now = time.perf_counter()
        isolated = id(ticket) if ticket.run_isolated else None
        for i, slot in enumerate(slots):
            key = (ticket.session.key, slot.key, isolated)
            chunk = Chunk(ticket, i, slot.length, key, now, features[i])
            self._pool.add(key, slot.length, chunk)
        self._new_chunks += len(slots)
        if not slots:
            self._done(ticket)

    def _program(self, session: BundleSession) -> Program:
        program = self._programs.get(session.key)
        if program is None:
            try:
                program = self._model.program(session.parameters)
            except Exception as error:  # the same for every element
                raise EngineError(f"{type(error).__name__}: {error}") from error
            self._programs[session.key] = program
        return program

    def _compute(self, batch: list[Chunk]) -> None:
        """Answer the chunks of a batch; on an error, half by half, down to the one that fails."""
        for chunk in batch:
            if chunk.ticket.session.cancelled:
                self._fail(chunk.ticket, _CANCELLED)
        batch = [chunk for chunk in batch if chunk.ticket.error is None]
        if not batch:
            return
        self._before_batch([chunk.ticket for chunk in batch])
        program = self._program(batch[0].ticket.session)
        start = time.perf_counter()
        self.running_since = time.monotonic()
        try:
            with contained:
                outputs = program.run([chunk.features for chunk in batch])
        except Exception as error:
            failed: Exception | None = error
        else:
            failed = None
        self.running_since = None
        if failed is not None:  # no longer in `except`, which would keep the tensors of its frames
            self._recover(batch, failed)
            return
        self._observe(batch, start, time.perf_counter() - start)
        for chunk, output in zip(batch, outputs, strict=True):
            self._answer(chunk, output)

    def _recover(self, batch: list[Chunk], error: Exception) -> None:
        """Split a batch that failed, or have its only chunk fail."""
        if is_fatal(error):
            raise error
        if breaks_engine(error):
            self._on_broken(error)
            raise EngineError(f"{type(error).__name__}: {error}") from error
        clear_frames(error)
        memory = is_out_of_memory(error)
        if len(batch) == 1:
            self._fail(batch[0].ticket, error)
            if memory:
                self._memory.after_failure()
                self._ceilings.failed_alone(batch[0].key, _padded(batch))
                self._pool.replan()
            return
        self._reports.append(BatchReport(rows=len(batch), split="memory" if memory else "data"))
        if not memory:
            logger.info("a batch of %d failed (%r): running its halves", len(batch), error)
            middle = len(batch) // 2
            self._compute(batch[:middle])
            self._compute(batch[middle:])
            return
        logger.info("no memory for %d padded tokens: smaller batches from here", _padded(batch))
        self._memory.after_failure()
        self._ceilings.failed(batch[0].key, _padded(batch))
        for chunk in batch:
            self._pool.add(chunk.key, chunk.length, chunk)
        self._pool.replan()

    def _observe(self, batch: list[Chunk], start: float, seconds: float) -> None:
        self.batches += 1
        size = _padded(batch)
        self._cost.observe(size, seconds)
        if self._ceilings.succeeded(batch[0].key, size):
            self._pool.replan()
        self._reports.append(
            BatchReport(
                rows=len(batch),
                tokens=sum(chunk.length for chunk in batch),
                padded=size,
                seconds=seconds,
                waited=start - min(chunk.since for chunk in batch),
                idle=start - self._idle_since,
            )
        )
        self._idle_since = start + seconds

    def _answer(self, chunk: Chunk, output: Any) -> None:
        ticket = chunk.ticket
        ticket.outputs[chunk.index] = output
        ticket.remaining -= 1
        if not ticket.remaining and ticket.error is None:
            self._done(ticket)

    def _fail(self, ticket: Ticket, error: BaseException) -> None:
        if ticket.error is None:
            ticket.error = error
            self._done(ticket)

    def _done(self, ticket: Ticket) -> None:
        self._live.discard(ticket)
        if not ticket.session.cancelled:
            ticket.reports, self._reports = self._reports, []
        ticket.session.in_flight -= 1
        if not ticket.session.in_flight:
            self._callers.answered(time.perf_counter())
        ticket.session.answered.put(ticket)

    def _refuse(self, error: BaseException) -> None:
        """Answer whatever waits, and comes until `close`, with the reason why nothing is computed.

        Otherwise bundles would block forever.
        """
        self.dead = True
        reason = error if isinstance(error, EngineError) else EngineError(str(error))
        if reason is not error:
            reason.__cause__ = error
        for ticket in tuple(self._live):
            self._fail(ticket, reason)
        while (arrived := self._arrivals.get()) is not None:
            self._fail(arrived, reason)


def _padded(batch: Sequence[Chunk]) -> int:
    return max(chunk.length for chunk in batch) * len(batch)
