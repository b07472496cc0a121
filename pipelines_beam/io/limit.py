"""The first rows of files: what a job with a limit reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyarrow as pa

from .files import InputFile
from .formats import Format
from .pieces import Piece, ShardSize


def first_rows(
    files: Sequence[InputFile], format: Format, size: ShardSize, schema: pa.Schema, limit: int
) -> Iterator[tuple[InputFile, Piece]]:
    """The pieces that have the first `limit` rows; other files are not looked at.

    Where a format does not count rows, they are read to count them: they are as many as will be
    computed. The last piece may be read for a part of its rows: `rows` says how many.
    """
    left = limit
    for file in files:
        for piece in format.pieces(file, size, schema):
            rows = piece.rows if format.counts_rows else _count(file, piece, format, schema)
            stop = piece.start + left if format.numbers_rows and rows > left else piece.stop
            if rows:
                yield file, replace(piece, stop=stop, rows=min(rows, left))
            left -= rows
            if left <= 0:
                return


def _count(file: InputFile, piece: Piece, format: Format, schema: pa.Schema) -> int:
    return len(next(format.tables([file], [(piece.start, piece.stop)], schema)))
