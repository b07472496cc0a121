"""Reading Parquet files as rows with a schema; structs become nested rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems
from apache_beam.yaml import yaml_provider, yaml_transform

from .row_tables import rows_of
from .row_types import row_type


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
        self._schema = _schema(file_pattern, self._columns)
        row_type(self._schema)

    def expand(self, pbegin: Any) -> Any:
        """PCollection of rows."""
        tables = pbegin | beam.io.ReadFromParquetBatched(
            self._pattern, validate=self._validate, columns=self._columns
        )
        return rows_of(tables, self._schema)


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
