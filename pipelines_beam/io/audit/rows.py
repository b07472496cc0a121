"""The step of a job that audits some of its rows, before their shard is written."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa

from transforms import TaskTransform
from transforms.rows.distinct import digests
from transforms.rows.tables import chosen, row_of
from transforms.stages.metrics import StageTimes
from transforms.stages.plan import TaskPlan
from transforms.stages.runner import worker_processes

from ...readable import bounded, whole
from ..formats import ROW
from ..output import AUDIT, Output, as_parquet
from ..stages import shard_of
from .compare import Difference, compare
from .options import AuditOptions
from .reference import ReferenceFn, reference_plan

_LONGEST = 1000  # characters of an input or answer that is kept
_BEFORE = 100  # characters of a long answer before the first that differs
#: What is kept of each audited row. `size` and `flips`: see Difference; null where `error` says why
#: there is no reference.
SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("row", pa.int64()),
        ("flips", pa.bool_()),
        ("size", pa.float64()),
        *((name, pa.string()) for name in ("input", "answer", "reference", "error")),
    ]
)


class Audit(beam.PTransform):  # type: ignore[misc]
    """Tables of results to the same, of which some rows have been computed once more, alone.

    What is found is written beside the output before a table is given on: so a shard that is
    written is audited, and one that is computed again replaces what was found.
    """

    def __init__(
        self, options: AuditOptions, task: TaskTransform, output: Output, schema: pa.Schema
    ) -> None:
        super().__init__()
        self._options = options
        self._task = task
        self._output = output
        self._schema = schema

    def expand(self, pcoll: Any) -> Any:
        """PCollection of tables to PCollection of tables."""
        processes = worker_processes(pcoll.pipeline)
        plan = reference_plan(self._task, self._options.device, processes)
        fn = AuditRows(self._options, plan, self._output, self._schema)
        return pcoll | beam.ParDo(fn).with_output_types(pa.Table)


class AuditRows(beam.DoFn):  # type: ignore[misc]
    """See Audit.

    Args:
      options: which part of the rows, and where.
      plan: the reference's.
      output: the output of the job.
      schema: that of the tables of rows, without predictions.

    """

    def __init__(
        self, options: AuditOptions, plan: TaskPlan, output: Output, schema: pa.Schema
    ) -> None:
        self._share = options.share
        self._fn = ReferenceFn.of(plan)
        self._inputs = list(plan.binding.columns_read)
        self._output = output
        self._names = schema.names

    def setup(self) -> None:
        """Load the reference's model."""
        self._fn.setup()
        self._times = StageTimes("audit")

    def teardown(self) -> None:
        """Release it."""
        self._fn.teardown()

    def process(self, table: pa.Table) -> Iterator[pa.Table]:
        """Audit the results of a shard."""
        about = shard_of(table)
        with self._times.measured("audit"):
            audited = chosen(table, audited_rows(table, self._inputs, self._share))
            if len(audited):
                found = self._found(audited, about["file"])
                self._output.write(f"{AUDIT}/{about['name']}", as_parquet(found))
            else:  # an earlier start may have audited more
                self._output.remove(f"{AUDIT}/{about['name']}")
        self._times.count()
        yield table

    def _found(self, audited: pa.Table, file: str | None) -> pa.Table:
        """What is kept of rows with their predictions."""
        references, errors = self._references(audited)
        rows = []
        for i, number in enumerate(audited[ROW].to_pylist()):
            row = row_of(audited, i)
            answer = {name: row[name] for name in row if name not in self._names}
            rows.append(
                {
                    "file": row.get("path") if file is None else file,
                    "row": number,
                    "input": _text(self._input(row)),
                    **_compared(answer, references.get(number)),
                    "error": errors.get(number),
                }
            )
        return pa.Table.from_pylist(rows, schema=SCHEMA)

    def _input(self, row: Mapping[str, Any]) -> Any:
        cells = [row[name] for name in self._inputs]
        return cells[0] if len(cells) == 1 else dict(zip(self._inputs, cells, strict=True))

    def _references(self, audited: pa.Table) -> tuple[dict[int, Any], dict[int, str]]:
        """The predictions of the reference by the numbers of their rows, and errors."""
        good, bad = self._fn.answers(audited.select(self._names))
        references, errors = {}, {}
        for i in range(0 if good is None else len(good)):
            row = row_of(good, i)
            references[row[ROW]] = {name: row[name] for name in row if name not in self._names}
        for failed in [] if bad is None else bad.to_pylist():
            errors[failed["element"][ROW]] = f"{failed['error']}: {failed['message']}"[:_LONGEST]
        return references, errors


def _compared(answer: Any, reference: Any) -> dict[str, Any]:
    if reference is None:
        return {"answer": _text(answer)}
    found: Difference = compare(answer, reference)
    answer, reference = _from_difference(answer, reference)
    return {
        "flips": found.flips,
        "size": found.size,
        "answer": _text(answer),
        "reference": _text(reference),
    }


def _from_difference(answer: Any, reference: Any) -> tuple[Any, Any]:
    """Both, of whose texts that differ late what both begin with is left out."""
    if isinstance(answer, str) and isinstance(reference, str):
        same = os.path.commonprefix([answer, reference])  # noqa: RUF071 - of characters
        start = len(same) - _BEFORE
        if answer == reference or start < _BEFORE:
            return answer, reference
        return f"…{answer[start:]}", f"…{reference[start:]}"
    if isinstance(answer, Mapping) and isinstance(reference, Mapping):
        if answer.keys() != reference.keys():
            return answer, reference
        both = {name: _from_difference(answer[name], reference[name]) for name in answer}
        one, other = ({name: pair[i] for name, pair in both.items()} for i in (0, 1))
        return one, other
    if isinstance(answer, list) and isinstance(reference, list):
        pairs = [_from_difference(*pair) for pair in zip(answer, reference, strict=False)]
        count = len(pairs)
        return (
            [one for one, _ in pairs] + answer[count:],
            [other for _, other in pairs] + reference[count:],
        )
    return answer, reference


def _text(value: Any) -> str:
    """A value as people read it: a text as it is, anything else as JSON."""
    found = bounded(value)
    text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    return whole(text[:_LONGEST])


def audited_rows(table: pa.Table, names: Sequence[str], share: float) -> list[int]:
    """The rows of a table that are audited: the first of each content, by the content's hash.

    The hash decides: whenever and wherever a job runs, they are the same.
    """
    columns = [digests(_decoded(table[name])) for name in names]
    keys = [b"".join(each) for each in zip(*columns, strict=True)]
    first = {key: row for row, key in reversed(list(enumerate(keys)))}
    return sorted(row for key, row in first.items() if _point(key) < share)


def _point(key: bytes) -> float:
    """A number from 0 to 1 that a content has: all are equally likely."""
    return int.from_bytes(hashlib.sha256(key).digest()[:8]) / 2**64


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column without a dictionary, whose numbers stand for other values in other tables."""
    is_encoded = pa.types.is_dictionary(column.type)
    return column.cast(column.type.value_type) if is_encoded else column
