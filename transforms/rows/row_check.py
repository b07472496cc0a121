"""Rows whose values are not of the types that they are declared with.

Between workers, Beam's coder of a row ends the job at such a value, or changes it: an int of 2.5
becomes 2. Nothing else looks at it, so the row is checked before the model answers it.
"""

from __future__ import annotations

import functools
import math
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Optional, Self

import apache_beam as beam
import numpy as np
from apache_beam.coders import FastPrimitivesCoder, RowCoder, registry
from apache_beam.portability.api import schema_pb2 as pb
from apache_beam.typehints import typehints
from apache_beam.typehints.row_type import RowTypeConstraint
from apache_beam.typehints.schemas import PYTHON_ANY_URN, typing_to_runner_api

from ..options.shown import typed
from .row_types import python_type

Holds = Callable[[Any], bool]

_UNIONS = (typing.Union, types.UnionType)
_NUMBERS = (int, float, np.integer, np.floating)
_LARGEST = float(np.finfo(np.float32).max)
_MISSING = object()


def column_type(kind: Any) -> Any:
    """The type of a column that is passed on, where it is often None whatever its class says.

    Any, of which Beam pickles the values, for what its schemas cannot say: mappings of anything;
    unions and pairs, of which they take the first type for all.
    """
    kind = python_type(kind)
    if kind is Any or not _is_known(kind):
        return Any
    # Beam's coder of bytes takes no negative numbers.
    return Optional[np.int16 if kind is np.int8 else kind]  # noqa: UP045 - or a TypeConstraint


def _is_known(kind: Any) -> bool:
    """Whether Beam's schemas can say what a type is, with all that is in it."""
    if not _is_sayable(kind):
        return False
    row = kind if isinstance(kind, RowTypeConstraint) else RowTypeConstraint.from_user_type(kind)
    if row is not None:
        return all(_is_known(field) for _, field in row._fields)
    origin = typing.get_origin(kind)
    arguments = [each for each in typing.get_args(kind) if each not in (type(None), ...)]
    if origin in _UNIONS:  # of the types in one, they take the first
        return len(arguments) == 1 and _is_known(arguments[0])
    if not arguments or not isinstance(origin, type) or not issubclass(origin, Iterable):
        return True
    found = len(set(arguments)) if origin is tuple else len(arguments)
    return found == (2 if issubclass(origin, Mapping) else 1) and all(map(_is_known, arguments))


def _is_sayable(kind: Any) -> bool:
    try:
        typing_to_runner_api(kind)
    except Exception:  # Beam raises what comes: ValueError, KeyError, …
        return False
    return True


class RowCheck:
    """Raises TypeError for a row with a value that does not fit the type of its column.

    Values fit that Beam's coder gives back equal; of whatever holds several, as a list of them.
    """

    def __init__(self, columns: Mapping[str, Any]) -> None:
        fields = [
            pb.Field(name=name, type=typing_to_runner_api(each)) for name, each in columns.items()
        ]
        self._schema: bytes = pb.Schema(fields=fields).SerializeToString()  # that can be pickled
        self._types = {name: _named(kind) for name, kind in columns.items()}

    @functools.cached_property
    def _columns(self) -> list[tuple[str, type | None, Holds]]:
        fields = pb.Schema.FromString(self._schema).fields
        return [(each.name, _SURE.get(each.type.atomic_type), holds(each.type)) for each in fields]

    def __call__(self, row: Any, columns: Mapping[str, Any]) -> None:
        """Check a row, whose columns these are."""
        if isinstance(row, Mapping):
            raise TypeError(f"the row is a {type(row).__name__}, which its type does not say")
        for name, sure, fits in self._columns:
            value = columns.get(name, _MISSING)
            if type(value) is sure or _is_held(fits, value):
                continue
            if value is _MISSING:
                raise TypeError(f"the row has no column {name!r}, which its type says it has")
            raise TypeError(
                f"column {name!r} has the type {self._types[name]:.200}, which cannot hold "
                f"{typed(value)}: convert it, or declare the column as Any"
            )


