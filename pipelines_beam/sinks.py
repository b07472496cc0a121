"""Beam's file sinks in Beam YAML, for rows with values inside values.

Beam's own write a struct as a list without the names of its fields, and fail at bytes. In JSON and
CSV, structs are objects by the names of their fields, and bytes are base64; CSV, which has no
objects, and Parquet, where a column may hold anything, have them as JSON texts.
"""

from __future__ import annotations

import base64
import collections
import functools
import inspect
import json
from collections.abc import Callable, Mapping, Set
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
from apache_beam.ml.inference.base import PredictionResult
from apache_beam.typehints import arrow_type_compatibility, schemas, typehints
from apache_beam.typehints.row_type import RowTypeConstraint
from apache_beam.yaml.yaml_transform import SafeLineLoader

from transforms.names import unknown
from transforms.nested import columns_of

#: Of a value that no file format has, such as an image in memory.
_LONGEST = 200
_SCALARS = (str, int, float, bool)
#: Those that Beam's schemas, and so ReadFromParquet, have beside them.
_NUMPY = (np.bool_, np.int8, np.int16, np.int32, np.int64, np.float32, np.float64)
Convert = Callable[[Any], Any]


def jsonable(value: Any) -> Any:
    """The value as JSON has it: structs as objects by the names of their fields, bytes as base64.

    What JSON has nothing for is a text that shows it, cut to 200 characters.
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, _SCALARS):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    fields = columns_of(value)
    if fields is not None:
        return {str(name): jsonable(each) for name, each in fields.items()}
    if isinstance(value, list | tuple | Set):
        return [jsonable(each) for each in value]
    return str(value)[:_LONGEST]


def as_json(value: Any) -> str | None:
    """The value as a JSON text; None stays, so that the cell is empty, and so does a text."""
    found = jsonable(value)
    return found if found is None or isinstance(found, str) else json.dumps(found)


def _write(
    write: Callable[..., beam.PTransform], column: Callable[[str, Any], tuple[Any, Convert | None]]
) -> Callable[..., beam.PTransform]:
    """One of Beam's sinks, each column of its rows converted as `column` says of its type."""
    prefix = _PREFIX.get(write, "path")
    valid = {*_keywords(write), *_MORE.get(write, ()), "path"}

    @functools.wraps(write)
    def create(**config: Any) -> beam.PTransform:
        # Beam's loader notes the lines of mappings inside them.
        config = SafeLineLoader.strip_metadata(config)
        for name in config:
            if name not in valid:
                raise TypeError(unknown("key", name, valid))
        if "path" in config:
            config[prefix] = config.pop("path")
        if prefix not in config:
            raise TypeError("path must be given: where the names of the files begin")
        return _Written(write(**config), column)

    return create


class _Written(beam.PTransform):  # type: ignore[misc]
    """A sink, after a conversion of the columns that it could not write by itself."""

    def __init__(self, sink: beam.PTransform, column: Any) -> None:
        super().__init__()
        self._sink = sink
        self._column = column

    def expand(self, pcoll: Any) -> Any:
        """What the sink gives: the names of its files."""
        if pcoll.element_type is PredictionResult:
            raise TypeError(
                "files hold rows, and these are PredictionResults: a task whose config has "
                "input: (the column that it reads) gives rows"
            )
        kind = RowTypeConstraint.from_user_type(pcoll.element_type) or pcoll.element_type
        if not isinstance(kind, RowTypeConstraint):
            return pcoll | self._sink  # which says that it takes rows only
        columns = {name: self._column(name, each) for name, each in kind._fields}
        converts = {name: convert for name, (_, convert) in columns.items() if convert is not None}
        if converts:
            types = RowTypeConstraint.from_fields([(n, each) for n, (each, _) in columns.items()])
            rows = beam.Map(_converted, list(columns), converts).with_output_types(types)
            pcoll = pcoll | "Convert" >> rows
        return pcoll | self._sink


def _converted(row: Any, names: list[str], converts: Mapping[str, Convert]) -> beam.Row:
    cells = {name: getattr(row, name) for name in names}
    for name, convert in converts.items():
        cells[name] = convert(cells[name])
    return beam.Row(**cells)


def _is_scalar(kind: Any) -> bool:
    return typehints.normalize(kind) in _OPTIONAL_SCALARS


_OPTIONAL_SCALARS = {
    kind for each in (*_SCALARS, *_NUMPY) for kind in (each, typehints.Optional[each])
}


def _json_column(name: str, kind: Any) -> tuple[Any, Convert | None]:
    return (kind, None) if _is_scalar(kind) else (typehints.Any, jsonable)


def _csv_column(name: str, kind: Any) -> tuple[Any, Convert | None]:
    return (kind, None) if _is_scalar(kind) else (typehints.Optional[str], as_json)


def _parquet_column(name: str, kind: Any) -> tuple[Any, Convert | None]:
    """As it is, where Arrow has its type; else a JSON text."""
    try:
        row = RowTypeConstraint.from_fields([(name, kind)])
        schema = schemas.schema_from_element_type(row)
        (field,) = arrow_type_compatibility.arrow_schema_from_beam_schema(schema)
    except (NotImplementedError, TypeError, ValueError):
        return typehints.Optional[str], as_json
    return kind, _named if _has_structs(field.type) else None


def _has_structs(kind: pa.DataType) -> bool:
    """Whether rows may be in a value; a vector of hundreds of numbers is not searched for them."""
    inner = (kind.field(i).type for i in range(kind.num_fields))
    return bool(pa.types.is_struct(kind)) or any(map(_has_structs, inner))


def _named(value: Any) -> Any:
    """The value, beam.Rows in it as named tuples, which Arrow takes as structs."""
    if isinstance(value, beam.Row):
        fields = value.as_dict()
        return _tuple_type(tuple(fields))(*map(_named, fields.values()))
    if type(value) is list:
        return [_named(each) for each in value]
    if isinstance(value, tuple) and hasattr(value, "_make"):
        return value._make(map(_named, value))
    return value


@functools.lru_cache(64)
def _tuple_type(names: tuple[str, ...]) -> Any:
    named: Any = collections.namedtuple  # the names are only known now
    return named("Struct", names)


def _keywords(function: Callable[..., Any]) -> set[str]:
    """The keywords that a function, or a class's constructor, takes by name."""
    taken = inspect.signature(function).parameters.values()
    return {each.name for each in taken if each.kind is not each.VAR_KEYWORD} - {"self"}


#: What Beam passes on to pandas, which says what it does not know only when the job runs.
_MORE = {
    beam.io.WriteToJson: _keywords(pd.DataFrame.to_json) - {"path_or_buf", "index"},
    beam.io.WriteToCsv: _keywords(pd.DataFrame.to_csv) - {"path_or_buf", "index", "index_label"},
}
_PREFIX = {beam.io.WriteToParquet: "file_path_prefix"}
#: By the names of their types in Beam YAML.
TRANSFORMS = {
    "WriteToJson": _write(beam.io.WriteToJson, _json_column),
    "WriteToCsv": _write(beam.io.WriteToCsv, _csv_column),
    "WriteToParquet": _write(beam.io.WriteToParquet, _parquet_column),
}
