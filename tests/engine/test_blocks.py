"""Features of many chunks as a few arrays: rows are what their chunks were."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from transformers import BatchEncoding

from transforms.engine.blocks import Block, Row, layout_of
from transforms.options.sizes import nbytes


def chunk(first: int, length: int) -> BatchEncoding:
    ids = torch.arange(first, first + length)[None]
    return BatchEncoding(
        {"input_ids": ids, "bbox": torch.rand(1, length, 4), "page": torch.tensor([first])}
    )


CHUNKS = [chunk(10 * i, length) for i, length in enumerate([3, 1, 4, 1, 5, 9, 2, 6])]


def block(chunks: list[Any]) -> Block:
    layout = layout_of(chunks[0])
    assert layout is not None
    return Block.of(layout, chunks)


def same(one: Any, other: Any) -> bool:
    assert type(one) is type(other) is BatchEncoding
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def test_rows_are_their_chunks() -> None:
    rows = block(CHUNKS).rows()
    assert all(same(row.features(), each) for row, each in zip(rows, CHUNKS, strict=True))


@pytest.mark.parametrize(
    "chosen",
    [[0, 1, 2, 3, 4, 5, 6, 7], [2, 3, 4], [7], [5, 1, 2], [3, 2, 1, 0], [0, 0, 4, 4]],
    ids=str,
)
@pytest.mark.parametrize("blocks", [1, 2])
def test_a_block_of_rows_has_those_rows(chosen: list[int], blocks: int) -> None:
    rows = [*block(CHUNKS[:4]).rows(), *block(CHUNKS[4:]).rows()]
    if blocks == 1:
        rows = block(CHUNKS).rows()
    found = block([rows[i] for i in chosen]).rows()
    assert len(found) == len(chosen)
    for row, i in zip(found, chosen, strict=True):
        assert same(row.features(), CHUNKS[i])


def test_neighbours_are_not_copied() -> None:
    whole = block(CHUNKS)
    assert block(list(whole.rows())) is whole
    part = block(whole.rows()[2:5])
    assert all(a.base is not None for a in part.arrays)


def test_rows_and_chunks_make_a_block_together() -> None:
    mixed = [block(CHUNKS).rows()[0], CHUNKS[1]]
    found = block(mixed).rows()
    assert same(found[0].features(), CHUNKS[0])
    assert same(found[1].features(), CHUNKS[1])


def test_a_row_says_how_large_it_is() -> None:
    for row, each in zip(block(CHUNKS).rows(), CHUNKS, strict=True):
        assert nbytes(row) == nbytes(each) > 0
    hollow = {"ids": torch.arange(2)[None], "past": torch.zeros(1, 2, 0)}
    assert nbytes(block([hollow]).rows()[0]) == nbytes(hollow) == 16


def test_a_row_is_pickled_without_its_block() -> None:
    row = block([*CHUNKS, chunk(0, 10_000)]).rows()[0]
    pickled = pickle.dumps(row)
    assert len(pickled) < 5_000
    found = pickle.loads(pickled)
    assert not isinstance(found, Row)
    assert same(found, CHUNKS[0])
