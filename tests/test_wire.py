"""What crosses between processes comes out as it went in."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import BatchEncoding
from transformers.utils import ModelOutput

from transforms.engine.process import arena as arena_module
from transforms.engine.process import pickling

SIZE = 64 * 64


@given(st.lists(st.one_of(st.integers(1, 1500), st.none()), max_size=60), st.randoms())
def test_spans_do_not_overlap_and_all_come_back(steps: list[int | None], random: Any) -> None:
    """A number takes that many bytes, None gives back any."""
    spans = arena_module.Spans(SIZE)
    taken: list[tuple[int, int]] = []
    for step in steps:
        if step is None:
            if taken:
                spans.give(*taken.pop(random.randrange(len(taken))))
        elif (start := spans.take(step)) is not None:
            assert start + step <= SIZE
            assert all(start + step <= a or a + b <= start for a, b in taken)
            taken.append((start, step))
    for span in taken:
        spans.give(*span)
    assert spans.take(SIZE) == 0


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
