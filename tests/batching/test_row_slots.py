"""Slots of rows: asked for once for each shape."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pytest
import torch

from transforms.batching import row_slots
from transforms.batching.row_slots import RowSlots
from transforms.engine.blocks import Block, layout_of
from transforms.engine.interface import BatchSlot


def block(name: str, lengths: list[int]) -> Block:
    chunks = [{name: torch.ones(1, length)} for length in lengths]
    layout = layout_of(chunks[0])
    assert layout is not None
    return Block.of(layout, chunks)


class Asked:
    """Rows of more than 9 positions share no batch."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def __call__(self, features: Any, unique_key: Hashable) -> BatchSlot:
        ((name, value),) = features.items()
        length = value.shape[1]
        self.lengths.append(length)
        return BatchSlot(unique_key if length > 9 else (name,), length)


def test_a_slot_is_asked_for_once_for_each_shape() -> None:
    asked = Asked()
    slots = RowSlots(asked)
    found = slots.of(block("x", [3, 5, 3]), [0, 1, 2]) + slots.of(block("x", [5, 3, 4]), [0, 2])
    assert [slot.length for slot in found] == [3, 5, 3, 5, 4]
    assert len({slot.key for slot in found}) == 1
    assert sorted(asked.lengths) == [3, 4, 5]


def test_other_layouts_and_what_runs_alone_have_other_keys() -> None:
    asked = Asked()
    slots = RowSlots(asked)
    found = slots.of(block("x", [3, 12, 12]), [0, 1, 2]) + slots.of(block("y", [3, 12]), [0, 1])
    assert len({slot.key for slot in found}) == 5
    assert sorted(asked.lengths) == [3, 3, 12, 12, 12]  # each of them is asked for


def test_it_remembers_no_more_than_a_number_of_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_slots, "_MOST", 3)
    asked = Asked()
    slots = RowSlots(asked)
    for length in (1, 2, 3, 4, 1):
        (slot,) = slots.of(block("x", [length]), [0])
        assert slot.length == length
    assert asked.lengths == [1, 2, 3, 4, 1]


def test_batch_keys_stay_when_shapes_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks that wait, and what is known of memory, are found by them."""
    monkeypatch.setattr(row_slots, "_MOST", 2)
    slots = RowSlots(Asked())
    found = [slots.of(block("x", [length]), [0])[0].key for length in (1, 2, 3, 4, 5)]
    assert len(set(found)) == 1


def test_a_chunk_by_itself_may_share_batches_with_rows() -> None:
    slots = RowSlots(Asked())
    (row,) = slots.of(block("x", [3]), [0])
    assert slots.of_chunk({"x": torch.ones(1, 5)}) == BatchSlot(row.key, 5)
    alone = [slots.of_chunk({"x": torch.ones(1, 12)}).key for _ in range(2)]
    assert len({row.key, *alone}) == 3


def test_batch_keys_are_the_same_for_a_model_that_is_loaded_again() -> None:
    """What was learned of memory is found by them."""
    before, after = (RowSlots(Asked()).of(block("x", [3]), [0])[0] for _ in range(2))
    assert before == after
