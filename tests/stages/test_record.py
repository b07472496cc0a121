"""Records between processes."""

from __future__ import annotations

import gc
import pickle
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from pipelines_beam import Record
from transforms.stages.record import Group

Model = Callable[[str], str]


def test_what_travels_between_processes_is_small(model: Model) -> None:
    """A row of a batch takes its own bytes along, not the batch's."""
    import torch

    batch = torch.randn(1000, 64)
    record = Record("a", "a", [{"x": batch[:1], "y": batch[:1].bfloat16()}], [1])
    dumped = pickle.dumps(record)
    assert len(dumped) < 1500
    chunk = pickle.loads(dumped).chunks[0]
    assert torch.equal(chunk["x"], batch[:1])
    assert torch.equal(chunk["y"], batch[:1].bfloat16())


def test_the_inferences_of_a_group_are_made_together() -> None:
    records = [Record(i, i, [], [1]) for i in range(3)]
    Group(records)
    asked: list[list[Any]] = []

    def infer(some: Sequence[Record]) -> list[Any]:
        asked.append([record.element for record in some])
        return [10 * record.element for record in some]

    for record in reversed(records):
        assert record.group is not None
        assert record.group.inference(record, infer) == 10 * record.element
    assert asked == [[0, 1, 2]]


def test_a_group_keeps_no_record_in_memory() -> None:
    gc.disable()
    try:
        records = [Record(i, i, [], [1]) for i in range(3)]
        Group(records)
        first, others = records[0], [weakref.ref(record) for record in records[1:]]
        del records
        assert [other() for other in others] == [None, None]
        assert first.group is not None
        assert first.group.inference(first, lambda some: [len(some)]) == 1
    finally:
        gc.enable()


def test_a_group_stays_in_its_process() -> None:
    records = [Record(i, i, [], [1]) for i in range(2)]
    Group(records)
    assert pickle.loads(pickle.dumps(records[0])).group is None
