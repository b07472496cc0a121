"""How large a batch may be before memory runs out, learned from batches that did and did not fit."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

_GROW_AFTER = 32  # batches near the ceiling that fitted
_GROWTH = 1.1
_CLOSE = 0.95  # of a size that failed: no batch comes nearer to it


@dataclass
class _Ceiling:
    size: float
    failed: float
    fitted: int = 0


class Ceilings:
    """The largest padded size for each batch key; unbounded until a batch of that key fails."""

    def __init__(self) -> None:
        self._known: dict[Hashable, _Ceiling] = {}

    def of(self, key: Hashable) -> int:
        """The most padded tokens for a batch of this key."""
        known = self._known.get(key)
        return 2**62 if known is None else max(1, int(known.size))

    def failed(self, key: Hashable, size: int) -> None:
        """A batch of this padded size ran out of memory."""
        known = self._known.get(key)
        smallest = size if known is None else min(size, known.failed)
        self._known[key] = _Ceiling(min(self.of(key), size) / 2, smallest)

    def succeeded(self, key: Hashable, size: int) -> None:
        """A batch fitted: after a number of them close to the ceiling, it rises a little."""
        known = self._known.get(key)
        if known is None or size < known.size / _GROWTH**2:
            return
        known.fitted += 1
        if known.fitted >= _GROW_AFTER:
            known.size = max(known.size, min(known.size * _GROWTH, known.failed * _CLOSE))
            known.fitted = 0
