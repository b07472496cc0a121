"""Features and outputs of many chunks as a few arrays, in place of a few tensors for each.

What is done to a block takes about the same time for one row as for a hundred: it crosses between
processes, and is put together and taken apart, as whole arrays.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import UserDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import mul, sub
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from ..options.sizes import nbytes

Array = np.ndarray[Any, Any]
T = TypeVar("T")

#: Whose memory numpy can hold.
_DTYPES = frozenset(
    {torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
    | {torch.float16, torch.bfloat16, torch.float32, torch.float64}
)


class Field(NamedTuple):
    """One feature of each row of a block: tensors (1, positions, …), or (1,)."""

    name: str
    dtype: torch.dtype
    #: Of a row, behind its positions; None: the tensor is (1,).
    trailing: tuple[int, ...] | None


class Layout(NamedTuple):
    """What the rows of a block have in common."""

    #: The class of the mapping that a chunk is.
    kind: type[Any]
    fields: tuple[Field, ...]


def layout_of(chunk: Any) -> Layout | None:
    """The layout of a chunk's features; None if they are not a mapping of tensors of one row."""
    kind = type(chunk)
    if kind is Row:
        layout: Layout = chunk.block.layout
        return layout
    if kind is not dict and not (
        isinstance(chunk, UserDict) and kind.__module__.startswith("transformers.")
    ):
        return None  # nothing is known of how it is made
    features = plain(chunk)
    if not features:
        return None
    fields = []
    for name, value in features.items():
        if type(value) is not torch.Tensor or not value.is_cpu or value.dtype not in _DTYPES:
            return None
        shape = value.shape
        ndim = len(shape)
        if not ndim or shape[0] != 1 or value.layout is not torch.strided or type(name) is not str:
            return None
        trailing = (() if ndim == 2 else tuple(shape[2:])) if ndim > 1 else None
        fields.append(Field(name, value.dtype, trailing))
    return Layout(kind, tuple(fields))


def plain(features: Any) -> Any:
    """The dict in a tokenizer's encoding: several times faster to look into than the encoding."""
    return features.data if isinstance(features, UserDict) else features


@dataclass(frozen=True, eq=False)
class Block:
    """The features of many chunks."""

    layout: Layout
    #: Of each field, the first position of each row, and the end of the last.
    starts: list[list[int]]
    #: Of each field, the rows one after the other: (positions of all rows, …), as its bytes are in
    #: numpy, which has no bfloat16.
    arrays: list[Array]

    @classmethod
    def of(cls, layout: Layout, chunks: Sequence[Any]) -> Block:
        """A block of chunks that have this layout."""
        if all(type(chunk) is Row for chunk in chunks):
            return cls._of_rows(layout, chunks)
        chunks = [unpacked(chunk) for chunk in chunks]
        starts, arrays = [], []
        plain_chunks = [plain(chunk) for chunk in chunks]
        for field in layout.fields:
            values = [chunk[field.name] for chunk in plain_chunks]
            if field.trailing is None:
                joined = torch.cat(values)
                starts.append(list(range(len(values) + 1)))
            else:
                joined = values[0][0] if len(values) == 1 else torch.cat(values, 1)[0]
                starts.append([0, *accumulate(value.shape[1] for value in values)])
            arrays.append(numpy_of(joined.detach()))
        return cls(layout, starts, arrays)

    def __reduce__(self) -> tuple[Any, ...]:
        return Block, (self.layout, self.starts, self.arrays)  # without what is computed of them

    @classmethod
    def _of_rows(cls, layout: Layout, rows: Sequence[Any]) -> Block:
        """A block of rows of blocks."""
        runs = [list(run) for _, run in itertools.groupby(enumerate(rows), _run)]
        cut = [run[0][1].block._cut(run[0][1].index, run[-1][1].index + 1) for run in runs]
        if len(cut) == 1:
            one: Block = cut[0]
            return one
        starts, arrays = [], []
        for i in range(len(layout.fields)):
            lengths = (map(sub, each.starts[i][1:], each.starts[i]) for each in cut)
            starts.append([0, *accumulate(itertools.chain.from_iterable(lengths))])
            arrays.append(np.concatenate([each.arrays[i] for each in cut]))
        return cls(layout, starts, arrays)

    def _cut(self, start: int, stop: int) -> Block:
        """Some neighbouring rows, whose arrays are parts of these."""
        if not start and stop == len(self.starts[0]) - 1:
            return self
        starts = _each_once(
            self.starts, lambda own: [each - own[start] for each in own[start : stop + 1]]
        )
        fields = zip(self.arrays, self.starts, strict=True)
        arrays = [array[own[start] : own[stop]] for array, own in fields]
        return Block(self.layout, starts, arrays)

    def rows(self) -> list[Row]:
        """Each chunk."""
        return [Row(self, i) for i in range(len(self.starts[0]) - 1)]

    @functools.cached_property
    def positions(self) -> list[tuple[int, ...]]:
        """Of each row, how many positions each field has."""
        return list(zip(*_each_once(self.starts, _lengths), strict=True))

    @functools.cached_property
    def sizes(self) -> list[int]:
        """Of each row, the bytes of its tensors."""
        of_position = [each.itemsize * math.prod(each.shape[1:]) for each in self.arrays]
        first, *others = self.starts
        if all(starts is first for starts in others):
            every = sum(of_position)
            return [every * length for length in map(sub, first[1:], first)]
        return [sum(map(mul, row, of_position)) for row in self.positions]

    @functools.cached_property
    def parts(self) -> list[tuple[Array, ...]]:
        """Of each row, its part of each array."""
        fields = zip(self.arrays, self.starts, strict=True)
        cut = ([array[i:j] for i, j in pairwise(starts)] for array, starts in fields)
        return list(zip(*cut, strict=True))


