"""How large a batch may be before memory runs out, learned from those that did and did not fit."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

# A batch that fails is paid for with nothing in return, one that is too small still does its work:
# so down in leaps and up in steps. Simulated over limits from 1/100 of the first batch up to it,
# that takes at most five failures, and costs at most 10 % after thirty batches.
_GROW_AFTER = 4  # batches near the ceiling that fitted
_GROWTH = 1.2
_MIN_GROWTH = 1.05  # a smaller step up is not worth a failure
# Batches just below a size that failed, after which it is tried again: memory may be free again.
_RETRY_AFTER_BATCHES = 2000
_UNBOUNDED = 2**62


@dataclass
class _Ceiling:
    size: float
    #: The smallest size that failed.
    failed: int
    #: The largest size that fitted since.
    fitted: int = 0
    #: Batches close to the ceiling since it last moved.
    near: int = 0
    #: Failures since a batch fitted.
    failures: int = 0
    #: Batches close to the ceiling after which the size that failed is tried again.
    retry_after_batches: int = _RETRY_AFTER_BATCHES


class Ceilings:
    """The largest padded size for each batch key; unbounded until a batch of that key fails."""

    def __init__(self) -> None:
        self._known: dict[Hashable, _Ceiling] = {}

    def of(self, key: Hashable) -> int:
        """The most padded tokens for a batch of this key."""
        known = self._known.get(key)
        return _UNBOUNDED if known is None else max(1, int(known.size))

    def failed(self, key: Hashable, size: int) -> None:
        """A batch of this padded size ran out of memory: back to what fitted.

        Where nothing has, to a half, then to a quarter of that, to an eighth of that.
        """
        known = self._known.setdefault(key, _Ceiling(size, size))
        known.failed = min(known.failed, size)
        if known.fitted >= size:
            known.fitted = 0  # there is less memory than there was
        known.failures += 1
        known.size = max(known.fitted, size / 2**known.failures)
        known.near = 0

    def failed_alone(self, key: Hashable, size: int) -> None:
        """A single row ran out of memory. If its size has fitted, it was the row, not the size."""
        known = self._known.get(key)
        if known is not None and size <= known.fitted:
            del self._known[key]

    def succeeded(self, key: Hashable, size: int) -> bool:
        """A batch fitted: after a number of them close to the ceiling, it rises a little: True."""
        known = self._known.get(key)
        if known is None:
            return False
        known.fitted = max(known.fitted, size)
        known.failures = 0
        known.near += size * _GROWTH**2 >= known.size
        if known.near >= known.retry_after_batches:
            known.failed, known.retry_after_batches = _UNBOUNDED, 2 * known.retry_after_batches
        halfway = math.sqrt(known.size * known.failed)
        risen = min(known.size * _GROWTH, halfway)
        if known.near < _GROW_AFTER or risen < known.size * _MIN_GROWTH:
            return False
        known.size, known.near = risen, 0
        return True
