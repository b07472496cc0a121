"""The rows that Arrow's values become: their types, and the conversion."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Optional

import numpy as np
import pyarrow as pa
from apache_beam.typehints.row_type import RowTypeConstraint

from .columns import Kept, kept

#: The types of Beam's schemas; strings and bytes have one type for all sizes.
_SCALARS: dict[pa.DataType, Any] = {
    pa.bool_(): bool,
    pa.int8(): np.int16,  # Beam's coder of np.int8 cannot encode negative numbers
    pa.int16(): np.int16,
    pa.int32(): np.int32,
    pa.int64(): np.int64,
    pa.uint8(): np.int16,
    pa.uint16(): np.int32,
    pa.uint32(): np.int64,
    pa.float16(): np.float32,
    pa.float32(): np.float32,
    pa.float64(): np.float64,
    pa.string(): str,
    pa.large_string(): str,
    pa.string_view(): str,
    pa.binary(): bytes,
    pa.large_binary(): bytes,
    pa.binary_view(): bytes,
    pa.null(): str,  # all values are null
}
_LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)


def row_type(fields: Iterable[pa.Field]) -> RowTypeConstraint:
    """The type of rows with these columns, a schema's or a struct's.

    Raises ValueError for a name that is not valid in a row.
    """
    try:
        return RowTypeConstraint.from_fields([(each.name, _field(each)) for each in fields])
    except ValueError as error:
        raise ValueError(
            f"a row's columns must have names of Python variables, to begin with a letter ({error})"
            ": leave others out with columns=[…]"
        ) from error


def _field(field: pa.Field) -> Any:
    own_type = _type(field.type)
    any_value = isinstance(own_type, type) and issubclass(own_type, Kept)
    return own_type if any_value or not field.nullable else Optional[own_type]  # noqa: UP045


def _type(kind: pa.DataType) -> Any:
    """The type of a column's values; see `kept` for types that Beam's schemas cannot express."""
    if isinstance(kind, pa.BaseExtensionType):
        storage = _type(kind.storage_type)
        return kept(kind) if storage is kept(kind.storage_type) else storage
    if pa.types.is_dictionary(kind):
        return _type(kind.value_type)
    if pa.types.is_struct(kind):
        return row_type(kind)
    if pa.types.is_map(kind):
        return dict[_type(kind.key_type), _field(kind.item_field)]  # type: ignore[misc]
    if any(is_list(kind) for is_list in _LISTS):
        return Sequence[_field(kind.value_field)]  # type: ignore[misc]
    return _SCALARS.get(kind) or kept(kind)


def _maker(kind: Any) -> Callable[[Any], Any] | None:
    """A function that converts pyarrow's value to a type; None if no conversion is needed."""
    if isinstance(kind, RowTypeConstraint):
        return row_maker(kind)
    arguments = typing.get_args(kind)
    make = _maker(arguments[-1 if typing.get_origin(kind) is dict else 0]) if arguments else None
    if typing.get_origin(kind) is dict:  # pairs
        make = make or _itself
        return lambda value: {key: make(item) for key, item in value}
    if make is None:
        return None
    if typing.get_origin(kind) is typing.Union:
        return lambda value: None if value is None else make(value)
    return lambda value: list(map(make, value))


def row_maker(kind: RowTypeConstraint) -> Callable[[Any], Any]:
    """A function that converts a mapping of pyarrow's values to a row of a type."""
    makers = {name: make for name, field in kind._fields if (make := _maker(field)) is not None}
    row = kind.user_type

    def made(value: Mapping[str, Any]) -> Any:
        return row(**{**value, **{name: make(value[name]) for name, make in makers.items()}})

    return made


def _itself(value: Any) -> Any:
    return value
