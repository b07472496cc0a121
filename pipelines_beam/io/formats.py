"""The formats of input files: what their columns are, where they are cut, and how they are read."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import fsspec
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq
from fsspec.utils import infer_compression

from transforms.options.suggest import unknown

from .files import InputFile
from .pieces import LineLength, Piece, ShardSize, is_compressed, opened_file, pieces_of_lines
from .ranges import Range, between, equal_ranges, lines_from, record_cuts, record_ends, sliced

#: The column with the numbers of rows, while they are on their way.
ROW = "__row__"
_SAMPLE = 4 * 1024 * 1024  # bytes that types of columns are found in
_HEADER = 256 * 1024  # bytes that have the names of the columns of CSV
_BLOCK = 4 * 1024 * 1024  # bytes read at a time
_BATCH = 1024  # rows of Parquet decoded at a time: a row may hold a photo
_MARK = b"\xef\xbb\xbf"  # of byte order


class Format(Protocol):
    """A format of files."""

    #: Whether ranges are of rows: else of bytes.
    numbers_rows: bool
    #: Whether the rows of pieces are counted: else they are estimated from bytes.
    counts_rows: bool

    def schema(self, file: InputFile) -> pa.Schema:
        """The columns of a file."""

    def pieces(self, file: InputFile, size: ShardSize, schema: pa.Schema) -> list[Piece]:
        """How a file is cut. Raises ValueError for one that cannot be read with the schema."""

    def tables(
        self, files: Sequence[InputFile], ranges: Sequence[Range], schema: pa.Schema
    ) -> Iterator[pa.Table]:
        """The rows of each range, with the columns of the schema."""


class Parquet:
    """Parquet: ranges of rows. The groups are its row groups."""

    numbers_rows = counts_rows = True

    def schema(self, file: InputFile) -> pa.Schema:
        """The columns of a file."""
        with fsspec.open(file.uri) as opened, pq.ParquetFile(opened) as parquet:
            return parquet.schema_arrow

    def pieces(self, file: InputFile, size: ShardSize, schema: pa.Schema) -> list[Piece]:
        """Ranges of as many rows each."""
        with fsspec.open(file.uri) as opened, pq.ParquetFile(opened) as parquet:
            _check(file, parquet.schema_arrow, schema)
            metadata = parquet.metadata
        starts = _group_starts(metadata)
        groups = range(metadata.num_row_groups)
        nbytes = sum(metadata.row_group(i).total_byte_size for i in groups)
        average = max(nbytes // max(starts[-1], 1), 1)
        rows = max(min(size.rows, size.nbytes // average), 1)
        found, group = [], 0
        for start, stop in equal_ranges(0, starts[-1], rows):
            while starts[group + 1] <= start:
                group += 1
            found.append(Piece(start, stop, group, stop - start))
        return found

    def tables(
        self, files: Sequence[InputFile], ranges: Sequence[Range], schema: pa.Schema
    ) -> Iterator[pa.Table]:
        """The rows of each range, ascending, of one file; row groups in between are decoded."""
        (file,) = files
        with fsspec.open(file.uri) as opened, pq.ParquetFile(opened) as parquet:
            starts = _group_starts(parquet.metadata)
            groups = [
                i
                for i in range(len(starts) - 1)
                if starts[i] < ranges[-1][1] and starts[i + 1] > ranges[0][0]
            ]
            names = schema.names
            batches = parquet.iter_batches(_BATCH, row_groups=groups, columns=names)
            own = pa.schema([field for field in parquet.schema_arrow if field.name in names])
            batches = (batch.replace_schema_metadata() for batch in batches)
            for table in sliced(batches, starts[groups[0]], ranges, own):
                yield table.select(names).cast(schema)


class JsonLines:
    """A JSON object on each line: ranges of bytes. Types are found in the first 4 MB."""

    numbers_rows = counts_rows = False

    def schema(self, file: InputFile) -> pa.Schema:
        """The columns of the first lines; times are texts, as they are in JSON."""
        try:
            found = pa_json.read_json(io.BytesIO(_sample(file))).schema
        except pa.ArrowInvalid as error:
            raise ValueError(f"{file.uri} has not a JSON object on each line: {error}") from error
        return pa.schema([field.with_type(_text_for_times(field.type)) for field in found])

    def pieces(self, file: InputFile, size: ShardSize, schema: pa.Schema) -> list[Piece]:
        """Ranges of bytes."""
        return pieces_of_lines(file, size)

    def tables(
        self, files: Sequence[InputFile], ranges: Sequence[Range], schema: pa.Schema
    ) -> Iterator[pa.Table]:
        """The objects whose lines begin in each range."""
        parsing = pa_json.ParseOptions(
            explicit_schema=schema.remove_metadata(), unexpected_field_behavior="ignore"
        )
        for lines in _lines(files, ranges):
            if not lines.strip():
                yield schema.empty_table()
                continue
            reading = pa_json.ReadOptions(block_size=len(lines) + 1)
            table = pa_json.read_json(io.BytesIO(lines), reading, parsing)
            yield table.select(schema.names).cast(schema)


class Text:
    """Lines of text in UTF-8, in the column `text`: ranges of bytes."""

    numbers_rows = counts_rows = False

    def schema(self, file: InputFile) -> pa.Schema:
        """One column."""
        return pa.schema([("text", pa.string())])

    def pieces(self, file: InputFile, size: ShardSize, schema: pa.Schema) -> list[Piece]:
        """Ranges of bytes."""
        return pieces_of_lines(file, size)

    def tables(
        self, files: Sequence[InputFile], ranges: Sequence[Range], schema: pa.Schema
    ) -> Iterator[pa.Table]:
        """The lines that begin in each range, without what ends them."""
        for data in _lines(files, ranges):
            lines = data.decode("utf-8", "replace").split("\n")
            if not lines[-1]:
                lines.pop()
            yield pa.table([[line.removesuffix("\r") for line in lines]], schema=schema)


@dataclass(frozen=True)
class Csv:
    """CSV with a header and RFC 4180's quotes: ranges of bytes; a record may have several lines."""

    delimiter: str
    numbers_rows = counts_rows = False

    def schema(self, file: InputFile) -> pa.Schema:
        """The columns, with the types of the first records."""
        with opened_file(file) as opened:
            sample = opened.read(_SAMPLE)
        ends = record_ends(sample)
        end = ends[-1] if len(ends) and len(sample) == _SAMPLE else len(sample)
        found = pa_csv.read_csv(io.BytesIO(sample[:end]), parse_options=self._parsing()).schema
        return pa.schema([field.with_type(_known(field.type)) for field in found])

    def pieces(self, file: InputFile, size: ShardSize, schema: pa.Schema) -> list[Piece]:
        """Ranges of bytes that begin with a record: the file is read once to find them."""
        names, start = self._header(file)
        _check(file, pa.schema([(name, pa.string()) for name in names]), schema)
        lines = LineLength.of(file)
        if is_compressed(file):
            return [lines.piece((start, start + file.size))]
        with opened_file(file) as opened:
            opened.seek(start)
            blocks = iter(lambda: opened.read(_BLOCK), b"")
            cuts = record_cuts(blocks, start, lines.nbytes(size))
        return [lines.piece(each, group) for group, each in enumerate(between(cuts))]

    def tables(
        self, files: Sequence[InputFile], ranges: Sequence[Range], schema: pa.Schema
    ) -> Iterator[pa.Table]:
        """The records in each range."""
        (file,) = files
        names, _ = self._header(file)
        converting = pa_csv.ConvertOptions(
            column_types=schema.remove_metadata(), include_columns=schema.names
        )
        for start, stop in ranges:
            with opened_file(file) as opened:
                opened.seek(start)
                data = opened.read(-1 if is_compressed(file) else stop - start)
            reading = pa_csv.ReadOptions(column_names=names, block_size=len(data) + 1)
            table = pa_csv.read_csv(io.BytesIO(data), reading, self._parsing(), converting)
            yield table.cast(schema)

    def _header(self, file: InputFile) -> tuple[list[str], int]:
        """The names of the columns, and where the first record begins."""
        with opened_file(file) as opened:
            sample = opened.read(_HEADER)
        ends = record_ends(sample)
        end = ends[0] if len(ends) else len(sample)
        header = sample[:end].removeprefix(_MARK)
        if not header.strip():
            raise ValueError(f"{file.uri} has no header: its columns are unknown")
        return pa_csv.read_csv(io.BytesIO(header), parse_options=self._parsing()).column_names, end

    def _parsing(self) -> pa_csv.ParseOptions:
        return pa_csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True)


