"""Batches of rows of blocks: the same as those of chunks, one by one."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from transformers import BatchEncoding
from transformers.modeling_outputs import SequenceClassifierOutput

from transforms.batching import collate
from transforms.batching.padding import Padding
from transforms.batching.rows import collate_rows, together
from transforms.engine.blocks import Block, OutputRow, Row, layout_of
from transforms.options.sizes import nbytes

TOKENS = frozenset({"logits_of_tokens"})


def encoding(length: int) -> BatchEncoding:
    ids = torch.arange(1, length + 1)[None]
    return BatchEncoding({"input_ids": ids, "attention_mask": torch.ones_like(ids)})


def layout(length: int) -> dict[str, torch.Tensor]:
    """With boxes, and a number for the whole."""
    return {
        "input_ids": torch.arange(length)[None],
        "bbox": torch.rand(1, length, 4),
        "page": torch.tensor([length]),
    }


def image(_: int) -> dict[str, torch.Tensor]:
    return {"pixel_values": torch.rand(1, 3, 4, 5).to(torch.bfloat16)}


def mask(length: int) -> dict[str, torch.Tensor]:
    return {"input_values": torch.rand(1, length), "own": torch.rand(1, length) > 0.5}


def hollow(length: int) -> dict[str, torch.Tensor]:
    """With something of no numbers."""
    return {"input_ids": torch.arange(length)[None], "past": torch.zeros(1, 2, 0)}


def rows_of(chunks: list[Any], blocks: int) -> list[Row]:
    """Rows of this many blocks, taken from each in turn."""
    found = layout_of(chunks[0])
    assert found is not None
    parts = [chunks[i::blocks] for i in range(blocks)]
    rows = [Block.of(found, part).rows() for part in parts]
    return [rows[i % blocks][i // blocks] for i in range(len(chunks))]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("lengths", [[3, 5, 4, 1], [4, 4, 4, 4]], ids=["ragged", "equal"])
@pytest.mark.parametrize("make", [encoding, layout, image, mask, hollow])
def test_rows_make_the_batch_of_their_chunks(
    make: Any, lengths: list[int], blocks: int, side: Any
) -> None:
    padding = Padding(side, True, pad_token=9)
    chunks = [make(length) for length in lengths]
    expected = collate.collate(chunks, padding)
    shape = collate.shape_of(chunks, padding, TOKENS)
    for in_place in (True, False):
        rows = rows_of(chunks, blocks)
        batch, found = collate_rows(rows, padding, TOKENS, in_place=in_place)
        assert type(batch) is type(expected)
        assert found == shape
        assert list(batch) == list(expected)
        for name, value in expected.items():
            assert batch[name].dtype is value.dtype
            assert torch.equal(batch[name], value)
    for row, chunk in zip(rows_of(chunks, blocks), chunks, strict=True):
        features = row.features()
        assert type(features) is type(chunk)
        assert all(torch.equal(features[name], value) for name, value in chunk.items())


def test_only_in_place_a_batch_is_a_part_of_its_block() -> None:
    rows = rows_of([encoding(4) for _ in range(4)], 1)
    for in_place in (True, False):
        batch, _ = collate_rows(rows[1:3], Padding("right", True), TOKENS, in_place=in_place)
        batch["input_ids"][:] = 7
        written = rows[1].features()["input_ids"].eq(7).all()
        assert bool(written) is in_place
        rows[1].features()["input_ids"][:] = 1


@pytest.mark.parametrize("side", ["left", "right"])
def test_outputs_that_stay_together_are_what_each_row_has_alone(side: Any) -> None:
    padding = Padding(side, True)
    chunks = [encoding(length) for length in (2, 5, 3)]
    _, shape = collate_rows(rows_of(chunks, 1), padding, TOKENS, in_place=True)
    outputs = SequenceClassifierOutput(logits=torch.rand(3, 2))
    outputs["logits_of_tokens"] = torch.rand(3, 5, 2)
    outputs["cache"] = None
    outputs["scale"] = 2.0
    expected = collate.uncollate(outputs, shape)
    found = list(together(outputs, shape))
    assert all(type(row) is OutputRow for row in found)
    crossed = pickle.loads(pickle.dumps(found[0]))  # alone, without the other rows
    torch.testing.assert_close(dict(crossed), dict(expected[0]), rtol=0, atol=0)
    assert found[0].nbytes == sum(map(nbytes, expected[0].values()))
    for chosen in ([0, 1, 2], [2, 0], [1], [2, 1, 0]):
        part = found[0].outputs.chosen(chosen)
        assert part.count == len(chosen)
        for row, i in zip(part, chosen, strict=True):
            own, alone = row.unpacked(), expected[i]
            assert type(own) is type(alone)
            assert list(own) == list(alone)
            for name, value in alone.items():
                torch.testing.assert_close(own[name], value, rtol=0, atol=0)


def test_nested_outputs_come_apart() -> None:
    chunks = [encoding(2), encoding(2)]
    _, shape = collate_rows(rows_of(chunks, 1), Padding("right", True), TOKENS, in_place=True)
    outputs = {"hidden": (torch.rand(2, 2), torch.rand(2, 2))}
    found = list(together(outputs, shape))
    assert [type(row) for row in found] == [dict, dict]
    with pytest.raises(collate.UnbatchError, match="logits"):
        together({"logits": torch.rand(3, 2)}, shape)