class Row:
    """One chunk of a block."""

    __slots__ = ("block", "index")

    def __init__(self, block: Block, index: int) -> None:
        self.block = block
        self.index = index

    def __reduce__(self) -> tuple[Any, ...]:
        return unpacked, (self.features(),)  # alone: without the rest of its block

    @property
    def nbytes(self) -> int:
        """The bytes of its tensors."""
        return self.block.sizes[self.index]

    def features(self) -> Any:
        """The chunk as it was; its tensors are parts of the block."""
        layout = self.block.layout
        found = {}
        for field, part in zip(layout.fields, self.block.parts[self.index], strict=True):
            value = torch_of(part, field.dtype)
            found[field.name] = value if field.trailing is None else value[None]
        return layout.kind(found)


def _each_once(lists: Sequence[list[int]], change: Callable[[list[int]], T]) -> list[T]:
    """Each list changed; one that is there several times, once: fields often share their starts."""
    changed = {key: change(each) for key, each in {id(each): each for each in lists}.items()}
    return [changed[id(each)] for each in lists]


def _lengths(starts: list[int]) -> list[int]:
    return list(map(sub, starts[1:], starts))


def _run(numbered: tuple[int, Row]) -> tuple[int, int]:
    """Equal for neighbouring rows of a block, of the same distance from their numbers."""
    number, row = numbered
    return id(row.block), row.index - number


def unpacked(part: Any) -> Any:
    """A chunk's features or outputs, apart from those that they are together with, if they are."""
    if type(part) is Row:
        return part.features()
    return part.unpacked() if type(part) is OutputRow else part


def names_of(chunk: Any) -> frozenset[str]:
    """The names of a chunk's features."""
    if type(chunk) is Row:
        return frozenset(field.name for field in chunk.block.layout.fields)
    return frozenset(chunk) if isinstance(chunk, Mapping) else frozenset()


def numpy_of(tensor: torch.Tensor) -> Array:
    """A tensor's memory in numpy; of a dtype that numpy lacks, its bits as integers."""
    tensor = tensor.contiguous()
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.int16).numpy()
    return tensor.numpy()


def torch_of(array: Array, dtype: torch.dtype) -> torch.Tensor:
    """The tensor of this dtype whose memory that is."""
    tensor = torch.from_numpy(array)
    return tensor if tensor.dtype is dtype else tensor.view(dtype)


class Aligned(NamedTuple):
    """An output with a position for each token of a padded batch: (rows, positions, …)."""

    values: Any
    #: The positions of each row's own tokens.
    bounds: Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Outputs:
    """The outputs of the rows of a batch, together.

    A column is a tensor (rows, …), an Aligned, a list with the value of each row, or a Same.
    """

    #: The class of the mapping that a model answers with.
    kind: type[Any]
    columns: Mapping[str, Any]
    count: int

    def __iter__(self) -> Iterator[OutputRow]:
        return (OutputRow(self, i) for i in range(self.count))

    def row(self, i: int) -> Any:
        """The outputs of one row, as the model gives them for a batch of one."""
        return self.kind({name: _of_row(value, i) for name, value in self.columns.items()})

    def unpacked(self) -> list[Any]:
        """The outputs of each row."""
        return [self.row(i) for i in range(self.count)]

    def chosen(self, rows: Sequence[int]) -> Outputs:
        """Only these rows."""
        if len(rows) == self.count and all(a < b for a, b in pairwise(rows)):
            return self
        columns = {name: _of_rows(value, rows) for name, value in self.columns.items()}
        return Outputs(self.kind, columns, len(rows))


class Same(NamedTuple):
    """A column with one value for all rows."""

    value: Any


class OutputRow:
    """The outputs of one row, together with those of its batch."""

    __slots__ = ("index", "outputs")

    def __init__(self, outputs: Outputs, index: int) -> None:
        self.outputs = outputs
        self.index = index

    def __reduce__(self) -> tuple[Any, ...]:
        return unpacked, (self.unpacked(),)  # alone: without the rest of its batch

    @property
    def nbytes(self) -> int:
        """The bytes of its tensors."""
        return nbytes(self.unpacked())

    def unpacked(self) -> Any:
        """As the model gives them for a batch of one."""
        return self.outputs.row(self.index)


def _of_row(column: Any, i: int) -> Any:
    if isinstance(column, torch.Tensor):
        return column[i : i + 1]
    if isinstance(column, Aligned):
        start, stop = column.bounds[i]
        return column.values[i : i + 1, start:stop]
    return column.value if isinstance(column, Same) else column[i]


def _of_rows(column: Any, rows: Sequence[int]) -> Any:
    if isinstance(column, torch.Tensor):
        return column[list(rows)]
    if isinstance(column, Aligned):
        return Aligned(column.values[list(rows)], [column.bounds[i] for i in rows])
    return column if isinstance(column, Same) else [column[i] for i in rows]
