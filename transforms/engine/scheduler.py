"""Which chunks go next: decisions about lengths, with no model and no thread in them.

The cost of a batch is taken to be `overhead + rows * longest`, in padded tokens: `overhead` is
what starting a batch costs, in the tokens that could be computed meanwhile. Sorted by length and
cut into runs, a pool costs least where each run's padding is about one overhead: a longer run
would waste more on padding than it saves on starting another batch. Where the device works by
itself, a batch costs no less than what is computed while the next one is launched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")

_REMEMBERED = 48  # batches from which a device's speed is learned


@dataclass(frozen=True)
class Budget:
    """What one batch may hold, and what starting one costs."""

    max_rows: int
    #: A single longer chunk still makes a batch of its own.
    max_padded_tokens: int
    #: Cost of starting a batch, in padded tokens.
    overhead: float
    #: Padded tokens up to which a batch is no faster for being smaller: its device computes them
    #: while the next one is launched.
    hidden: float = 0.0


def partition(lengths: Sequence[int], budget: Budget) -> list[tuple[int, int]]:
    """Cut ascending lengths into runs [start, stop) that are good batches, the longest first."""
    runs = []
    stop = len(lengths)
    while stop:
        longest = lengths[stop - 1]
        most = max(1, min(budget.max_rows, budget.max_padded_tokens // max(longest, 1)))
        start, waste = stop - 1, 0
        floor = max(0, stop - most)
        while start > floor:
            waste += longest - lengths[start - 1]
            if waste > budget.overhead and (stop - start + 1) * longest > budget.hidden:
                break
            start -= 1
        runs.append((start, stop))
        stop = start
    return runs


@dataclass(frozen=True)
class Waiting(Generic[T]):
    """A chunk in the pool."""

    length: int
    #: How many chunks had arrived before it.
    arrival: int
    #: How many chunks had been taken before it arrived.
    taken_before: int
    chunk: T


class Pool(Generic[T]):
    """Chunks that wait for a batch, by batch key.

    Batches are planned for the whole pool, best first: the most real tokens for their cost. Those
    that remain may still find chunks that fit better. A chunk that `max_passes` others went
    ahead of goes first, so that none waits forever.
    """

    def __init__(self, max_passes: int = 4096) -> None:
        self._arrived: list[tuple[Hashable, Waiting[T]]] = []
        self._plan: list[tuple[Hashable, list[Waiting[T]]]] = []
        self._planned = 0
        self._arrivals = 0
        self._taken = 0
        self._tokens = 0
        self._max_passes = max_passes

    def __len__(self) -> int:
        return self._arrivals - self._taken

    @property
    def tokens(self) -> int:
        """Of all the chunks that wait, without padding."""
        return self._tokens

    def add(self, key: Hashable, length: int, chunk: T) -> None:
        """Put a chunk into the pool."""
        self._arrived.append((key, Waiting(length, self._arrivals, self._taken, chunk)))
        self._arrivals += 1
        self._tokens += length

    def take(self, budget: Callable[[Hashable], Budget]) -> list[T]:
        """Take the best batch: chunks of one key, within its budget. Empty: nothing waits."""
        if not self._plan or len(self._arrived) > self._planned // 4:
            self._make_plan(budget)
        if not self._plan:
            return []
        _, batch = self._plan.pop()
        self._planned -= len(batch)
        self._taken += len(batch)
        self._tokens -= sum(waiting.length for waiting in batch)
        return [waiting.chunk for waiting in batch]

    def replan(self) -> None:
        """Plan anew before the next batch: budgets have changed."""
        for key, batch in self._plan:
            self._arrived += [(key, waiting) for waiting in batch]
        self._plan, self._planned = [], 0

    def _make_plan(self, budget_of: Callable[[Hashable], Budget]) -> None:
        groups: dict[Hashable, list[Waiting[T]]] = {}
        for key, batch in self._plan:
            groups.setdefault(key, []).extend(batch)
        for key, waiting in self._arrived:
            groups.setdefault(key, []).append(waiting)
        self._arrived = []
        scored: list[tuple[float, int, Hashable, list[Waiting[T]]]] = []
        for key, group in groups.items():
            group.sort(key=_by_length)
            lengths = [waiting.length for waiting in group]
            budget = budget_of(key)
            for start, stop in partition(lengths, budget):
                batch = group[start:stop]
                scored.append((self._score(batch, budget), -len(scored), key, batch))
        scored.sort(key=_by_score)
        self._plan = [(key, batch) for _, _, key, batch in scored]
        self._planned = sum(len(batch) for _, batch in self._plan)

    def _score(self, batch: list[Waiting[T]], budget: Budget) -> float:
        """Real tokens for the cost, at most 1; more than 1 for a batch that is overdue."""
        passed_over = self._taken - min(waiting.taken_before for waiting in batch)
        if passed_over > self._max_passes:
            return float(passed_over)
        real = sum(waiting.length for waiting in batch)
        padded = len(batch) * batch[-1].length
        return real / (budget.overhead + max(padded, budget.hidden))


def _by_length(waiting: Waiting[T]) -> tuple[int, int]:
    return waiting.length, waiting.arrival


def _by_score(scored: tuple[float, int, Hashable, list[Waiting[T]]]) -> tuple[float, int]:
    return scored[:2]


class BatchCostModel:
    """What starting a batch costs on this model and device, learned from batches that ran.

    A straight line through (padded tokens, seconds) of the last batches: the median of the slopes
    between any two of them, which a few batches that something else disturbed do not move.
    """

    def __init__(self, overhead: float, low: float = 4.0, high: float = 32768.0) -> None:
        self.overhead = overhead
        #: What starting a batch costs in seconds; None: not known yet.
        self.start_seconds: float | None = None
        #: Padded tokens that the device computes in a second; None: not known yet.
        self.tokens_per_second: float | None = None
        #: Seconds that launching a batch takes.
        self.launch_seconds = 0.0
        self._low, self._high = low, high
        self._batches: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)
        self._launches: deque[float] = deque(maxlen=_REMEMBERED)
        self._observed = 0

    @property
    def hidden_tokens(self) -> float:
        """Padded tokens that the device computes while the next batch is launched."""
        return self.launch_seconds * (self.tokens_per_second or 0.0)

    def observe(self, tokens: int, seconds: float, launch_seconds: float = 0.0) -> None:
        """Learn from a batch.

        Args:
          tokens: its padded tokens.
          seconds: that it took.
          launch_seconds: that launching it took, where it ran on by itself after that.

        """
        self._batches.append((tokens, seconds))
        self._launches.append(launch_seconds)
        self._observed += 1
        if self._observed < 8 or not self._observed % 4:
            self._learn()

    def _learn(self) -> None:
        tokens, seconds = np.array(self._batches).T
        self.launch_seconds = float(np.median(self._launches))
        large = tokens >= np.median(tokens)
        self.tokens_per_second = float(np.median(tokens[large] / np.maximum(seconds[large], 1e-9)))
        spread = len(tokens) * tokens.var()
        if len(tokens) < 8 or spread < 0.05 * (tokens**2).sum():
            return  # too few batches, or all of one size: no line to draw
        one, other = np.triu_indices(len(tokens), 1)
        apart = tokens[one] - tokens[other]
        far = abs(apart) > 0.05 * tokens.max()
        slope = float(np.median((seconds[one] - seconds[other])[far] / apart[far]))
        if slope <= 0:
            return
        self.start_seconds = max(float(np.median(seconds - slope * tokens)), 0.0)
        self.overhead = min(max(self.start_seconds / slope, self._low), self._high)


class ReturningCallers:
    """Callers that may soon bring more: they had everything answered a moment ago.

    Small bundles hand over a chunk, wait for its answer, and the next bundle soon follows. A batch
    that starts without them costs one more start: so waiting for them may cost as much.
    """

    def __init__(self, longest: float) -> None:
        #: Most seconds to wait; a caller that takes longer to come back is not waited for.
        self._longest = longest
        #: When those were answered that have not come back, in that order.
        self._pending: deque[float] = deque()

    def __bool__(self) -> bool:
        return bool(self._pending)

    def answered(self, now: float) -> None:
        """A caller has everything answered."""
        if self._longest:
            self._pending.append(now)

    def arrived(self) -> None:
        """A caller that had nothing waiting brought something."""
        if self._pending:
            self._pending.popleft()

    def wait_seconds(self, now: float, start_seconds: float | None) -> float:
        """How many seconds are worth waiting where starting a batch costs `start_seconds`."""
        while self._pending and now - self._pending[0] >= self._longest:
            self._pending.popleft()
        if not self._pending:
            return 0.0
        return self._longest if start_seconds is None else min(self._longest, start_seconds)
