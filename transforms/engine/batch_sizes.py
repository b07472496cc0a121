"""How large the batches of a model may be, as far as is known by now."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from ..options.spec import Limits
from .interface import Model
from .memory_ceilings import Ceilings
from .scheduler import BatchCostModel, Budget, Pool

_MAX_ROWS = 512  # where the limits do not say: more gain nothing on any model measured
_MAX_ROWS_OVERLAPPED = 1024  # launching a batch takes as long as computing many short rows
_MAX_ROWS_GENERATING = 64  # a generating model keeps a cache of every row in memory
#: Padded tokens that starting a batch costs at first, until it is known.
_START, _START_ACCELERATED = 32.0, 4096.0
_START_GENERATING = 1024.0  # the last rows of a batch compute alone for as long as many would
_CPU_TOKENS = 2048  # more make buffers so large that malloc asks the kernel for each of them
_MAX_TOKENS = 131_072  # padded: what an accelerator gains from more is lost in waiting for them
_HIDDEN = 1.5  # times the work that hides the launch of the next batch: launches take turns


class BatchSizes:
    """What a batch may hold, by what the user limits, what memory holds, and what a start costs."""

    def __init__(self, limits: Limits, model: Model) -> None:
        self._limits = limits
        self._overlaps = model.overlaps
        start = _START_GENERATING if model.generates else _START
        self.cost = BatchCostModel(_START_ACCELERATED if model.accelerated else start)
        self.ceilings = Ceilings()
        rows = _MAX_ROWS_OVERLAPPED if model.overlaps else _MAX_ROWS
        self._rows = limits.batch_size or (_MAX_ROWS_GENERATING if model.generates else rows)

    def budget(self, key: Hashable) -> Budget:
        """What a batch of this key may hold."""
        overhead = self.cost.overhead
        hidden = _HIDDEN * self.cost.hidden_tokens if self._overlaps else 0.0
        # Sixteen overheads of work make starting a batch cost about 6 % of it.
        most = min(max(_CPU_TOKENS, 16 * overhead, 4 * hidden), _MAX_TOKENS)
        tokens = min(self._limits.batch_tokens or int(most), self.ceilings.of(key))
        return Budget(self._rows, tokens, overhead, hidden)

    def full(self, pool: Pool[Any]) -> bool:
        """Whether what waits makes a batch that cannot be much better."""
        budget = self.budget(None)
        enough = min(budget.max_padded_tokens, 2 * budget.hidden or budget.max_padded_tokens)
        return len(pool) >= budget.max_rows or pool.tokens >= enough
