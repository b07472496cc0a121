"""The file sinks of Beam YAML, for rows with values of any kind.

Beam's own sinks write structs as lists without field names, round numbers, and fail at bytes and at
values that do not have their column's type. Here, JSON has structs as objects and bytes as base64;
CSV has structs as JSON text. Parquet keeps the Arrow types that ReadFromParquet read, and has JSON
text in columns of any type.
"""

from __future__ import annotations

import functools
import inspect
import json
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
from apache_beam.io import fileio
from apache_beam.io.filesystems import FileSystems
from apache_beam.typehints import typehints
from apache_beam.typehints.row_type import RowTypeConstraint
from apache_beam.yaml.yaml_transform import SafeLineLoader

from transforms.options.shown import shown
from transforms.options.suggest import unknown
from transforms.rows.row_types import fields_of, without_none
from transforms.stages import metrics

from . import row_tables
from .columns import Convert, arrow_type, fitting
from .readable import as_json, is_missing, jsonable

logger = logging.getLogger(__name__)

Fields = Mapping[str, Any]
Write = Callable[..., beam.PTransform]
_FLOATS = (float, np.float32, np.float64)


def _sink(write: Write, expand: Callable[[Any, Fields, dict[str, Any]], Any]) -> Write:
    """A factory for one of Beam's sinks; `expand` writes rows with a schema."""
    prefix = _PREFIX.get(write, "path")
    valid = {*_keywords(write), *_MORE.get(write, ()), "path"} - {"schema"}

    @functools.wraps(write)
    def create(**config: Any) -> beam.PTransform:
        # Beam's loader stores line numbers inside mappings.
        config = SafeLineLoader.strip_metadata(config)
        for name in config:
            if name not in valid:
                raise TypeError(unknown("key", name, valid))
        if "path" in config:
            config[prefix] = config.pop("path")
        if prefix not in config:
            raise TypeError("path must be given: where the names of the files begin")
        if not isinstance(config[prefix], str):
            raise TypeError(f"path must be text, got {shown(config[prefix])}")
        config |= _naming(config[prefix], config, valid)
        return _Written(write(**config), expand, config)

    return create


#: Endings of paths that the names of all their files have, by which other programs know them.
_ENDINGS = (".parquet", ".csv", ".json", ".jsonl")


def _naming(path: str, config: Mapping[str, Any], valid: Collection[str]) -> dict[str, Any]:
    """The options with which files of the path x.csv are x-00000-of-00003.csv, and so on.

    Beam would call them x.csv-00000-of-00003. A config that says how files are named is left alone.
    """
    ending = next((each for each in _ENDINGS if path.endswith(each)), None)
    if ending is None or config.keys() & _NAMING:
        return {}
    start = path.removesuffix(ending)
    if "file_name_suffix" in valid:
        return {"file_path_prefix": start, "file_name_suffix": ending}
    folder, name = FileSystems.split(start)
    return {"path": folder, "file_naming": fileio.default_file_naming(name, ending)}


#: Options that say how files are named.
_NAMING = {"file_name_suffix", "file_naming", "shard_name_template"}


class _Written(beam.PTransform):  # type: ignore[misc]
    """A sink of rows with a schema; other elements go to Beam's sink, which refuses them."""

    def __init__(self, sink: beam.PTransform, expand: Any, config: dict[str, Any]) -> None:
        super().__init__()
        self._sink = sink
        self._expand = expand
        self._config = config

    def expand(self, pcoll: Any) -> Any:
        """The result of the sink: the names of its files."""
        from apache_beam.ml.inference.base import PredictionResult

        if pcoll.element_type is PredictionResult:
            raise TypeError(
                "files hold rows, and these are PredictionResults: a task whose config has "
                "input: (the column that it reads) gives rows"
            )
        kind = RowTypeConstraint.from_user_type(pcoll.element_type) or pcoll.element_type
        if not isinstance(kind, RowTypeConstraint):
            return pcoll | self._sink
        return self._expand(pcoll, fields_of(kind), self._config)


def _write_json(pcoll: Any, fields: Fields, config: dict[str, Any]) -> Any:
    """One line per row; written by pandas, which rounds numbers, only if its options are given."""
    if not config.keys() <= {"path", "num_shards", "file_naming"}:
        columns = dict.fromkeys(fields, (typehints.Any, jsonable))
        return _with_columns(pcoll, columns) | beam.io.WriteToJson(**config)
    naming = config.get("file_naming")
    folder, name = (config["path"], "") if naming else FileSystems.split(config["path"])
    shards = {} if config.get("num_shards") is None else {"shards": config["num_shards"]}
    written = (
        pcoll
        | "Lines" >> beam.Map(_line, list(fields)).with_output_types(str)
        | fileio.WriteToFiles(
            path=folder,
            file_naming=naming or fileio.default_file_naming(name),
            sink=lambda _: fileio.TextSink(),
            **(shards and {**shards, "max_writers_per_bundle": 0}),  # as Beam's own sink sets it
        )
    )
    names = beam.Map(lambda written: written.file_name).with_output_types(str)
    return {"files_written": written | "Names" >> names}


def _line(row: Any, names: list[str]) -> str:
    cells = {name: jsonable(getattr(row, name)) for name in names}
    return json.dumps(cells, separators=(",", ":"))


def _write_csv(pcoll: Any, fields: Fields, config: dict[str, Any]) -> Any:
    columns = {name: _csv_column(name, kind) for name, kind in fields.items()}
    return _with_columns(pcoll, columns) | beam.io.WriteToCsv(**config)


