"""Rows of Beam YAML that are read from tables: steps that can take the tables do so.

Between ReadFromParquet, a task and WriteToParquet nothing needs an element of Beam for each row.
Each of the first two gives rows, which any other step reads, and beside them the tables that they
are the rows of; the last two take those if they can. Rows that nobody reads are not made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.typehints.row_type import RowTypeConstraint

from transforms import TaskTransform
from transforms.rows.tables import values
from transforms.stages.failure_rows import failure_type

from .row_types import row_maker, row_type

_MAX_ROWS = 64  # converted to Python objects at a time: a row may hold a photo


@dataclass(frozen=True)
class Tables:
    """The tables that the elements of a PCollection are the rows of."""

    pcoll: Any
    schema: pa.Schema


def rows_of(tables: Any, schema: pa.Schema) -> Any:
    """The rows of a PCollection of tables of a schema.

    Raises ValueError for a schema with a column that rows cannot have.
    """
    kind = row_type(schema)
    rows = tables | "Rows" >> beam.ParDo(_Rows(kind)).with_output_types(kind)
    rows.tables = Tables(tables, schema)
    return rows


def tables_of(rows: Any) -> Tables | None:
    """The tables of a PCollection that `rows_of` gave; None for any other."""
    return getattr(rows, "tables", None)


def answered(rows: Any, task: TaskTransform) -> dict[str, Any] | None:
    """The outputs of a task by name, computed from the tables of its rows.

    None for rows that are not of tables, and options of the task that need rows.
    """
    tables = tables_of(rows)
    if tables is None or not task.takes_tables(tables.schema):
        return None
    schema = task.schema(tables.schema)
    result: Any = tables.pcoll | task
    if isinstance(result, beam.PCollection):
        return {"good": rows_of(result, schema)}
    (good_name, good), (bad_name, bad) = result._asdict().items()
    failures = bad | "FailureRows" >> beam.ParDo(_FailureRows(row_type(tables.schema)))
    failures.element_type = failure_type()
    return {good_name: rows_of(good, schema), bad_name: failures}


class _Rows(beam.DoFn):  # type: ignore[misc]
    """Tables to their rows."""

    def __init__(self, kind: RowTypeConstraint) -> None:
        self._type = kind

    def setup(self) -> None:
        """Prepare the conversion of structs to rows."""
        self._make = row_maker(self._type)

    def process(self, table: pa.Table) -> Iterator[Any]:
        """The rows of a table, a few at a time."""
        for batch in table.to_batches(max_chunksize=_MAX_ROWS):
            columns = map(values, batch.columns)
            for cells in zip(*columns, strict=True):
                yield self._make(dict(zip(batch.schema.names, cells, strict=True)))


class _FailureRows(beam.DoFn):  # type: ignore[misc]
    """Tables of failure rows to those rows."""

    def __init__(self, kind: RowTypeConstraint) -> None:
        self._type = kind

    def setup(self) -> None:
        """Prepare the conversion of the failed elements to rows."""
        self._make = row_maker(self._type)

    def process(self, table: pa.Table) -> Iterator[Any]:
        """The failure rows of a table."""
        elements = values(table["element"])
        rest = table.drop_columns(["element"]).to_pylist()
        for element, row in zip(elements, rest, strict=True):
            yield beam.Row(element=self._make(element), **row)


def drop_unread(pipeline: beam.Pipeline) -> None:
    """Remove the steps that make rows of tables, where no step reads the rows."""
    composites: list[AppliedPTransform] = []
    leaves: list[AppliedPTransform] = []

    class Visitor(PipelineVisitor):  # type: ignore[misc]
        def enter_composite_transform(self, node: AppliedPTransform) -> None:
            composites.append(node)

        def visit_transform(self, node: AppliedPTransform) -> None:
            leaves.append(node)

    pipeline.visit(Visitor())
    read = {id(pcoll) for node in leaves for pcoll in node.inputs}
    unread = {}
    for node in filter(_makes_rows, leaves):
        (rows,) = node.outputs.values()
        if id(rows) not in read:
            node.parent.parts.remove(node)
            unread[id(rows)] = rows.tables.pcoll
    for node in composites:
        for ports in (node.main_inputs, node.outputs):
            for name, pcoll in ports.items():
                ports[name] = unread.get(id(pcoll), pcoll)


def _makes_rows(node: AppliedPTransform) -> bool:
    return isinstance(node.transform, beam.ParDo) and isinstance(node.transform.fn, _Rows)
