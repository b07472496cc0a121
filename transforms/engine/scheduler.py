"""Which chunks go next: decisions about lengths, with no model and no thread in them.

The cost of a batch is taken to be `overhead + rows * longest`, in padded tokens: `overhead` is
what starting a batch costs, in the tokens that could be computed meanwhile. Sorted by length and
cut into runs, a pool costs least where each run's padding is about one overhead: a longer run
would waste more on padding than it saves on starting another batch. Where the device works by
itself, a batch costs no less than what is computed while the next one is launched.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, repeat
from operator import itemgetter
from typing import Generic, NamedTuple, TypeVar

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
    #: while the next one is got ready.
    hidden: float = 0.0


def partition(lengths: Sequence[int], budget: Budget) -> list[tuple[int, int]]:
    """Cut ascending lengths into runs [start, stop) that are good batches, the longest first."""
    return _runs(lengths, _sums(lengths), budget)


def _runs(lengths: Sequence[int], sums: Sequence[int], budget: Budget) -> list[tuple[int, int]]:
    """The runs of `partition`, given the sums of the lengths before each."""
    runs = []
    stop = len(lengths)
    while stop:
        longest = lengths[stop - 1]
        most = max(1, min(budget.max_rows, budget.max_padded_tokens // max(longest, 1)))
        floor = max(0, stop - most)
        # Padding falls from here on: so it is enough to find the first run that has little.
        enough = partial(_little_padding, sums, stop, longest, budget.overhead)
        start = bisect_left(range(floor, stop - 1), True, key=enough) + floor
        start = min(start, max(floor, stop - int(budget.hidden // max(longest, 1))))
        runs.append((start, stop))
        stop = start
    return runs


def _little_padding(
    sums: Sequence[int], stop: int, longest: int, overhead: float, start: int
) -> bool:
    """Whether the padding of a run of ascending lengths is within one overhead."""
    return (stop - start) * longest - (sums[stop] - sums[start]) <= overhead


def _sums(lengths: Iterable[int]) -> list[int]:
    return list(accumulate(lengths, initial=0))


#: A chunk in the pool: its length, how many chunks had arrived before it, how many had been taken
#: before it arrived, and the chunk. In order of length, then of arrival.
Waiting = tuple[int, int, int, T]


class Pool(Generic[T]):
    """Chunks that wait for a batch, by batch key.

    Batches are planned for the whole pool, best first: the most real tokens for their cost. Those
    that remain may still find chunks that fit better. A chunk that `max_passes` others went
    ahead of goes first, so that none waits forever.
    """

    def __init__(self, max_passes: int = 4096) -> None:
        self._arrived: dict[Hashable, list[Waiting[T]]] = {}
        self._plan: list[_Planned[T]] = []
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

    def add(self, key: Hashable, lengths: Sequence[int], chunks: Sequence[T]) -> None:
        """Put chunks of one key into the pool."""
        arrivals = range(self._arrivals, self._arrivals + len(chunks))
        waiting = zip(lengths, arrivals, repeat(self._taken), chunks, strict=False)
        self._arrived.setdefault(key, []).extend(waiting)
        self._arrivals += len(chunks)
        self._tokens += sum(lengths)

    def take(self, budget: Callable[[Hashable], Budget]) -> list[T]:
        """Take the best batch: chunks of one key, within its budget. Empty: nothing waits."""
        new = len(self) - self._planned
        if not self._plan or new > self._planned // 4:
            self._make_plan(budget)
        if not self._plan:
            return []
        best = self._plan.pop()
        self._planned -= len(best.batch)
        self._taken += len(best.batch)
        self._tokens -= best.tokens
        return [chunk for _, _, _, chunk in best.batch]

    def replan(self) -> None:
        """Plan anew before the next batch: budgets have changed."""
        for planned in self._plan:
            self._arrived.setdefault(planned.key, []).extend(planned.batch)
        self._plan, self._planned = [], 0

    def _make_plan(self, budget_of: Callable[[Hashable], Budget]) -> None:
        # Keys that waited longest come first: of equal batches, theirs are taken first.
        groups: dict[Hashable, list[Waiting[T]]] = {}
        for planned in self._plan:
            groups.setdefault(planned.key, []).extend(planned.batch)
        for key, arrived in self._arrived.items():
            groups.setdefault(key, []).extend(arrived)
        plan: list[_Planned[T]] = []
        for key, group in groups.items():
            group.sort()
            lengths = [length for length, _, _, _ in group]
            sums, budget = _sums(lengths), budget_of(key)
            for start, stop in _runs(lengths, sums, budget):
                batch, tokens = group[start:stop], sums[stop] - sums[start]
                score = self._score(batch, tokens, budget)
                plan.append(_Planned(score, -len(plan), tokens, key, batch))
        plan.sort()
        self._arrived = {}
        self._plan, self._planned = plan, len(self)

    def _score(self, batch: list[Waiting[T]], tokens: int, budget: Budget) -> float:
        """Real tokens for the cost, at most 1; more than 1 for a batch that is overdue."""
        passed_over = self._taken - min(map(_taken_before, batch))
        if passed_over > self._max_passes:
            return float(passed_over)
        longest, *_ = batch[-1]
        padded = len(batch) * longest
        return tokens / (budget.overhead + max(padded, budget.hidden))


_taken_before = itemgetter(2)


class _Planned(NamedTuple, Generic[T]):
    """A batch that may be taken. In order of its score; of equal ones, the first planned last."""

    score: float
    order: int
    #: Without padding.
    tokens: int
    key: Hashable
    batch: list[Waiting[T]]


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
        #: Seconds that the engine's thread works for a batch, where the device works by itself.
        self.host_seconds = 0.0
        self._low, self._high = low, high
        self._batches: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)
        self._launches: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)
        self._observed = 0

    @property
    def hidden_tokens(self) -> float:
        """Padded tokens that the device computes while the engine's thread works for a batch."""
        return self.host_seconds * (self.tokens_per_second or 0.0)

    def observe(
        self, tokens: int, seconds: float, launch: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        """Learn from a batch.

        Args:
          tokens: its padded tokens.
          seconds: that it took.
          launch: where it ran on by itself after its launch, the seconds that the launch took, and
            those that the engine's thread worked for the batch in all.

        """
        self._batches.append((tokens, seconds))
        self._launches.append(launch)
        self._observed += 1
        if self._observed < 8 or not self._observed % 4:
            self._learn()

    def _learn(self) -> None:
        tokens, seconds = np.array(self._batches).T
        self.launch_seconds, self.host_seconds = map(float, np.median(self._launches, axis=0))
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