class Media:
    """Images, sounds or videos: a row for each file, with its URI, its name and its size."""

    numbers_rows, counts_rows = False, True

    def schema(self, file: InputFile) -> pa.Schema:
        """The columns are always the same."""
        return pa.schema([("path", pa.string()), ("name", pa.string()), ("size", pa.int64())])

    def pieces(self, file: InputFile, size: ShardSize, schema: pa.Schema) -> list[Piece]:
        """The whole file."""
        return [Piece(0, file.size, 0, 1)]

    def tables(
        self, files: Sequence[InputFile], ranges: Sequence[Range], schema: pa.Schema
    ) -> Iterator[pa.Table]:
        """One table of all files. Nothing is read of them: the task fetches its inputs ahead."""
        rows = [
            {"path": each.uri, "name": posixpath.basename(each.uri), "size": each.size}
            for each in files
        ]
        yield pa.Table.from_pylist(rows, self.schema(files[0])).select(schema.names).cast(schema)


FORMATS: Mapping[str, Format] = {
    "parquet": Parquet(),
    "jsonl": JsonLines(),
    "csv": Csv(","),
    "tsv": Csv("\t"),
    "text": Text(),
    "media": Media(),
}
_MEDIA = """\
avif bmp gif jpeg jpg png tif tiff webp aac aif aiff flac m4a mp3 oga ogg opus wav
avi flv m4v mkv mov mp4 mpeg mpg ts webm"""
_SUFFIXES = {
    **dict.fromkeys(("parquet", "pq"), "parquet"),
    **dict.fromkeys(("jsonl", "ndjson", "json"), "jsonl"),
    "csv": "csv",
    "tsv": "tsv",
    **dict.fromkeys(("txt", "text"), "text"),
    **dict.fromkeys(_MEDIA.split(), "media"),
}


