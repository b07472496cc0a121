"""Python types of prediction columns, as pyarrow knows them, and values made to fit them."""

from __future__ import annotations

import datetime
import decimal
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from apache_beam.typehints.row_type import RowTypeConstraint

from ..options.nested import columns_of
from ..tasks.columns import FILES
from .files import file

_SCALARS: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    bytes: pa.binary(),
    np.float32: pa.float32(),
}
Convert = Callable[[Any], Any]
#: pyarrow's types by what Python has for them: a function for each kind of types.
_PYTHON: tuple[tuple[Callable[[pa.DataType], bool], Any], ...] = (
    (pa.types.is_string, str),
    (pa.types.is_large_string, str),
    (pa.types.is_string_view, str),
    (pa.types.is_binary, bytes),
    (pa.types.is_large_binary, bytes),
    (pa.types.is_binary_view, bytes),
    (pa.types.is_fixed_size_binary, bytes),
    (pa.types.is_boolean, bool),
    (pa.types.is_integer, int),
    (pa.types.is_floating, float),
    (pa.types.is_decimal, decimal.Decimal),
    (pa.types.is_timestamp, datetime.datetime),
    (pa.types.is_date, datetime.date),
    (pa.types.is_time, datetime.time),
    (pa.types.is_duration, datetime.timedelta),
    (pa.types.is_struct, dict),
    (pa.types.is_map, dict),
    (lambda kind: hasattr(kind, "value_type"), list),  # of any kind of lists
)


def python_type(kind: pa.DataType) -> Any:
    """The type of a column's values, those of lists and structs aside; Any where none is known."""
    if isinstance(kind, pa.BaseExtensionType):
        return python_type(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return python_type(kind.value_type)
    return next((found for is_kind, found in _PYTHON if is_kind(kind)), typing.Any)


def arrow_type(kind: Any) -> pa.DataType:
    """The pyarrow type of a column. Raises TypeError for a type that no column can have."""
    kind = _bare(kind)
    if kind in _SCALARS:
        return _SCALARS[kind]
    if _is_sequence(kind):
        return pa.list_(arrow_type(_item(kind)))
    fields = struct_fields(kind)
    if fields is None:
        raise TypeError(f"a column cannot have the type {kind!r}")
    return pa.struct([arrow_field(name, field) for name, field in fields.items()])


def arrow_field(name: str, kind: Any) -> pa.Field:
    """A pyarrow field; nullable, as Parquet readers expect of any column."""
    return pa.field(name, arrow_type(kind))


def hub_feature(kind: Any) -> Any:
    """What `datasets` calls a column's type, as its metadata says it."""
    kind = _bare(kind)
    if kind in FILES:
        return {"_type": FILES[kind]}
    if _is_sequence(kind):
        return [hub_feature(_item(kind))]
    fields = struct_fields(kind)
    if fields is None:
        return {"dtype": str(arrow_type(kind)), "_type": "Value"}
    return {name: hub_feature(field) for name, field in fields.items()}


def has_files(kind: Any) -> bool:
    """Whether there are files in a column."""
    kind = _bare(kind)
    if _is_sequence(kind):
        return has_files(_item(kind))
    return kind in FILES or any(map(has_files, (struct_fields(kind) or {}).values()))


def struct_fields(kind: Any) -> dict[str, Any] | None:
    """The fields of a row type or NamedTuple; None for any other type."""
    if isinstance(kind, RowTypeConstraint):
        return dict(kind._fields)
    if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return typing.get_type_hints(kind)
    return None


def converter(kind: Any, as_mapping: bool) -> Convert:
    """A function that makes a value fit a type: numpy scalars to Python's, rows to structs.

    It raises TypeError, ValueError or OverflowError for a value that would be another afterwards,
    such as 2.5 for an int: where a pipeline's class is not annotated right, nobody else sees it.

    `as_mapping`: structs as dicts, for elements that are dicts themselves; else as NamedTuples:
    Beam writes no beam.Row that is within a row.
    """
    optional = _not_none(kind) is not kind
    kind = _bare(kind)
    if _is_sequence(kind):
        convert = _sequence(_item(kind), as_mapping)
    elif (fields := struct_fields(kind)) is not None:
        struct = _struct(kind, fields, as_mapping)
        convert = (lambda value: struct(file(kind, value))) if kind in FILES else struct
    else:
        convert = _CONVERTS.get(kind, _unchanged)
    return _optional(convert) if optional else convert


def _sequence(item: Any, as_mapping: bool) -> Convert:
    if item is np.float32:
        return _vector
    if _is_sequence(item) and _item(item) is np.float32:
        return lambda value: list(map(_vector, value))
    convert = converter(item, as_mapping)
    return lambda value: [convert(each) for each in _listed(value)]


def _vector(value: Any) -> list[float]:
    """Numbers, converted by one call for all."""
    found = np.asarray(value, np.float32)
    if found.ndim != 1:
        raise TypeError(f"it must be a list of numbers, and has {found.ndim} dimensions")
    numbers: list[float] = found.tolist()
    return numbers


def _listed(value: Any) -> Any:
    if isinstance(value, str | bytes | Mapping):
        raise TypeError("it must be a list")
    return value


def _struct(kind: Any, fields: dict[str, Any], as_mapping: bool) -> Convert:
    converts = {name: converter(field, as_mapping) for name, field in fields.items()}

    def convert(value: Any) -> Any:
        columns = columns_of(value)
        if columns is None:
            raise TypeError(f"it must have the fields {', '.join(fields)}")
        found = {name: each(columns.get(name)) for name, each in converts.items()}
        return found if as_mapping else kind(**found)

    return convert


def _optional(convert: Convert) -> Convert:
    return lambda value: None if value is None else convert(value)


def _unchanged(value: Any) -> Any:
    return value


def _text(value: Any) -> str:
    """A text, or a number as one: labels may be numbers."""
    if not isinstance(value, str | int | float | np.generic):
        raise TypeError("it must be a string")
    found = str(value)
    if not found.isascii():
        found.encode()  # raises ValueError for half of a pair of surrogates
    return found


def _whole(value: Any) -> int:
    found = int(value)
    if not isinstance(value, str) and found != value:
        raise ValueError("it must be a whole number")
    if not -(2**63) <= found < 2**63:
        raise OverflowError("it must have at most 64 bits")
    return found


def _condition(value: Any) -> bool:
    if value not in (True, False):
        raise TypeError("it must be True or False")
    return bool(value)


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError("it must be bytes")
    return bytes(value)


_CONVERTS: Mapping[Any, Convert] = {
    str: _text,
    int: _whole,
    float: float,
    np.float32: float,
    bool: _condition,
    bytes: _bytes,
}


def _bare(kind: Any) -> Any:
    """The type without None; a file by its own class, which Beam wraps where it is in a row."""
    kind = _not_none(kind)
    return kind.user_type if getattr(kind, "user_type", None) in FILES else kind


def _not_none(kind: Any) -> Any:
    """T for T | None."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kinds = [each for each in typing.get_args(kind) if each is not type(None)]
        return kinds[0] if len(kinds) == 1 else kind
    return kind


def _is_sequence(kind: Any) -> bool:
    return typing.get_origin(kind) in (Sequence, list)


def _item(kind: Any) -> Any:
    return typing.get_args(kind)[0]
