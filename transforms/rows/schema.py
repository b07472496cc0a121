"""Types of columns: Python's, pyarrow's, and the features of `datasets`."""

from __future__ import annotations

import datetime
import decimal
import json
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from apache_beam.typehints.row_type import RowTypeConstraint

from ..tasks.columns import FILES

_SCALARS: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    bytes: pa.binary(),
    np.float32: pa.float32(),
}
#: Where `datasets` looks for the features of a file's columns.
_HUB = b"huggingface"
#: Python's types for pyarrow's: a predicate for each group of pyarrow types, and the Python type.
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
    """The Python type of a column's values, list and dict without their items; Any if unknown."""
    if isinstance(kind, pa.BaseExtensionType):
        return python_type(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return python_type(kind.value_type)
    return next((own for is_kind, own in _PYTHON if is_kind(kind)), typing.Any)


def arrow_type(kind: Any) -> pa.DataType:
    """The pyarrow type of a column. Raises TypeError for a type that no column can have."""
    kind = bare(kind)
    if kind in _SCALARS:
        return _SCALARS[kind]
    if is_sequence(kind):
        return pa.list_(arrow_type(item_type(kind)))
    fields = struct_fields(kind)
    if fields is None:
        raise TypeError(f"a column cannot have the type {kind!r}")
    return pa.struct([arrow_field(name, field) for name, field in fields.items()])


def arrow_field(name: str, kind: Any) -> pa.Field:
    """A pyarrow field; nullable, as Parquet readers expect of any column."""
    return pa.field(name, arrow_type(kind))


def hub_feature(kind: Any) -> Any:
    """A column's type as a feature of `datasets`, as its schema metadata holds it."""
    kind = bare(kind)
    if kind in FILES:
        return {"_type": FILES[kind]}
    if is_sequence(kind):
        return [hub_feature(item_type(kind))]
    fields = struct_fields(kind)
    if fields is None:
        return {"dtype": str(arrow_type(kind)), "_type": "Value"}
    return {name: hub_feature(field) for name, field in fields.items()}


def has_files(kind: Any) -> bool:
    """Whether a column holds files (images or audio), also within lists and structs."""
    kind = bare(kind)
    if is_sequence(kind):
        return has_files(item_type(kind))
    return kind in FILES or any(map(has_files, (struct_fields(kind) or {}).values()))


def extended(input_schema: pa.Schema | None, columns: Mapping[str, Any]) -> pa.Schema:
    """A schema with further columns; its metadata tells `datasets` which of them are files."""
    fields = [] if input_schema is None else list(input_schema)
    metadata = {} if input_schema is None else dict(input_schema.metadata or {})
    files = {name: hub_feature(kind) for name, kind in columns.items() if has_files(kind)}
    if files:
        hub = json.loads(metadata.get(_HUB, b"{}"))
        hub.setdefault("info", {}).setdefault("features", {}).update(files)
        metadata[_HUB] = json.dumps(hub).encode()
    added = [arrow_field(name, kind) for name, kind in columns.items()]
    return pa.schema(fields + added, metadata or None)


def struct_fields(kind: Any) -> dict[str, Any] | None:
    """The fields of a row type or NamedTuple; None for any other type."""
    if isinstance(kind, RowTypeConstraint):
        return dict(kind._fields)
    if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return typing.get_type_hints(kind)
    return None


def bare(kind: Any) -> Any:
    """The type without None; for a file its class, which Beam wraps where it is within a row."""
    kind = not_none(kind)
    return kind.user_type if getattr(kind, "user_type", None) in FILES else kind


def not_none(kind: Any) -> Any:
    """T for T | None."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kinds = [each for each in typing.get_args(kind) if each is not type(None)]
        return kinds[0] if len(kinds) == 1 else kind
    return kind


def is_sequence(kind: Any) -> bool:
    """Whether a column's values are lists."""
    return typing.get_origin(kind) in (Sequence, list)


def item_type(kind: Any) -> Any:
    """The type of the items of a list type."""
    return typing.get_args(kind)[0]
