"""A sample of the rows of a Parquet file, in little memory however large the file is."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_SHOWN = 3
_WIDTH = 100
#: Bounds of what is read from the start of a file: bytes of all vectors, average bytes of a row.
_VECTOR_BYTES, _ROW_BYTES = 8 * 1024 * 1024, 16 * 1024
_MAX_VECTORS = 5000
_MAX_TITLE_CHARACTERS = 200  # of each text column


def lines(paths: Sequence[str], first: Collection[str] = ()) -> Iterator[str]:
    """Lines that show a sample of the first file that has rows.

    They are nearest neighbours if the file has a column of vectors and one of texts, otherwise the
    first rows. Other files may have another schema.

    Args:
      paths: Parquet files.
      first: columns that are shown before the others: a line may be too short for all.

    """
    for path in paths:
        with pq.ParquetFile(path) as file:
            if file.metadata.num_rows:
                yield from _neighbours(file) or _rows(file, first)
                return
    yield "  no rows"


def _rows(file: pq.ParquetFile, first: Collection[str]) -> Iterator[str]:
    names, left_out = _readable(file)
    names.sort(key=lambda name: name not in first)
    if names:
        for row in _read(file, names, _SHOWN).select(names).to_pylist():
            yield "  " + clean(json.dumps(row, ensure_ascii=False, default=str))
    if left_out:
        yield "  not shown: " + clean(", ".join(left_out))


def _readable(file: pq.ParquetFile) -> tuple[list[str], list[str]]:
    """The columns that fit on a line; and the others, which hold bytes or are large."""
    names: list[str] = []
    left_out: list[str] = []
    for field in file.schema_arrow:
        fits = not _has_bytes(field.type) and _row_bytes(file, field.name) <= _ROW_BYTES
        (names if fits else left_out).append(field.name)
    return names, left_out


def _has_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return True
    return any(_has_bytes(kind.field(i).type) for i in range(kind.num_fields))


def _row_bytes(file: pq.ParquetFile, name: str) -> float:
    """The average bytes of a column's cells, in the first row group that has rows."""
    group = file.metadata.row_group(_first_group(file))
    size = 0
    for i in range(group.num_columns):
        column = group.column(i)
        if column.path_in_schema.partition(".")[0] == name.partition(".")[0]:
            size += column.total_uncompressed_size
    return float(size / group.num_rows)


def _first_group(file: pq.ParquetFile) -> int:
    groups = range(file.metadata.num_row_groups)
    return next(i for i in groups if file.metadata.row_group(i).num_rows)


def _read(file: pq.ParquetFile, names: Sequence[str], rows: int) -> pa.Table:
    """The first `rows` rows of the file, or fewer; the rest is not decoded."""
    batches: list[pa.RecordBatch] = []
    size = min(rows, 256)
    for batch in file.iter_batches(size, columns=list(names), use_threads=False):
        batches.append(batch.slice(0, rows))
        rows -= len(batch)
        if rows <= 0:
            break
    return pa.Table.from_batches(batches)


def _neighbours(file: pq.ParquetFile) -> list[str]:
    """Some rows with their nearest neighbours by cosine similarity; empty without vectors."""
    readable, _ = _readable(file)
    schema = file.schema_arrow
    vectors = [field.name for field in schema if _is_vector(field.type)]
    texts = [name for name in readable if _is_text(schema.field(name).type)]
    if not vectors or not texts:
        return []
    width = _row_bytes(file, vectors[0])
    table = _read(file, [vectors[0], *texts], int(min(_MAX_VECTORS, _VECTOR_BYTES // width)) or 1)
    unit_vectors, rows = _matrix(table[vectors[0]])
    if len(unit_vectors) < 2:
        return []
    titles = [_title(table, texts, row) for row in rows]
    total = file.metadata.num_rows
    whole = "" if len(table) == total else f", among the first {len(table):,} of {total:,} rows"
    return [f"nearest neighbours{whole}:", *_alike(unit_vectors, titles)]


def _is_vector(kind: pa.DataType) -> bool:
    """Whether a column holds embeddings: lists of float32. Lists of float64 are scores."""
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    listed = listed or pa.types.is_fixed_size_list(kind)
    return bool(listed and pa.types.is_float32(kind.value_type))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _matrix(column: pa.ChunkedArray) -> tuple[np.ndarray, list[int]]:
    """The unit vectors of a column, (vectors, size), and their rows.

    Vectors of another length than the first, or with values that are not finite, are left out.
    """
    vectors = [
        None if cell is None else np.asarray(cell.to_numpy(zero_copy_only=False), np.float32)
        for cell in (each.values if each.is_valid else None for each in column)
    ]
    length = next((len(each) for each in vectors if each is not None and len(each)), 0)
    rows = [
        i
        for i, each in enumerate(vectors)
        if each is not None and len(each) == length and np.isfinite(each).all()
    ]
    if not rows or not length:
        return np.empty((0, 0), np.float32), []
    matrix = np.stack([vectors[i] for i in rows])  # type: ignore[misc]
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12), rows


def _alike(unit_vectors: np.ndarray, titles: Sequence[str]) -> Iterator[str]:
    for row in sorted(set(np.linspace(0, len(unit_vectors) - 1, _SHOWN + 2).astype(int)[1:-1])):
        likeness = unit_vectors @ unit_vectors[row]
        likeness[row] = -2
        yield f"  {titles[row]}"
        for other in np.argsort(-likeness)[: min(_SHOWN, len(unit_vectors) - 1)]:
            yield f"    {likeness[other]:.2f}  {titles[other]}"


def _title(table: pa.Table, texts: Sequence[str], row: int) -> str:
    return clean("  ".join(str(table[name][row].as_py())[:_MAX_TITLE_CHARACTERS] for name in texts))


def clean(text: str) -> str:
    """Text as one line for a terminal, without control characters."""
    line = " ".join(printable(text[: 20 * _WIDTH]).split())
    return line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…"


def printable(text: str) -> str:
    """The text with a space in place of each control character."""
    return "".join(c if c.isprintable() else " " for c in text)
