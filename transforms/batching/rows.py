"""Batches of rows of blocks: joined and taken apart as whole arrays, as collate.py joins chunks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import Cache
from transformers.utils import ModelOutput

from ..engine.blocks import Aligned, Array, Layout, Outputs, Row, Same, torch_of
from .collate import (
    GENERATED,
    SEQUENCES,
    BatchShape,
    check_rows,
    fill_of,
    own_bounds,
    own_positions,
    uncollate,
)
from .device_resize import DECODED
from .padding import Padding


def collate_rows(
    rows: Sequence[Row], padding: Padding, token_outputs: frozenset[str], *, in_place: bool
) -> tuple[Any, BatchShape]:
    """One mapping of features for all rows, and what is needed to take its outputs apart.

    The rows are of one batch key, and so of one layout. `in_place` says whether the batch may be a
    part of the memory of a block: a model may write into what it is given.
    """
    layout = rows[0].block.layout
    apart = any(field.name == DECODED for field in layout.fields)
    adjoin = in_place and not apart and _adjoin(rows)
    positions = list(zip(*[row.block.positions[row.index] for row in rows], strict=True))
    lengths = _lengths(layout, positions)
    arrays: list[Any]
    if adjoin:
        arrays = [_span(rows, i) for i in range(len(layout.fields))]
    else:
        parts = zip(*[row.block.parts[row.index] for row in rows], strict=True)
        fields = zip(layout.fields, parts, strict=True)
        arrays = [each if field.name == DECODED else np.concatenate(each) for field, each in fields]
    own = own_positions(lengths, padding.side) if len(set(lengths)) > 1 else None
    joined: dict[str, Any] = {}
    tokens = set()
    for field, array, (count, *_) in zip(layout.fields, arrays, positions, strict=True):
        if field.name == DECODED:
            joined[field.name] = [torch_of(each, field.dtype) for each in array]
            continue
        counted = field.trailing is not None and count == lengths[0] > 0
        if counted:
            tokens.add(field.name)
        whole = array
        if counted and own is not None:
            shape = (*own.shape, *array.shape[1:])
            whole = np.full(shape, fill_of(field.name, padding), array.dtype)
            whole[own] = array
        elif field.trailing is not None:
            whole = array.reshape(len(rows), count, *array.shape[1:])
        joined[field.name] = torch_of(whole, field.dtype)
    names = frozenset(tokens) | token_outputs if lengths[0] else frozenset[str]()
    return layout.kind(joined), BatchShape(lengths, padding, frozenset(), names)


def _adjoin(rows: Sequence[Row]) -> bool:
    """Whether rows lie one behind the other in one block."""
    block, first = rows[0].block, rows[0].index
    return all(row.block is block and row.index == first + i for i, row in enumerate(rows))


def _span(rows: Sequence[Row], field: int) -> Array:
    """A field's array of rows that adjoin, where it is."""
    block, starts = rows[0].block, rows[0].block.starts[field]
    return block.arrays[field][starts[rows[0].index] : starts[rows[-1].index + 1]]


def _lengths(layout: Layout, positions: Sequence[Sequence[int]]) -> list[int]:
    """Of each row, the positions that are counted and padded; 0 where there are none.

    `positions` has, for each field, how many each row has.
    """
    fields = {field.name: i for i, field in enumerate(layout.fields)}
    for name in SEQUENCES:
        i = fields.get(name)
        if i is not None and layout.fields[i].trailing == ():
            return list(positions[i])
    return [0] * len(positions[0])


def together(outputs: Any, shape: BatchShape) -> Iterable[Any]:
    """The outputs of each row, where they can be left together; else as `uncollate` gives them.

    Raises UnbatchError.
    """
    apart = shape.padding.require_tensors or not isinstance(outputs, Mapping)
    if apart or GENERATED & set(outputs):
        return uncollate(outputs, shape)
    columns = {name: _column(name, value, shape) for name, value in outputs.items()}
    if any(column is None for column in columns.values()):
        return uncollate(outputs, shape)
    kind = ModelOutput if isinstance(outputs, ModelOutput) else type(outputs)
    return Outputs(kind, columns, len(shape.lengths))


def _column(name: str, value: Any, shape: BatchShape) -> Any:
    """A column of Outputs; None where rows are in something nested."""
    if isinstance(value, torch.Tensor):
        check_rows(name, value, shape)
        bounds = own_bounds(name, value, shape)
        return value if bounds is None else Aligned(value, bounds)
    if name in shape.listed and isinstance(value, list) and len(value) == len(shape.lengths):
        return value
    if value is None or isinstance(value, str | bool | int | float):
        return Same(value)
    return Same(None) if isinstance(value, Cache) else None
