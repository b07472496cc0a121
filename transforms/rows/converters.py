"""Converters of values in inferences to the types of their columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..options.nested import columns_of
from ..tasks.columns import FILES
from .files import encode
from .schema import bare, is_sequence, item_type, not_none, struct_fields

Convert = Callable[[Any], Any]


def converter(kind: Any, as_mapping: bool) -> Convert:
    """A function that converts a value to a type: numpy scalars to Python's, rows to structs.

    It raises TypeError, ValueError or OverflowError for a value that the conversion would change,
    such as 2.5 for an int: nothing else notices that a pipeline class has wrong annotations.

    Args:
      kind: the column's type, as the task declares it.
      as_mapping: structs become dicts, for elements that are dicts themselves; otherwise
        NamedTuples, because Beam cannot write a beam.Row within a row.

    """
    optional = not_none(kind) is not kind
    kind = bare(kind)
    if is_sequence(kind):
        convert = _sequence(item_type(kind), as_mapping)
    elif (fields := struct_fields(kind)) is not None:
        struct = _struct(kind, fields, as_mapping)
        convert = (lambda value: struct(encode(kind, value))) if kind in FILES else struct
    else:
        convert = _CONVERTS.get(kind, _unchanged)
    return _optional(convert) if optional else convert


def _sequence(item: Any, as_mapping: bool) -> Convert:
    if item is np.float32:
        return _vector
    if is_sequence(item) and item_type(item) is np.float32:
        return lambda value: list(map(_vector, value))
    convert = converter(item, as_mapping)
    return lambda value: [convert(each) for each in _require_list(value)]


def _vector(value: Any) -> list[float]:
    """A list of numbers, converted by one call for all."""
    vector = np.asarray(value, np.float32)
    if vector.ndim != 1:
        raise TypeError(f"it must be a list of numbers, and has {vector.ndim} dimensions")
    numbers: list[float] = vector.tolist()
    return numbers


def _require_list(value: Any) -> Any:
    if isinstance(value, str | bytes | Mapping):
        raise TypeError("it must be a list")
    return value


def _struct(kind: Any, fields: dict[str, Any], as_mapping: bool) -> Convert:
    converts = {name: converter(field, as_mapping) for name, field in fields.items()}

    def convert(value: Any) -> Any:
        columns = columns_of(value)
        if columns is None:
            raise TypeError(f"it must have the fields {', '.join(fields)}")
        struct = {name: each(columns.get(name)) for name, each in converts.items()}
        return struct if as_mapping else kind(**struct)

    return convert


def _optional(convert: Convert) -> Convert:
    return lambda value: None if value is None else convert(value)


def _unchanged(value: Any) -> Any:
    return value


def _text(value: Any) -> str:
    """A string, or a number as a string: labels may be numbers."""
    if not isinstance(value, str | int | float | np.generic):
        raise TypeError("it must be a string")
    text = str(value)
    if not text.isascii():
        text.encode()  # raises ValueError for an unpaired surrogate
    return text


def _integer(value: Any) -> int:
    number = int(value)
    if not isinstance(value, str) and number != value:
        raise ValueError("it must be a whole number")
    if not -(2**63) <= number < 2**63:
        raise OverflowError("it must have at most 64 bits")
    return number


def _boolean(value: Any) -> bool:
    if value not in (True, False):
        raise TypeError("it must be True or False")
    return bool(value)


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError("it must be bytes")
    return bytes(value)


_CONVERTS: Mapping[Any, Convert] = {
    str: _text,
    int: _integer,
    float: float,
    np.float32: float,
    bool: _boolean,
    bytes: _bytes,
}
