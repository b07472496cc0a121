"""Rows of every kind, and what is nested in them, as transformers' pipelines take it.

Beam has rows as beam.Row, NamedTuples, dataclasses, mappings, and classes that it makes of a
schema; pipelines take dicts and lists.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from .late import Row

#: What has nothing nested in it.
_ATOMS = frozenset({str, bytes, int, float, bool, type(None)})
_OBJECTS = "OUST"  # numpy's kinds of arrays that hold objects, texts or bytes


def columns_of(row: Any) -> Mapping[str, Any] | None:
    """The columns of one row, by name; None for what is no row."""
    if type(row) is dict:
        return row
    if isinstance(row, Row):
        own: dict[str, Any] = vars(row)
        return own
    if isinstance(row, Mapping):
        return row
    if isinstance(row, tuple):
        names = getattr(row, "_fields", None)
        return None if names is None else dict(zip(names, row, strict=True))
    kind: Any = type(row)
    fields = dataclass_names(kind)
    return None if fields is None else {name: getattr(row, name) for name in fields}


@functools.cache
def dataclass_names(kind: Any) -> tuple[str, ...] | None:
    """The fields of a dataclass; None for any other class."""
    if not dataclasses.is_dataclass(kind):
        return None
    return tuple(item.name for item in dataclasses.fields(kind))


def plain(value: Any) -> Any:
    """The value with dicts in place of rows, and lists in place of what else has items.

    It goes through lists, tuples, mappings, rows of every kind, scalars and arrays of pyarrow,
    arrays of objects and scalars of numpy, and what pandas makes of them. Arrays of numbers,
    tensors, images and all else stay as they are, and so do lists and dicts with nothing to
    change in them: those are the same objects.
    """
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is list:
        return _unless_same(value, _items(value))
    if kind is not dict:
        read = next((read for kinds, read in _READ if isinstance(value, kinds)), _of_pandas)
        if (given := read(value)) is not value:
            return plain(given)
    columns = columns_of(value)
    if columns is not None:
        found = dict(zip(columns, _items(columns.values()), strict=True))
        same = kind is dict and all(map(operator.is_, found.values(), columns.values()))
        return value if same else found
    return _items(value) if isinstance(value, tuple) else value


def without_rows(value: Any) -> Any:
    """The value with dicts in place of rows, in lists and tuples, too; all else as it is."""
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind in (list, tuple):
        items = list(map(without_rows, value))
        return value if all(map(operator.is_, items, value)) else kind(items)
    if kind is not dict and isinstance(value, Mapping):
        return value
    columns = columns_of(value)
    if columns is None:
        return value
    found = {name: without_rows(item) for name, item in columns.items()}
    same = kind is dict and all(map(operator.is_, found.values(), columns.values()))
    return value if same else found


def _of_array(value: np.ndarray[Any, Any]) -> Any:
    return value.tolist() if value.dtype.kind in _OBJECTS else value


def _of_scalar(value: np.generic[Any]) -> Any:
    item = value.item()
    if not isinstance(item, np.generic):
        return item
    # Of a longer number than Python has.
    return complex(item) if isinstance(item, np.complexfloating) else float(item)


def _of_pandas(value: Any) -> Any:
    pandas = sys.modules.get("pandas")  # without the import there are no values of it
    if pandas is None:
        return value
    if isinstance(value, pandas.DataFrame):
        return value.to_dict("list")
    if isinstance(value, pandas.Series | pandas.Index | pandas.api.extensions.ExtensionArray):
        return value.tolist()
    return value


#: How to read what holds values of its own kind.
_READ: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (np.ndarray, _of_array),
    (np.generic, _of_scalar),
    (pa.Scalar, operator.methodcaller("as_py")),
    (pa.Array | pa.ChunkedArray, operator.methodcaller("to_pylist")),
    (pa.Table | pa.RecordBatch, operator.methodcaller("to_pydict")),
)


def _items(values: Iterable[Any]) -> list[Any]:
    items = list(values)
    return items if _ATOMS.issuperset(map(type, items)) else list(map(plain, items))


def _unless_same(value: list[Any], found: list[Any]) -> list[Any]:
    return value if all(map(operator.is_, found, value)) else found
