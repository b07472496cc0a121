"""Checks of rows and keys whose values do not have their declared types.

Between workers, Beam's row coder fails the job at such a value, or changes it: 2.5 in a column of
integers becomes 2. So rows are checked before the model runs.
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
    """The type of a column in results: optional, because values are often None in any column.

    It is Any, whose values Beam pickles, for types that Beam's schemas cannot express: mappings of
    any values, and unions and tuples of several types, which schemas reduce to the first.
    """
    kind = python_type(kind)
    if kind is Any or not _is_expressible(kind):
        return Any
    # Beam's coder of int8 cannot encode negative numbers.
    return Optional[np.int16 if kind is np.int8 else kind]  # noqa: UP045 - or a TypeConstraint


def _is_expressible(kind: Any) -> bool:
    """Whether Beam's schemas can express a type and all types within it."""
    if not _has_schema(kind):
        return False
    row = kind if isinstance(kind, RowTypeConstraint) else RowTypeConstraint.from_user_type(kind)
    if row is not None:
        return all(_is_expressible(field) for _, field in row._fields)
    origin = typing.get_origin(kind)
    arguments = [each for each in typing.get_args(kind) if each not in (type(None), ...)]
    if origin in _UNIONS:  # a schema would take the first type only
        return len(arguments) == 1 and _is_expressible(arguments[0])
    if not arguments or not isinstance(origin, type) or not issubclass(origin, Iterable):
        return True
    count = len(set(arguments)) if origin is tuple else len(arguments)
    return count == (2 if issubclass(origin, Mapping) else 1) and all(
        map(_is_expressible, arguments)
    )


def _has_schema(kind: Any) -> bool:
    try:
        typing_to_runner_api(kind)
    except Exception:  # Beam raises errors of any class
        return False
    return True


class RowCheck:
    """Raises TypeError for a row with a value that does not fit the type of its column.

    A value fits if Beam's coder returns it equal; collections of any class are returned as lists.
    """

    def __init__(self, columns: Mapping[str, Any]) -> None:
        fields = [
            pb.Field(name=name, type=typing_to_runner_api(each)) for name, each in columns.items()
        ]
        # Protobuf messages cannot be pickled.
        self._schema: bytes = pb.Schema(fields=fields).SerializeToString()
        self._types = {name: _named(kind) for name, kind in columns.items()}

    @functools.cached_property
    def _columns(self) -> list[tuple[str, type | None, Holds]]:
        fields = pb.Schema.FromString(self._schema).fields
        return [(each.name, _SURE.get(each.type.atomic_type), holds(each.type)) for each in fields]

    def __call__(self, row: Any, columns: Mapping[str, Any]) -> None:
        """Check a row; `columns` are its cells by name."""
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
    """Raises TypeError for a key that Beam's coder for its type would change or refuse."""

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
    except Exception:  # the value's own methods may raise
        return False


def holds(kind: pb.FieldType) -> Holds:
    """A predicate for values that a type of Beam's schemas can hold."""
    check = _BY_KIND[kind.WhichOneof("type_info")](kind)
    return _or_none(check) if kind.nullable and check is not _anything else check


def _or_none(check: Holds) -> Holds:
    return lambda value: value is None or check(value)


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
        if not isinstance(value, _NUMBERS):
            return False
        number = value.item() if isinstance(value, np.generic) else value
        return bool(least <= number <= most and int(number) == number)

    return fits


def _is_number(value: Any) -> bool:
    return isinstance(value, _NUMBERS) and bool(float(value) == value or math.isnan(value))


def _is_short_number(value: Any) -> bool:
    # As a float: numpy would make float16 of the limit.
    return _is_number(value) and not _LARGEST < abs(float(value)) < math.inf


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
#: Python types of which every value fits: long lists of them are not checked one by one.
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