def _csv_column(name: str, kind: Any) -> tuple[Any, Convert]:
    """Floats stay numbers, because pandas has options for their format."""
    if without_none(kind) in _FLOATS:
        return kind, _fitted(name, pa.float64())
    return typehints.Optional[str], _csv_cell


def _csv_cell(value: Any) -> str | None:
    """A string: pandas would convert integers of a column with empty cells to floats."""
    if isinstance(value, np.bool_ | np.integer):
        value = value.item()
    return str(value) if isinstance(value, bool) else as_json(value)


def _with_columns(pcoll: Any, columns: Mapping[str, tuple[Any, Convert]]) -> Any:
    """Rows with the converted columns."""
    types = RowTypeConstraint.from_fields([(name, kind) for name, (kind, _) in columns.items()])
    converts = {name: convert for name, (_, convert) in columns.items()}
    rows = beam.Map(lambda row: beam.Row(**_converted(row, converts)))
    return pcoll | "Convert" >> rows.with_output_types(types)


def _converted(row: Any, converts: Mapping[str, Convert]) -> dict[str, Any]:
    return {name: convert(getattr(row, name)) for name, convert in converts.items()}


def _write_parquet(pcoll: Any, fields: Fields, config: dict[str, Any]) -> Any:
    columns = {name: _parquet_column(name, kind) for name, kind in fields.items()}
    schema = pa.schema([(name, kind) for name, (kind, _) in columns.items()])
    tables = row_tables.tables_of(pcoll)
    if tables is not None and config.keys() <= _OF_TABLES and _casts(tables.schema, schema):
        cast = beam.Map(_cast, schema).with_output_types(pa.Table)
        write = _among_others(beam.io.WriteToParquetBatched(schema=schema, **config))
        return tables.pcoll | "Cast" >> cast | write
    converts = {name: convert for name, (_, convert) in columns.items()}
    rows = beam.Map(_converted, converts).with_output_types(dict[str, Any])
    write = _among_others(beam.io.WriteToParquet(schema=schema, **config))
    return pcoll | "Convert" >> rows | write


def _among_others(write: Any) -> Any:
    """Beam's sink, which removes older files of its names: those alone, and not a-b-… for a-…."""
    sink = write._sink
    sink.shard_name_glob_format = sink.shard_name_glob_format.replace("*", "[0-9]" * 5)
    return write


def _casts(given: pa.Schema, wanted: pa.Schema) -> bool:
    """Whether tables of a schema can be cast to another."""
    try:
        _cast(given.empty_table(), wanted)
    except pa.ArrowException:
        return False
    return True


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of a table with the types of a schema, in its order.

    Raises ValueError for a table with other columns, and where a value does not fit its type.
    """
    if sorted(table.schema.names) != sorted(schema.names):
        raise ValueError(
            f"all files must have the columns of the first, {', '.join(schema.names)}: got "
            f"{', '.join(table.schema.names)}"
        )
    return table.select(schema.names).replace_schema_metadata().cast(schema)


def _parquet_column(name: str, kind: Any) -> tuple[pa.DataType, Convert]:
    """The Arrow type of a column, or JSON text if there is none."""
    try:
        arrow = arrow_type(kind)
    except TypeError:
        return pa.string(), as_json
    return arrow, _fitted(name, arrow)


def _fitted(name: str, kind: pa.DataType) -> Convert:
    """A function that converts values to a column's type; None for a value that does not fit."""
    fit = fitting(kind)

    def convert(value: Any) -> Any:
        if value is None:
            return None
        try:
            return fit(value)
        except Exception as error:  # of pyarrow, numpy or a user's class
            if not is_missing(value):
                _note_misfit(name, kind, value, error)
            return None

    return convert


_noted: set[str] = set()


def _note_misfit(name: str, kind: pa.DataType, value: Any, error: Exception) -> None:
    """Count a value that does not fit its column, and log the first of the column."""
    metrics.count_misfit()
    if name not in _noted:
        _noted.add(name)
        logger.warning(
            "the column %r has the type %s, which the value %s does not fit (%s): the cell is "
            "empty. The counter %r has the number of such cells; this is said once per column.",
            name,
            kind,
            shown(value),
            error,
            metrics.MISFITS,
        )


def _keywords(function: Callable[..., Any]) -> set[str]:
    """The names of the parameters of a function or constructor."""
    taken = inspect.signature(function).parameters.values()
    return {each.name for each in taken if each.kind is not each.VAR_KEYWORD} - {"self"}


#: The options of WriteToParquet that it shares with WriteToParquetBatched.
_OF_TABLES = _keywords(beam.io.WriteToParquetBatched)
#: Options that Beam passes to pandas, which refuses unknown ones only when the job runs.
_MORE = {
    beam.io.WriteToJson: _keywords(pd.DataFrame.to_json) - {"path_or_buf", "index"},
    beam.io.WriteToCsv: _keywords(pd.DataFrame.to_csv) - {"path_or_buf", "index", "index_label"},
}
_PREFIX = {beam.io.WriteToParquet: "file_path_prefix"}
#: The sinks, by their type in Beam YAML.
TRANSFORMS = {
    "WriteToJson": _sink(beam.io.WriteToJson, _write_json),
    "WriteToCsv": _sink(beam.io.WriteToCsv, _write_csv),
    "WriteToParquet": _sink(beam.io.WriteToParquet, _write_parquet),
}
