"""Rows of a table with equal inputs: computed once, and the answer copied to all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from .tables import Table, chosen

#: Types whose values Arrow compares fast. Not floats: 0.0 equals -0.0 for Arrow.
_PLAIN = (
    pa.types.is_boolean,
    pa.types.is_decimal,
    pa.types.is_fixed_size_binary,
    pa.types.is_integer,
    pa.types.is_large_binary,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_string,
    pa.types.is_temporal,
)


@dataclass(frozen=True)
class DistinctRows:
    """The rows of a table that differ in some columns, and where each row is among them."""

    #: The first row of each kind, in their order.
    rows: Table
    #: For each row of the table, the number of the row that stands for it.
    places: np.ndarray

    def rows_of(self, wanted: Sequence[int]) -> list[int]:
        """The rows of the table that some of the distinct rows stand for, ascending."""
        return [int(row) for row in np.flatnonzero(np.isin(self.places, list(wanted)))]

    def repeated(self, columns: Sequence[pa.ChunkedArray], kept: Sequence[int]) -> list[Any]:
        """Columns of the distinct rows `kept`, with a value for each row that they stand for."""
        ranks = np.full(len(self.rows), -1)
        ranks[list(kept)] = range(len(kept))
        wanted = ranks[self.places]
        indices = pa.array(wanted[wanted >= 0])
        return [column.take(indices) for column in columns]


def distinct_rows(table: Table, names: Sequence[str]) -> DistinctRows | None:
    """The rows that differ in the columns with these names; None if all of them do."""
    codes = np.zeros(len(table), np.int64)
    for name in names:
        own = _codes(table[name])
        codes = np.unique(codes * (len(table) + 1) + own, return_inverse=True)[1]
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    if len(first) == len(table):
        return None
    order = np.argsort(first)
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order))
    return DistinctRows(chosen(table, first[order].tolist()), ranks[inverse])


def _codes(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """A number for each value, the same for equal values."""
    chunked = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    if pa.types.is_dictionary(chunked.type):
        chunked = chunked.cast(chunked.type.value_type)
    if not any(is_kind(chunked.type) for is_kind in _PLAIN):
        if has_dictionary(chunked.type):
            return np.arange(len(chunked))  # the same number may stand for other values
        chunked = pa.chunked_array([pa.array(digests(chunked), pa.binary())])
    encoded = chunked.dictionary_encode(null_encoding="encode")
    codes = [chunk.indices.to_numpy() for chunk in encoded.chunks]
    return np.concatenate(codes or [np.zeros(0, np.int64)]).astype(np.int64)


def has_dictionary(kind: pa.DataType) -> bool:
    """Whether values of a type are numbers that stand for others, or have such."""
    return pa.types.is_dictionary(kind) or any(
        has_dictionary(kind.field(i).type) for i in range(kind.num_fields)
    )


def digests(column: pa.ChunkedArray) -> list[bytes]:
    """A hash of each value of a type without dictionaries: of Arrow's form between processes."""
    found = []
    for chunk in column.chunks:
        for i in range(len(chunk)):
            # A slice would show bits of its neighbours.
            batch = pa.record_batch([chunk.take(pa.array([i]))], names=["value"])
            found.append(hashlib.sha256(batch.serialize()).digest())
    return found
