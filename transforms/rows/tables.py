"""Arrow tables: their rows as examples, and tables of what becomes of the rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import pyarrow as pa

from ..engine.errors import attempted
from ..options.shown import shown
from .binding import Binding
from .row_types import kinds_of, python_type

#: Metadata of a schema that describe its columns.
_OF_COLUMNS = (b"huggingface", b"pandas")
#: The classes of elements that are tables.
TABLES = (pa.Table, pa.RecordBatch)
Table: TypeAlias = pa.Table | pa.RecordBatch


def is_table_type(element_type: Any) -> bool:
    """Whether elements of a type are certainly tables."""
    own = kinds_of(python_type(element_type))
    return bool(own) and all(isinstance(each, type) and issubclass(each, TABLES) for each in own)


def failure_schema(input_schema: pa.Schema) -> pa.Schema:
    """The schema of tables of failure rows, given that of the input: `element` is its row.

    The input's metadata stay, but for what describes columns.
    """
    texts = ("stage", "kind", "error", "message", "traceback")
    return pa.schema(
        [
            ("element", pa.struct(list(input_schema))),
            *((name, pa.string()) for name in texts),
            ("attempts", pa.int64()),
        ],
        {key: each for key, each in (input_schema.metadata or {}).items() if key not in _OF_COLUMNS}
        or None,
    )


def values(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """A column's values; converted one by one if Python cannot represent all of them."""
    try:
        return list(column.to_pylist())
    except (OverflowError, ValueError):
        return [_value(column, i) for i in range(len(column))]


def _value(column: pa.Array | pa.ChunkedArray, i: int) -> Any:
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


class TableBinding:
    """Where the inputs of a table's rows are, and the table that they become.

    Raises ValueError for options that tables do not have.
    """

    def __init__(self, binding: Binding) -> None:
        if binding.keyed:
            raise ValueError("keyed=True takes (key, value) pairs, got elements that are tables")
        if not binding.of_rows:
            columns = " and ".join(binding.task.inputs) or "the input"
            raise ValueError(f"the elements are tables: set input= to the column of {columns}")
        self._binding = binding
        self._input = binding.input
        self._schemas: tuple[pa.Schema, pa.Schema] | None = None

    def schema(self, input_schema: pa.Schema) -> pa.Schema:
        """The schema of the results of a table.

        Raises ValueError for a table that cannot be answered: one without the input's column, with
        one of a type that the task cannot read, with one that the prediction adds, or with two of
        the same name.
        """
        known = self._schemas
        if known is None or not known[0].equals(input_schema, check_metadata=True):
            names = input_schema.names
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f"the table has two columns {shown(name)}: rename one")
            known = self._schemas = (input_schema, self._binding.schema(input_schema))
        return known[1]

    @property
    def columns_read(self) -> list[str]:
        """The names of the columns that an example is made of."""
        return list(self._binding.columns_read)

    def examples(self, rows: Table) -> Iterator[Any]:
        """The example of each row; in place of it the error that says why it has none."""
        if not isinstance(self._input, str):
            names = self.columns_read
            for cells in zip(*(values(rows[name]) for name in names), strict=True):
                yield attempted(self._binding.example, dict(zip(names, cells, strict=True)))
            return
        is_text = self._binding.is_text
        for cell in values(rows[self._input]):
            row = {self._input: cell}
            yield cell if is_text(cell) else attempted(self._binding.example, row)

    def parameters(self, rows: Table) -> Iterator[Any]:
        """The parameters that each row has for itself; in place of them what is wrong with one."""
        names = self._binding.parameter_columns
        if not names:
            yield from itertools.repeat({}, len(rows))
            return
        columns = [values(rows[name]) for name in names]
        for i in range(len(rows)):
            row = {name: column[i] for name, column in zip(names, columns, strict=True)}
            yield attempted(self._binding.parameters_of, row)

    def cells(self) -> Callable[[Any], dict[str, Any]]:
        """A function from an inference to the cells of its columns, without `model_id`."""
        return self._binding.prediction.cells(as_mapping=True)

    def columns_of(self) -> Callable[[Sequence[Any]], dict[str, list[Any]]]:
        """The same from many inferences, to the cells by column; see Prediction."""
        return self._binding.prediction.columns_of()

    def columns(
        self, cells: Mapping[str, Sequence[Any]], input_schema: pa.Schema, model_id: str
    ) -> list[pa.Array]:
        """The columns that rows gain, given their cells."""
        count = len(next(iter(cells.values())))
        known = {"model_id": [model_id] * count, **cells}
        return [pa.array(known[field.name], field.type) for field in self._added(input_schema)]

    def answered(self, rows: Table, blocks: Sequence[Sequence[pa.Array]]) -> pa.Table:
        """Rows with the columns that they gain, which each block has of some of them."""
        columns = list(rows.columns)
        for i, field in enumerate(self._added(rows.schema)):
            chunks = chunks_of([block[i] for block in blocks])
            columns.append(pa.chunked_array(chunks, field.type))
        return pa.Table.from_arrays(columns, schema=self.schema(rows.schema))

    def _added(self, input_schema: pa.Schema) -> list[pa.Field]:
        return list(self.schema(input_schema))[len(input_schema) :]


def row_of(table: Table, i: int) -> dict[str, Any]:
    """A row of a table, as Python's values."""
    columns = zip(table.schema.names, table.columns, strict=True)
    return {name: values(column.slice(i, 1))[0] for name, column in columns}


def chosen(table: Table, rows: Sequence[int]) -> Table:
    """Some rows of a table, in their order: `rows` are their numbers, ascending."""
    if len(rows) == len(table):
        return table
    pieces, start = [], 0
    for i in range(1, len(rows) + 1):  # runs of neighbours, which are not copied
        if i == len(rows) or rows[i] != rows[i - 1] + 1:
            pieces.append(_as_table(table.slice(rows[start], i - start)))
            start = i
    return pa.concat_tables(pieces) if pieces else _as_table(table.slice(0, 0))


def failed(table: Table, rows: Sequence[int], failures: Sequence[Any]) -> pa.Table:
    """The table of failure rows, given the numbers of the rows and a failure row of each."""
    schema = failure_schema(table.schema)
    batches = _as_table(chosen(table, rows)).to_batches()
    fields = list(table.schema)
    structs = [pa.StructArray.from_arrays(batch.columns, fields=fields) for batch in batches]
    columns = [pa.chunked_array(structs, schema.field("element").type)]
    for field in list(schema)[1:]:
        columns.append(pa.array([getattr(each, field.name) for each in failures], field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def chunks_of(columns: Sequence[pa.Array | pa.ChunkedArray]) -> list[pa.Array]:
    """Columns as arrays: pyarrow makes several of one whose texts or files exceed 2 GB."""
    found: list[pa.Array] = []
    for column in columns:
        found += column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return found


def _as_table(rows: Table) -> pa.Table:
    return rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])