class KeyCheck:
    """Raises TypeError for a key that does not fit its type: Beam's coder must give it back."""

    def __init__(self, kind: Any) -> None:
        self._kind = _named(kind)
        self._coder = registry.get_coder(kind)

    @classmethod
    def of(cls, kind: Any) -> Self | None:
        """The check for a type; None for keys of any type, which are pickled."""
        kind = typehints.normalize(kind)
        return None if isinstance(registry.get_coder(kind), FastPrimitivesCoder) else cls(kind)

    def __call__(self, key: Any) -> None:
        """Check a key."""
        if not _is_held(self._is_same, key):
            raise TypeError(
                f"the key has the type {self._kind:.200}, which cannot hold {typed(key)}"
            )

    def _is_same(self, key: Any) -> bool:
        return bool(self._coder.decode(self._coder.encode(key)) == key)


def _named(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")


def _is_held(fits: Holds, value: Any) -> bool:
    try:
        return fits(value)
    except Exception:  # of a value whose length, order or fields are not what they seem
        return False


def holds(kind: pb.FieldType) -> Holds:
    """A function that says of a value whether a type of Beam's schemas can hold it."""
    found = _BY_KIND[kind.WhichOneof("type_info")](kind)
    return _or_none(found) if kind.nullable and found is not _anything else found


def _or_none(found: Holds) -> Holds:
    return lambda value: value is None or found(value)


def _anything(value: Any) -> bool:
    return value is not _MISSING


def _is_text(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    if not value.isascii():
        value.encode()  # raises for half of a pair of surrogates
    return True


def _is_whole(least: int, most: int) -> Holds:
    def fits(value: Any) -> bool:
        return isinstance(value, _NUMBERS) and bool(least <= value <= most and int(value) == value)

    return fits


def _is_number(value: Any) -> bool:
    return isinstance(value, _NUMBERS) and bool(float(value) == value or math.isnan(value))


def _is_short_number(value: Any) -> bool:
    return _is_number(value) and not _LARGEST < abs(value) < math.inf


_ATOMS: Mapping[int, Holds] = {
    pb.STRING: _is_text,
    pb.BYTES: lambda value: isinstance(value, bytes),
    pb.BOOLEAN: lambda value: isinstance(value, bool | np.bool_),
    pb.BYTE: _is_whole(0, 2**8 - 1),
    pb.INT16: _is_whole(-(2**15), 2**15 - 1),
    pb.INT32: _is_whole(-(2**31), 2**31 - 1),
    pb.INT64: _is_whole(-(2**63), 2**63 - 1),
    pb.FLOAT: _is_short_number,
    pb.DOUBLE: _is_number,
}
#: Python's own, whose every value is held: lists of hundreds are not looked at one by one.
_SURE = {pb.DOUBLE: float, pb.BOOLEAN: bool, pb.BYTES: bytes}


def _holds_items(kind: pb.FieldType) -> Holds:
    item = (kind.array_type if kind.HasField("array_type") else kind.iterable_type).element_type
    held, sure = holds(item), {_SURE.get(item.atomic_type)}

    def fits(value: Any) -> bool:
        if not isinstance(value, Collection) or isinstance(value, _NO_LISTS):
            return False
        return sure.issuperset(map(type, value)) or all(map(held, value))

    return fits


_NO_LISTS = (str, bytes, bytearray, memoryview, Mapping)


def _holds_map(kind: pb.FieldType) -> Holds:
    key, item = holds(kind.map_type.key_type), holds(kind.map_type.value_type)
    return lambda value: (
        isinstance(value, Mapping) and all(map(key, value)) and all(map(item, value.values()))
    )


def _holds_row(kind: pb.FieldType) -> Holds:
    fields = [(field.name, holds(field.type)) for field in kind.row_type.schema.fields]
    return lambda value: all(fits(getattr(value, name)) for name, fits in fields)


def _holds_logical(kind: pb.FieldType) -> Holds:
    if kind.logical_type.urn == PYTHON_ANY_URN:
        return _anything
    coder = RowCoder(pb.Schema(fields=[pb.Field(name="value", type=kind)]))

    def fits(value: Any) -> bool:
        return bool(coder.decode(coder.encode(beam.Row(value=value))).value == value)

    return fits


_BY_KIND: Mapping[Any, Callable[[pb.FieldType], Holds]] = {
    "atomic_type": lambda kind: _ATOMS[kind.atomic_type],
    "array_type": _holds_items,
    "iterable_type": _holds_items,
    "map_type": _holds_map,
    "row_type": _holds_row,
    "logical_type": _holds_logical,
}
