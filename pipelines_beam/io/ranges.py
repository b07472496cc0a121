"""Where files are cut, and what lies between two cuts: pure functions."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, TypeAlias

import numpy as np
import pyarrow as pa

#: From, and up to: rows of Parquet, bytes of other files.
Range: TypeAlias = tuple[int, int]
_NEWLINE, _QUOTE = 10, 34


def equal_ranges(start: int, stop: int, size: int) -> list[Range]:
    """From `start` to `stop` in steps of a size; the last may be smaller."""
    return [(at, min(at + size, stop)) for at in range(start, stop, size)]


def between(cuts: Sequence[int]) -> list[Range]:
    """The ranges between neighbouring cuts."""
    return list(itertools.pairwise(cuts))


def lines_from(file: IO[bytes], start: int, stop: int) -> bytes:
    """The lines that begin in a range of bytes, whole: the last may end behind the range."""
    file.seek(max(start - 1, 0))
    if start:
        file.readline()  # of the line that begins before the range, or the end of it
    at = file.tell()
    if at >= stop:
        return b""
    data = file.read(stop - at)
    return data if data.endswith(b"\n") else data + file.readline()


def record_ends(data: bytes, quotes: int = 0) -> np.ndarray[Any, Any]:
    """The positions behind the records of CSV: a newline within quotes belongs to the record.

    Args:
      data: a part of a file.
      quotes: how many quotes there are between the beginning of a record and the data.

    """
    codes = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(codes == _NEWLINE)
    before = quotes + np.searchsorted(np.flatnonzero(codes == _QUOTE), ends)
    found: np.ndarray[Any, Any] = ends[before % 2 == 0] + 1
    return found


def record_cuts(blocks: Iterable[bytes], start: int, size: int) -> list[int]:
    """Positions at which records of CSV begin, `size` bytes apart or a little more; then the end.

    Args:
      blocks: the bytes of the file from `start` on, where a record begins.
      start: the first position.
      size: the bytes after which the next cut is due.

    """
    cuts, at, quotes = [start], start, 0
    for block in blocks:
        ends = at + record_ends(block, quotes)
        while (i := int(np.searchsorted(ends, cuts[-1] + size))) < len(ends):
            cuts.append(int(ends[i]))
        quotes += block.count(b'"')
        at += len(block)
    return cuts if cuts[-1] == at else [*cuts, at]


def sliced(
    batches: Iterable[pa.RecordBatch], at: int, ranges: Sequence[Range], schema: pa.Schema
) -> Iterator[pa.Table]:
    """The rows of each range.

    Args:
      batches: the rows of a file from the row `at` on.
      at: the number of the first.
      ranges: ranges of rows, ascending.
      schema: that of the batches.

    """
    rest = iter(batches)
    held: list[pa.RecordBatch] = []
    for start, stop in ranges:
        while held and at + len(held[0]) <= start:
            at += len(held.pop(0))
        while at + sum(map(len, held)) < stop:
            batch = next(rest)
            held.append(batch)
            while held and at + len(held[0]) <= start:
                at += len(held.pop(0))
        yield pa.Table.from_batches(held, schema).slice(start - at, stop - start)
