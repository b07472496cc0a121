"""What may leave a batch: only rows of which everything is known to come apart."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    DynamicCache,
    EncoderDecoderCache,
    LlamaConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StaticCache,
)
from transformers.cache_utils import LinearAttentionLayer
from transformers.modeling_outputs import BaseModelOutput

from transforms.pipelines import token_loop

ROWS = 4


def filled() -> DynamicCache:
    cache = DynamicCache()
    numbers = torch.arange(ROWS * 6.0).reshape(ROWS, 1, 3, 2)
    cache.update(numbers, -numbers, 0)
    return cache


def recurrent() -> DynamicCache:
    cache = filled()
    cache.layers.append(LinearAttentionLayer())
    return cache


CONFIG = LlamaConfig(hidden_size=8, num_attention_heads=1, num_hidden_layers=1)


@pytest.mark.parametrize(
    ("state", "may"),
    [
        ({"attention_mask": torch.ones(ROWS, 3), "position_ids": torch.ones(ROWS, 3)}, True),
        ({"attention_mask": None, "use_cache": True, "logits_to_keep": 1}, True),
        ({"cache": filled()}, True),
        ({"cache": EncoderDecoderCache(filled(), filled())}, True),
        ({"encoder_outputs": BaseModelOutput(last_hidden_state=torch.ones(ROWS, 3, 2))}, True),
        ({"encoder_outputs": BaseModelOutput(last_hidden_state=torch.ones(1, 3, 2))}, False),
        ({"cache": recurrent()}, False),
        ({"cache": EncoderDecoderCache(recurrent(), filled())}, False),
        ({"cache": StaticCache(CONFIG, max_cache_len=8)}, False),
        ({"position_ids": torch.ones(3, ROWS, 3)}, False),
        ({"position_ids": torch.ones(ROWS, ROWS, 3)}, False),
        ({"pixel_values": torch.ones(2 * ROWS, 3)}, False),
        ({"anything": object()}, False),
    ],
)
def test_what_is_not_known_to_come_apart_by_rows_stays_whole(
    state: dict[str, Any], may: bool
) -> None:
    batch = token_loop._Batch(torch.ones(ROWS, 3, dtype=torch.int64), state, 0)
    assert batch.may_leave([0, 2]) is may


def test_a_few_ended_rows_stay() -> None:
    batch = token_loop._Batch(torch.ones(16, 3, dtype=torch.int64), {}, 0)
    assert not batch.may_leave(range(1, 16))
    assert batch.may_leave(range(2, 16))


def test_what_is_kept_of_rows_is_that_of_those_that_go_on() -> None:
    ids = torch.arange(ROWS)[:, None]
    state = {"cache": filled(), "attention_mask": ids, "use_cache": True}
    batch = token_loop._Batch(ids, state, 9)
    batch.append(torch.arange(10, 14))
    assert batch.going_on(torch.tensor([True, False, True, False])) == [1, 3]
    batch.leave([1, 3])
    assert batch.state["attention_mask"].tolist() == [[1], [3]]
    assert torch.equal(batch.state["cache"].layers[0].keys, filled().layers[0].keys[[1, 3]])
    batch.append(torch.tensor([20, 21]))
    assert batch.going_on(torch.tensor([True, False])) == [1]
    batch.append(torch.tensor([30, 31]))
    assert batch.going_on(torch.tensor([False, True])) == []
    expected = [[0, 10, 9, 9], [1, 11, 20, 9], [2, 12, 9, 9], [3, 13, 21, 31]]
    assert batch.sequences().tolist() == expected


class OfTheBatch(LogitsProcessor):  # type: ignore[misc]
    """What may know of rows by their numbers."""


@pytest.mark.parametrize(("processors", "rows"), [([OfTheBatch()], ROWS), ([], 1)])
def test_elsewhere_transformers_own_loop_runs(processors: list[Any], rows: int) -> None:
    class Model:
        def _sample(self, input_ids: torch.Tensor, **keywords: Any) -> str:
            assert keywords["use_cache"]
            return f"{len(input_ids)} rows"

    ids = torch.ones(rows, 3, dtype=torch.int64)
    made = LogitsProcessorList(processors)
    found: Any = token_loop.decode(Model(), ids, made, [], None, use_cache=True)
    assert found == f"{rows} rows"
