"""Records between processes."""

from __future__ import annotations

from collections.abc import Callable

from pipelines_beam import Record

Model = Callable[[str], str]


def test_what_travels_between_processes_is_small(model: Model) -> None:
    """A row of a batch takes its own bytes along, not the batch's."""
    import pickle

    import torch

    batch = torch.randn(1000, 64)
    record = Record("a", "a", [{"x": batch[:1], "y": batch[:1].bfloat16()}], [1])
    dumped = pickle.dumps(record)
    assert len(dumped) < 1500
    chunk = pickle.loads(dumped).chunks[0]
    assert torch.equal(chunk["x"], batch[:1])
    assert torch.equal(chunk["y"], batch[:1].bfloat16())
