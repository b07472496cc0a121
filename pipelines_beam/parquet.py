"""Reading Parquet files as rows with a schema; structs become nested rows."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Optional

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems
from apache_beam.typehints.row_type import RowTypeConstraint
from apache_beam.yaml import yaml_provider, yaml_transform

from .columns import Kept, kept

_MAX_ROWS = 64  # converted to Python objects at a time: a row may hold a photo
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


class ReadFromParquet(beam.PTransform):  # type: ignore[misc]
    """The rows of Parquet files, with a schema: structs and lists of structs are nested rows.

    Beam's own reader yields structs as dicts although it declares them as rows, so the next step
    fails: images and audio of `datasets`, {bytes, path}, cannot be read with it.

    Args:
      file_pattern: the files, on any file system that Beam knows.
      columns: names of the columns to read (default: all). A field of a struct is named after a
        dot, as in ["image.bytes"]: the struct then has only such fields.
      validate: whether Beam's reader checks, too, that the files exist when the pipeline is built.

    All files must have the schema of the first one. It is read when the pipeline is built, whatever
    `validate` is, so a file must exist.

    Raises:
      OSError: no file matches.
      ValueError: a column does not exist, or its name is not valid for a row.

    """

    def __init__(
        self, file_pattern: str, columns: Sequence[str] | None = None, validate: bool = True
    ) -> None:
        super().__init__()
        self._pattern = file_pattern
        self._columns = None if columns is None else list(columns)
        self._validate = validate
        self._type = _row(list(_schema(file_pattern, self._columns)))

    def expand(self, pbegin: Any) -> Any:
        """PCollection of rows."""
        tables = pbegin | beam.io.ReadFromParquetBatched(
            self._pattern, validate=self._validate, columns=self._columns
        )
        return tables | "Rows" >> beam.ParDo(_Rows(self._type)).with_output_types(self._type)


class _Provider(yaml_provider.InlineProvider):  # type: ignore[misc]
    """A provider that Beam YAML always prefers to its own of the same name."""

    def affinity(self, other: Any) -> int:
        """How well it fits neighbouring transforms: better than any other provider."""
        return 1_000_000


def provider() -> yaml_provider.InlineProvider:
    """Beam YAML's provider of this reader, in place of Beam's, with the same options."""

    def read(path: str | None = None, **config: Any) -> beam.PTransform:
        pattern = config.pop("file_pattern", path)  # Beam's reader accepts both names
        if pattern is None:
            raise ValueError("ReadFromParquet needs a path")
        return ReadFromParquet(pattern, **yaml_transform.SafeLineLoader.strip_metadata(config))

    return _Provider({"ReadFromParquet": read})


class _Rows(beam.DoFn):  # type: ignore[misc]
    """Tables to their rows."""

    def __init__(self, row_type: RowTypeConstraint) -> None:
        self._type = row_type

    def setup(self) -> None:
        """Prepare the conversion of structs to rows."""
        self._make = _row_maker(self._type)

    def process(self, table: pa.Table) -> Iterator[Any]:
        """The rows of a table, a few at a time."""
        for batch in table.to_batches(max_chunksize=_MAX_ROWS):
            columns = map(_values, batch.columns)
            for cells in zip(*columns, strict=True):
                yield self._make(dict(zip(batch.schema.names, cells, strict=True)))


def _values(column: pa.Array) -> list[Any]:
    """A column's values; converted one by one if Python cannot represent all of them."""
    try:
        return list(column.to_pylist())
    except (OverflowError, ValueError):
        return [_value(column, i) for i in range(len(column))]


def _value(column: pa.Array, i: int) -> Any:
    """One value. Times beyond Python's range are numpy's; invalid UTF-8 is replaced.

    Raises pyarrow's errors for such values within lists and structs.
    """
    try:
        return column[i].as_py()
    except UnicodeDecodeError:
        if not hasattr(column[i], "as_buffer"):
            raise
        return column[i].as_buffer().to_pybytes().decode("utf-8", "replace")
    except (OverflowError, ValueError):
        if not pa.types.is_temporal(column.type):
            raise
        return column.slice(i, 1).to_numpy(zero_copy_only=False)[0]


def _schema(pattern: str, columns: Sequence[str] | None) -> pa.Schema:
    """The schema of the first file, restricted to the chosen columns and fields."""
    files = FileSystems.match([pattern], [1])[0].metadata_list
    if not files:
        raise OSError(f"there is no file {pattern!r}")
    with FileSystems.open(files[0].path) as opened, pq.ParquetFile(opened) as file:
        return file.schema_arrow if columns is None else _chosen(file, columns)


def _chosen(file: pq.ParquetFile, columns: Sequence[str]) -> pa.Schema:
    """The schema of some columns in pyarrow, from an empty file, so that nothing is decoded."""
    paths = _paths(file)
    _check_columns(columns, paths, file.schema_arrow.names)
    written = pa.BufferOutputStream()
    pq.write_table(file.schema_arrow.empty_table(), written)
    with pq.ParquetFile(pa.BufferReader(written.getvalue())) as empty:
        pairs = zip(paths, _paths(empty), strict=True)  # paths of lists may differ
        chosen = [new for old, new in pairs if any(_is_within(old, name) for name in columns)]
        return empty.read(columns=chosen).schema


def _check_columns(columns: Sequence[str], paths: Sequence[str], names: Sequence[str]) -> None:
    """Raise ValueError for a column that does not exist: pyarrow would ignore it."""
    for name in columns:
        if not any(_is_within(path, name) for path in paths):
            beside = [path for path in paths if path.startswith(f"{name.partition('.')[0]}.")]
            raise ValueError(f"there is no column {name!r}: there are {', '.join(beside or names)}")


def _paths(file: pq.ParquetFile) -> list[str]:
    """The paths of the file's leaf columns: names joined by dots."""
    return [file.schema.column(i).path for i in range(len(file.schema))]


def _is_within(path: str, name: str) -> bool:
    """Whether a path is a column, or a leaf within it."""
    return f"{path}.".startswith(f"{name}.")


def _row(fields: Sequence[pa.Field]) -> RowTypeConstraint:
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
        return _row(list(kind))
    if pa.types.is_map(kind):
        return dict[_type(kind.key_type), _field(kind.item_field)]  # type: ignore[misc]
    if any(is_list(kind) for is_list in _LISTS):
        return Sequence[_field(kind.value_field)]  # type: ignore[misc]
    return _SCALARS.get(kind) or kept(kind)


def _maker(kind: Any) -> Callable[[Any], Any] | None:
    """A function that converts pyarrow's value to a type; None if no conversion is needed."""
    if isinstance(kind, RowTypeConstraint):
        return _row_maker(kind)
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


def _row_maker(kind: RowTypeConstraint) -> Callable[[Any], Any]:
    """A function that converts a mapping to a row; never None."""
    makers = {name: make for name, field in kind._fields if (make := _maker(field)) is not None}
    row = kind.user_type

    def made(value: Mapping[str, Any]) -> Any:
        return row(**{**value, **{name: make(value[name]) for name, make in makers.items()}})

    return made


def _itself(value: Any) -> Any:
    return value
