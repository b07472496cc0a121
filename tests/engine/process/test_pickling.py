"""What crosses between processes comes out as it went in."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from transformers import BatchEncoding
from transformers.utils import ModelOutput

from transforms.engine.process import arena as arena_module
from transforms.engine.process import pickling


@pytest.mark.parametrize("room", [0, 1 << 20])
def test_features_cross_as_they_are(room: int) -> None:
    arena = arena_module.Arena(max(room, 1))
    features = BatchEncoding(
        {
            "large": torch.arange(30_000).reshape(1, -1),
            "row": torch.randn(100, 9000)[3:4],
            "half": torch.randn(1, 20_000).bfloat16(),
            "small": torch.tensor([[1, 2]]),
            "array": np.arange(40_000.0),
            "more": ModelOutput(words=["a", None], box=torch.zeros(1, 0)),
        }
    )
    data, spans = pickling.dumps([features], arena)
    assert len(spans) == (4 if room else 0)
    (found,) = pickling.loads(data, spans, arena_module.MappedArena(os.dup(arena.fd)))
    assert type(found) is BatchEncoding
    assert type(found["more"]) is ModelOutput
    assert found["more"]["words"] == ["a", None]
    for name in ("large", "row", "half", "small"):
        assert found[name].dtype == features[name].dtype
        assert torch.equal(found[name], features[name])
    assert np.array_equal(found["array"], features["array"])
    arena.free(spans)
    arena.close()


def test_a_row_of_a_batch_takes_its_own_bytes_along() -> None:
    assert len(pickling.dump_each(torch.randn(1000, 64)[:1])) < 800
