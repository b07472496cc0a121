"""Where chunks belong in an engine's pool: for rows of blocks, looked up by their shapes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from ..engine.blocks import Block, Layout, Row
from ..engine.interface import BatchSlot

_MOST = 65_536  # shapes, or layouts, that are remembered

#: Keys that no other chunk has.
unique_keys = itertools.count()

#: A number for each batch key, which is looked up much faster than the key. The same for all of a
#: process: what is known of memory is found by it when a model was unloaded and is loaded again.
_numbers: dict[Hashable, int] = {}


class RowSlots:
    """The slots of chunks, rows of blocks among them.

    Args:
      new_slot: the slot of a chunk's features, given a key that no other chunk has: the slot's, if
        the chunk may share no batch.

    """

    def __init__(self, new_slot: Callable[[Any, Hashable], BatchSlot]) -> None:
        self._new_slot = new_slot
        #: A number for each layout.
        self._layouts: dict[Layout, int] = {}
        #: By the number of the layout and the positions of each field.
        self._slots: dict[tuple[int, tuple[int, ...]], BatchSlot] = {}

    def forget(self) -> None:
        """Ask for all of them anew."""
        self._layouts.clear()
        self._slots.clear()

    def of(self, block: Block, rows: Sequence[int]) -> list[BatchSlot]:
        """The slots of some rows of a block."""
        if max(len(self._layouts), len(self._slots)) >= _MOST:
            self.forget()
        layout = self._layouts.setdefault(block.layout, len(self._layouts))
        known, positions = self._slots, block.positions
        return [known.get((layout, positions[i])) or self._learn(layout, block, i) for i in rows]

    def of_chunk(self, features: Any) -> BatchSlot:
        """The slot of a chunk by itself, which may share batches with rows."""
        return self._found(features)[0]

    def _learn(self, layout: int, block: Block, row: int) -> BatchSlot:
        slot, is_shared = self._found(Row(block, row).features())
        if is_shared:
            self._slots[layout, block.positions[row]] = slot
        return slot

    def _found(self, features: Any) -> tuple[BatchSlot, bool]:
        """The slot of features; and whether others may have it."""
        unique = next(unique_keys)
        slot = self._new_slot(features, unique)
        if slot.key is unique:
            return slot, False
        return BatchSlot(_numbers.setdefault(slot.key, unique), slot.length), True
