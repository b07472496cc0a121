"""Column types of Beam and of Arrow, and conversion of values to Arrow types."""

from __future__ import annotations

import datetime
import functools
import operator
import typing
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from apache_beam.utils.timestamp import Timestamp

from transforms.options.nested import columns_of
from transforms.rows.row_types import fields_of, without_none
from transforms.rows.schema import python_type

from .readable import as_json, whole

Convert = Callable[[Any], Any]
#: A point in time, as Beam's Timestamp; datetimes without a zone are taken as UTC.
_INSTANT = pa.timestamp("us", "UTC")
_SCALARS: dict[Any, pa.DataType] = {
    str: pa.string(),
    bytes: pa.binary(),
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    np.bool_: pa.bool_(),
    np.int8: pa.int8(),
    np.int16: pa.int16(),
    np.int32: pa.int32(),
    np.int64: pa.int64(),
    np.uint8: pa.uint8(),
    np.uint16: pa.uint16(),
    np.uint32: pa.uint32(),
    np.uint64: pa.uint64(),
    np.float16: pa.float32(),
    np.float32: pa.float32(),
    np.float64: pa.float64(),
    Timestamp: _INSTANT,
    datetime.datetime: _INSTANT,
    datetime.date: pa.date32(),
    datetime.time: pa.time64("us"),
    datetime.timedelta: pa.duration("us"),
}


class Kept:
    """A value of an Arrow type that Beam's schemas cannot express: Beam treats it as Any."""

    arrow_type: ClassVar[pa.DataType]


@functools.cache
def kept(kind: pa.DataType) -> type[Kept]:
    """A type for a column of Beam rows that remembers its Arrow type until a sink writes it.

    It is a subclass of the Python type of the values, so that inputs of tasks can be type-checked.
    """
    base = python_type(kind)
    bases = (Kept, base) if isinstance(base, type) else (Kept,)
    return type(str(kind), bases, {"arrow_type": kind})


def arrow_type(kind: Any) -> pa.DataType:
    """The Arrow type of a column of Beam rows.

    Raises TypeError for a type whose values may need several Arrow types, such as Any or Decimal,
    which has any number of digits.
    """
    kind = without_none(kind)
    if isinstance(kind, type) and issubclass(kind, Kept):
        return kind.arrow_type
    if kind in _SCALARS:
        return _SCALARS[kind]
    fields = fields_of(kind)
    if fields is not None:
        return pa.struct([(name, arrow_type(each)) for name, each in fields.items()])
    origin = typing.get_origin(kind)
    items = [each for each in typing.get_args(kind) if each is not Ellipsis]
    if isinstance(origin, type) and items:
        if issubclass(origin, Mapping) and len(items) == 2:
            return pa.map_(*map(arrow_type, items))
        if issubclass(origin, Collection) and len(items) == 1:
            return pa.list_(arrow_type(items[0]))
    raise TypeError(f"no Arrow type has all values of the type {kind!r:.200}")


def fitting(kind: pa.DataType) -> Convert:
    """A function that converts a value, which is not None, to one that Arrow accepts for a type.

    It raises an error for a value that the conversion would change: 2.0 is an integer, 2.5 is not.
    """
    storage = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    if pa.types.is_struct(storage):
        return _struct({each.name: _or_none(fitting(each.type)) for each in storage})
    if pa.types.is_map(storage):
        return _pairs(_or_none(fitting(storage.item_type)))
    if _has_items(storage):
        return _items(storage.value_type)
    if pa.types.is_integer(storage):
        return _integer(storage)
    for is_kind, convert in _CONVERTS:
        if is_kind(storage):
            return convert
    return functools.partial(_checked, kind)


def _has_items(kind: pa.DataType) -> bool:
    return kind.num_fields == 1 and hasattr(kind, "value_type")


def _or_none(convert: Convert) -> Convert:
    return lambda value: None if value is None else convert(value)


def _struct(converts: Mapping[str, Convert]) -> Convert:
    def convert(value: Any) -> dict[str, Any]:
        own = columns_of(value)
        if own is None:
            raise TypeError("a struct is needed")
        return {name: each(own.get(name)) for name, each in converts.items()}

    return convert


def _pairs(convert: Convert) -> Convert:
    return lambda value: [(key, convert(item)) for key, item in dict(value).items()]


def _items(kind: pa.DataType) -> Convert:
    """Lists. A long vector of numbers is passed on unchanged if all have the right type."""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return functools.partial(_vector, kind)
    convert = _or_none(fitting(kind))
    return lambda value: list(map(convert, _require_list(value)))


def _vector(kind: pa.DataType, value: Any) -> Any:
    items = value if isinstance(value, list) else list(_require_list(value))
    plain = float if pa.types.is_floating(kind) else int
    if not all(type(item) is plain for item in items):
        pa.array(items, kind)  # raises an error that names the value
    return items


def _require_list(value: Any) -> Any:
    if isinstance(value, str | bytes | Mapping):
        raise TypeError("a list is needed")
    return value


def _integer(kind: pa.DataType) -> Convert:
    signed = pa.types.is_signed_integer(kind)
    most = 2 ** (kind.bit_width - signed) - 1
    least = -most - 1 if signed else 0

    def convert(value: Any) -> int:
        if type(value) is not int:
            value = _whole_number(value)
        if not least <= value <= most:
            raise OverflowError("out of range")
        return int(value)

    return convert


def _whole_number(value: Any) -> int:
    if isinstance(value, str):
        return int(value)
    if isinstance(value, float | np.floating):
        if not value.is_integer():
            raise ValueError("not a whole number")
        return int(value)
    return operator.index(value.item() if isinstance(value, np.bool_) else value)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise TypeError("True or False is needed")
    return bool(value)


def _text(value: Any) -> str | None:
    return whole(value) if isinstance(value, str) else as_json(value)


def _bytes(value: Any) -> bytes:
    if isinstance(value, uuid.UUID):
        return value.bytes
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError("bytes are needed")
    return bytes(value)


def _checked(kind: pa.DataType, value: Any) -> Any:
    """The value, after Arrow has checked that it fits."""
    if isinstance(value, Timestamp):
        value = value.to_utc_datetime(has_tz=True)
    elif isinstance(value, np.datetime64) and pa.types.is_timestamp(kind):
        # May be beyond Python's years; Arrow accepts no datetime64 for a type with a time zone.
        value = int(value.astype(f"datetime64[{kind.unit}]").astype(np.int64))
    pa.scalar(value, kind)
    return value


_CONVERTS: tuple[tuple[Callable[[pa.DataType], bool], Convert], ...] = (
    (pa.types.is_float16, np.float16),
    (pa.types.is_floating, float),
    (pa.types.is_boolean, _boolean),
    (pa.types.is_string, _text),
    (pa.types.is_large_string, _text),
    (pa.types.is_string_view, _text),
    (pa.types.is_binary, _bytes),
    (pa.types.is_large_binary, _bytes),
    (pa.types.is_binary_view, _bytes),
    (pa.types.is_fixed_size_binary, _bytes),
)