def format_of(files: Sequence[InputFile], given: str | None) -> str:
    """The name of the files' format: the one that is given, or that their names tell.

    Raises ValueError for an unknown one, and for files of several.
    """
    if given is not None:
        if given not in FORMATS:
            raise ValueError(f"format: {unknown('format', given, FORMATS)}")
        return given
    found = {_format(file.uri): file.uri for file in files}
    if None in found:
        raise ValueError(
            f"the name of {found[None]} does not tell its format: set format= to one of "
            f"{', '.join(FORMATS)}"
        )
    if len(found) > 1:
        (one, first), (other, second) = list(found.items())[:2]
        raise ValueError(f"the files have several formats: {first} is {one}, {second} is {other}")
    return str(next(iter(found)))


def _format(uri: str) -> str | None:
    name = uri.lower()
    if infer_compression(name) is not None:
        name = name.rpartition(".")[0]
    return _SUFFIXES.get(name.rpartition(".")[2])


def _check(file: InputFile, own: pa.Schema, wanted: pa.Schema) -> None:
    """Raises ValueError for a file without a column that is wanted, or one of another type."""
    for field in wanted:
        if field.name not in own.names:
            raise ValueError(
                f"{file.uri} has no column {field.name!r}, which other files of the job have: it "
                f"has {', '.join(own.names)}"
            )
        try:
            pa.nulls(0, own.field(field.name).type).cast(field.type)
        except pa.ArrowException as error:
            raise ValueError(
                f"{file.uri}: the column {field.name!r} has the type "
                f"{own.field(field.name).type}, and {field.type} in other files of the job"
            ) from error


def _group_starts(metadata: Any) -> list[int]:
    """The number of the first row of each row group; then that of all rows."""
    starts = [0]
    for i in range(metadata.num_row_groups):
        starts.append(starts[-1] + metadata.row_group(i).num_rows)
    return starts


def _sample(file: InputFile) -> bytes:
    """The first lines of a file."""
    with opened_file(file) as opened:
        data: bytes = opened.read(_SAMPLE)
        data += opened.readline() if len(data) == _SAMPLE else b""
    if not data.strip():
        raise ValueError(f"{file.uri} has no rows: its columns are unknown")
    return data.removeprefix(_MARK)


def _lines(files: Sequence[InputFile], ranges: Sequence[Range]) -> Iterator[bytes]:
    """The lines of one file that begin in each range."""
    (file,) = files
    for start, stop in ranges:
        with opened_file(file) as opened:
            data = opened.read() if is_compressed(file) else lines_from(opened, start, stop)
        yield data if start else data.removeprefix(_MARK)


def _known(kind: pa.DataType) -> pa.DataType:
    """A type for a column; of one that has been empty so far, text."""
    return pa.string() if pa.types.is_null(kind) else kind


def _text_for_times(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_temporal(kind):
        return pa.string()
    if pa.types.is_struct(kind):
        return pa.struct([each.with_type(_text_for_times(each.type)) for each in kind])
    if pa.types.is_list(kind):
        return pa.list_(_text_for_times(kind.value_type))
    return _known(kind)
