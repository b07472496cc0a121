"""Tables as elements: all rows of a table through the three stages, in one step of Beam."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput
from apache_beam.typehints import typehints

from ..engine.errors import contained, result_of
from ..engine.tickets import Ticket
from ..options.sizes import nbytes
from ..options.spec import Spec
from ..pipelines.construction_lock import computing
from ..rows import tables
from ..rows.binding import Binding
from ..rows.distinct import DistinctRows, distinct_rows
from ..rows.tables import Table, TableBinding
from . import metrics
from .base import FAILED
from .exceptions import WithFailures
from .forward import ForwardFn
from .plan import CustomStage, OpenLimit, TaskPlan
from .postprocess import PostprocessFn
from .preprocess import PreprocessFn
from .record import Record
from .runner import worker_processes
from .table_in_flight import OpenTables, RowBlock, TableInFlight
from .transforms import side_inputs

#: A row of a block, its number there, its example, and the parameters that it has for itself.
_Token: TypeAlias = tuple[RowBlock, int, Any, Any]


class TableFn(ForwardFn):
    """Tables to tables with the prediction's columns, and to tables of failure rows.

    Rows go to the engine a block at a time, and are its elements: its window bounds how many of
    them are in flight, of as many tables as they may come from. A table is yielded when all of
    its rows are answered or failed, in their order.
    """

    def __init__(
        self,
        spec: Spec,
        handles_failures: bool,
        binding: Binding,
        preprocess: CustomStage | None,
        postprocess: CustomStage | None,
        *,
        for_engine: bool,
        reuses: bool,
        open_limit: OpenLimit | None = None,
    ) -> None:
        super().__init__(spec, handles_failures)
        self._reuses = reuses
        self._open_limit = open_limit
        self._binding = TableBinding(binding)
        self._first = PreprocessFn(
            spec, handles_failures, binding, preprocess, for_engine=for_engine
        )
        self._last = PostprocessFn(spec, handles_failures, binding, postprocess)

    def setup(self) -> None:
        """Acquire the engine, and load the tokenizer or processors while it loads the model."""
        super().setup()
        self._first.setup()
        self._last.setup()
        self._cells = self._binding.cells()
        self._columns = self._binding.columns_of()
        pipeline = self._first.pipeline
        self._reuses = self._reuses and pipeline is not None and pipeline.repeats
        self._times = metrics.StageTimes("preprocess", "wait", "postprocess")

    def teardown(self) -> None:
        """Release the engine: the last user closes it."""
        super().teardown()
        self._first.teardown()

    def start_bundle(self) -> None:
        """Drop what a failed bundle has left, and replace an engine that has failed."""
        super().start_bundle()
        self._first.start_bundle()
        #: Tables, and tables of failure rows, that are whole and not yielded.
        self._whole: list[Any] = []
        self._open = OpenTables(self._open_limit)

    def _count_times(self) -> None:
        assert self._in_flight is not None
        self._times.add("wait", self._in_flight.waited)
        self._in_flight.waited = 0.0
        self._times.count()

    def _submit(self, placed: Any) -> Iterator[Any]:
        """Hand the rows of a table to the engine; the tables that are whole by then."""
        rows, model_id = placed.value, self._versions.spec.model.source
        metrics.counts().read += len(rows)
        try:
            self._binding.schema(rows.schema)
        except ValueError as error:
            self._refuse(TableInFlight(placed, model_id), error)
            yield from self._take_whole()
            return
        distinct = distinct_rows(rows, self._binding.columns_read) if self._reuses else None
        table = TableInFlight(placed, model_id, distinct)
        self._open.begin(table)
        if not table.blocks:
            self._finish(table)
        for block in table.blocks:
            yield from self._read(block)
        self._count_times()
        yield from self._take_whole()

    def _make_room(self) -> Iterator[Any]:
        """Wait until rows of the table that was begun last may be computed; what is whole then."""
        assert self._in_flight is not None
        if self._open.must_wait and self._first.ahead is not None:
            self._hand_over_fetched((), last=True)
        while self._open.must_wait and self._in_flight.count:
            self._receive(self._in_flight.take())
        yield from self._take_whole()

    def _drain(self) -> Iterator[Any]:
        """The tables of all rows in flight; waits for them."""
        assert self._in_flight is not None
        if self._first.ahead is not None:
            self._hand_over_fetched((), last=True)
        while self._in_flight.count:
            self._receive(self._in_flight.take())
            yield from self._take_whole()
        self._count_times()
        yield from self._take_whole()

    def _take_whole(self) -> list[Any]:
        whole, self._whole = self._whole, []
        return whole

    def _read(self, block: RowBlock) -> Iterator[Any]:
        """Hand the rows of a block to the engine; the tables that are whole before it is begun."""
        tokens: list[_Token] = []
        found = zip(
            self._binding.examples(block.rows), self._binding.parameters(block.rows), strict=True
        )
        for i, (example, own) in enumerate(found):
            failed = example if isinstance(example, Exception) else own
            if isinstance(failed, Exception):
                self._fail(block, i, failed, stage="preprocess")
            else:
                tokens.append((block, i, example, own))
        if self._first.ahead is not None:
            yield from self._make_room()
            self._hand_over_fetched((token, token[2]) for token in tokens)
            return
        with self._times.measured("preprocess"), computing:
            if self._first.pipeline is not None:
                self._first.pipeline.prefetch(example for _, _, example, _ in tokens)
            records = [self._record(token, token[2]) for token in tokens]
        yield from self._make_room()
        for token, record in zip(tokens, records, strict=True):
            self._hand_over(token, record)

    def _hand_over_fetched(self, examples: Iterable[Any], last: bool = False) -> None:
        """Hand the rows to the engine whose media are there by now; with `last`, all of them."""
        fetched = iter(self._first.fetched(examples, last))
        while True:
            with self._times.measured("preprocess"):  # also the time that fetching takes longer
                token, media = next(fetched, (None, None))
                record = None if token is None else self._record(token, media)
            if token is None:
                return
            self._hand_over(token, record)

    def _record(self, token: _Token, fetched: Any) -> Record | None:
        """The Record of a row, given its example with fetched media; None if that fails."""
        try:
            with contained:
                return self._first.record(None, token[2], fetched, token[3])
        except Exception as error:
            self._fail(token[0], token[1], error, stage="preprocess")
            return None

    def _hand_over(self, token: _Token, record: Record | None) -> None:
        """Hand a row to the engine, and receive what it has answered."""
        if record is None:
            return
        block, i, *_ = token
        assert self._in_flight is not None
        chunks, record.chunks = record.chunks, []
        size = block.table.row_bytes + sum(map(nbytes, chunks))
        self._in_flight.submit((block, i, record), chunks, size)
        while self._in_flight.must_take:
            self._receive(self._in_flight.take())

    def _receive(self, ticket: Ticket) -> None:
        """Take what the engine has answered for a row."""
        block, i, record = ticket.token
        self._add_reports(ticket.reports)
        if ticket.error is not None:
            self._fail(block, i, ticket.error, ticket.attempts)
            return
        record.chunks = ticket.outputs
        block.records.append((i, record))
        if len(block.records) == block.left or not self._last.answers_together(
            block.table.model_id
        ):
            with self._times.measured("postprocess"):
                self._postprocess(block)

    def _postprocess(self, block: RowBlock) -> None:
        """The cells of the rows of a block that are answered."""
        records, block.records = block.records, []
        if len(records) == len(block.cells):  # all: in the order of the rows
            records.sort(key=operator.itemgetter(0))
        inferences = self._last.inferences([each for _, each in records], block.table.model_id)
        if len(records) == len(block.cells) and self._is_closed(block, inferences):
            metrics.counts().answered += len(records)
            return
        for (i, _), inference in zip(records, inferences, strict=True):
            try:
                with contained:
                    block.cells[i] = self._cells(result_of(inference))
            except Exception as error:
                self._fail(block, i, error, stage="postprocess")
            else:
                metrics.counts().answered += 1
                self._settle(block)

    def _is_closed(self, block: RowBlock, inferences: Sequence[Any]) -> bool:
        """Make the columns of a whole block at once; whether no row has failed."""
        if any(isinstance(inference, Exception) for inference in inferences):
            return False
        try:
            with contained:
                cells = self._columns(inferences)
        except Exception:  # its own row says which
            return False
        self._close(block, cells)
        return True

    def _fail(
        self,
        block: RowBlock,
        i: int,
        error: BaseException,
        attempts: int = 1,
        stage: str | None = None,
    ) -> None:
        """Note the failure of a row."""
        table, row = block.table, block.start + i
        element = tables.row_of(table.rows, row)
        table.failures[row] = self._failure(element, error, attempts, stage)
        self._settle(block)
        if block.records and len(block.records) == block.left:
            self._postprocess(block)

    def _settle(self, block: RowBlock) -> None:
        """A row of a block is answered or failed."""
        block.left -= 1
        if block.left:
            return
        answered = [cells for cells in block.cells if cells is not None]
        if not answered:
            self._close(block, None)
            return
        self._close(block, {name: [cells[name] for cells in answered] for name in answered[0]})

    def _close(self, block: RowBlock, cells: Mapping[str, Sequence[Any]] | None) -> None:
        """Keep the prediction's columns of a block; None: all of its rows have failed."""
        table = block.table
        if cells is not None:
            block.columns = self._binding.columns(cells, table.rows.schema, table.model_id)
        block.cells.clear()
        table.left -= 1
        if not table.left:
            self._finish(table)

    def _finish(self, table: TableInFlight) -> None:
        """All rows of a table are answered or failed."""
        self._open.end(table)
        kept = [i for i in range(len(table.rows)) if i not in table.failures]
        blocks = [block.columns for block in table.blocks if block.columns]
        rows: Table = table.placed.value
        if table.distinct is not None:
            kept, blocks = self._repeated(table, table.distinct, kept, blocks)
        answered = self._binding.answered(tables.chosen(rows, kept), blocks)
        # What follows may take the table for the sign that all of it is done.
        self._yield_failures(table)
        self._whole.append(table.placed.with_value(answered))

    def _repeated(
        self,
        table: TableInFlight,
        distinct: DistinctRows,
        kept: list[int],
        blocks: list[list[Any]],
    ) -> tuple[list[int], list[list[Any]]]:
        """The answers and failures of the rows that were computed, for all rows of a table."""
        computed, failed = len(kept), len(table.failures)
        rows = distinct.rows_of(kept)
        if blocks:
            columns = [
                pa.chunked_array(tables.chunks_of(each)) for each in zip(*blocks, strict=True)
            ]
            blocks = [distinct.repeated(columns, kept)]
        places = distinct.places
        failures = table.failures
        table.failures = {i: failures[places[i]] for i in distinct.rows_of([*failures])}
        metrics.count_reused(len(rows) - computed, len(table.failures) - failed)
        return rows, blocks

    def _yield_failures(self, table: TableInFlight) -> None:
        if table.failures:
            rows = sorted(table.failures)
            failed = tables.failed(table.placed.value, rows, [table.failures[i] for i in rows])
            self._whole.append(TaggedOutput(FAILED, table.placed.with_value(failed)))

    def _refuse(self, table: TableInFlight, error: ValueError) -> None:
        """All rows of a table fail: its columns are not those that the task needs."""
        for i in range(len(table.rows)):
            element = tables.row_of(table.rows, i)
            table.failures[i] = self._failure(element, error, stage="preprocess")
        self._yield_failures(table)


