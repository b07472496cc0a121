"""Tables whose rows are in an engine, and their parts."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.utils.windowed_value import WindowedValue

from ..rows.distinct import DistinctRows
from ..rows.tables import Table
from .plan import OpenLimit
from .record import Record

BLOCK_ROWS = 256  # tokenized, and made columns of, at a time


class RowBlock:
    """Neighbouring rows of a table."""

    __slots__ = ("cells", "columns", "left", "records", "start", "table")

    def __init__(self, table: TableInFlight, start: int, count: int) -> None:
        self.table = table
        self.start = start
        #: The cells of the prediction's columns in each row; None: not known, or failed.
        self.cells: list[Any] = [None] * count
        #: Rows that are neither answered nor failed.
        self.left = count
        #: Those of them whose outputs are there, with their numbers.
        self.records: list[tuple[int, Record]] = []
        #: The prediction's columns in the rows that are answered, once none is left.
        self.columns: list[pa.Array] = []

    @property
    def rows(self) -> Table:
        """Its rows, in a table of their own."""
        return self.table.rows.slice(self.start, len(self.cells))


class TableInFlight:
    """A table of which some rows are not answered yet."""

    def __init__(
        self, placed: WindowedValue, model_id: str, distinct: DistinctRows | None = None
    ) -> None:
        self.placed = placed
        #: Those of its rows that are computed; and all of them, if those are others.
        self.rows: Table = placed.value if distinct is None else distinct.rows
        self.distinct = distinct
        self.model_id = model_id
        count = len(self.rows)
        self.blocks = [
            RowBlock(self, start, min(BLOCK_ROWS, count - start))
            for start in range(0, count, BLOCK_ROWS)
        ]
        #: Blocks with rows that are left.
        self.left = len(self.blocks)
        #: The failure rows of the rows that failed, by their numbers.
        self.failures: dict[int, beam.Row] = {}
        #: Bytes of the average row.
        self.row_bytes = self.rows.nbytes // max(count, 1)


class OpenTables:
    """The tables of a bundle that are begun and not whole, and how much of them there may be."""

    def __init__(self, limit: OpenLimit | None) -> None:
        self._limit = limit
        self._count = self._rows = self._bytes = 0

    def begin(self, table: TableInFlight) -> None:
        """One more."""
        self._add(table, 1)

    def end(self, table: TableInFlight) -> None:
        """One is whole."""
        self._add(table, -1)

    @property
    def must_wait(self) -> bool:
        """Whether rows of the table that was begun last have to wait until others are whole."""
        limit = self._limit
        if limit is None or self._count < 2:
            return False
        return self._rows > limit.rows or self._bytes > limit.nbytes

    def _add(self, table: TableInFlight, sign: int) -> None:
        rows: Table = table.placed.value
        self._count += sign
        self._rows += sign * len(rows)
        self._bytes += sign * rows.nbytes