def takes_tables(plan: TaskPlan, pcoll: Any) -> bool:
    """Whether the elements of a PCollection are certainly tables, and their rows the inputs.

    A pipeline class of the user's may take a whole table for one input.
    """
    is_input = not plan.binding.of_rows and plan.binding.task.open_inputs
    return not is_input and (
        tables.is_table_type(pcoll.element_type)
        or (pcoll.element_type is typehints.Any and _is_read(pcoll))
    )


def _is_read(pcoll: Any) -> bool:
    """Whether a PCollection is what Beam's batched readers give, which does not say its type."""
    node = pcoll.producer
    while node is not None:
        if isinstance(node.transform, beam.io.ReadFromParquetBatched):
            return True
        if isinstance(node.transform, beam.io.ReadAllFromParquetBatched):
            read_all = getattr(node.transform, "_read_all_files", None)
            return getattr(read_all, "_with_filename", None) is False
        node = node.parent
    return False


class Tables(WithFailures):
    """All three stages for tables, in one step: a PCollection of tables to one of tables.

    Args:
      plan: what to run.
      tags: the names of the two outputs, where failures are one of them.

    Raises ValueError for options of the task that tables do not have.

    """

    def __init__(self, plan: TaskPlan, tags: tuple[str, str] | None) -> None:
        super().__init__()
        for name in plan.replaced_stages:
            if isinstance(getattr(plan, name), beam.PTransform):
                raise ValueError(
                    f"{name} is a PTransform, which takes elements, and rows of tables are none: "
                    "give a function"
                )
        TableBinding(plan.binding)
        self._plan = plan
        self._tags = tags

    def expand(self, pcoll: Any) -> Any:
        """PCollection of tables to PCollection of tables."""
        plan = self._plan
        sharing = replace(plan.spec.sharing, processes=worker_processes(pcoll.pipeline))
        spec = replace(plan.spec, sharing=sharing)
        stages = (plan.preprocess, plan.postprocess)
        handles = self._tags is not None
        fn = TableFn(
            spec,
            handles,
            plan.binding,
            *stages,
            for_engine=plan.for_engine,
            reuses=plan.reuses,
            open_limit=plan.open_tables,
        )
        sides = side_inputs(plan.updates, pcoll.pipeline)
        hints, isolate = plan.placement.hints, plan.placement.isolate
        good, bad = self._apply(fn, pcoll, pa.Table, hints, sides, isolate=isolate)
        return self._outputs(good, bad, pa.Table)
