"""Examples of a job's results, and of its failure rows, in little memory however many there are."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.tasks import TASKS, Task, find

from ..io.job import ABOUT
from ..io.output import FAILURES, Output, is_shard
from .texts import SHORT, brief, cut

_MOST_EXAMPLES, _MOST_SHARDS = 24, 6
_MOST_ROW_BYTES = 8_000_000  # on average: larger rows are not read
_MOST_FAILURE_FILES, _MOST_REASONS, _MOST_OF_REASON = 50, 8, 3
_COLUMNS = ("file", "row", "stage", "kind", "error", "message")
#: What differs between messages that say the same: numbers, and what is in quotes.
_DETAILS = re.compile(r"'[^']{0,400}'|\"[^\"]{0,400}\"|\d[\d,.]*")


@dataclass(frozen=True)
class Example:
    """A row of the output."""

    place: str
    #: The task's inputs by their names, and its predictions by those of their columns.
    inputs: Mapping[str, Any]
    results: Mapping[str, Any]


@dataclass(frozen=True)
class Subject:
    """What the output is of."""

    task: Task
    inputs: Mapping[str, str]
    #: The column that has all of the prediction; None: it is columns of its own.
    output: str | None
    read: frozenset[str]

    @classmethod
    def of(cls, output: Output) -> Subject:
        """What the output says of its job. Raises FileNotFoundError where no job is."""
        about = json.loads(output.read(ABOUT))
        job = {name: _value(text) for name, text in about["job"].items()}
        task = find(str(job["task"])) if job["task"] in TASKS else _unknown(str(job["task"]))
        given = job.get("input")
        first = next(iter(task.inputs), "input")
        inputs = {first: given} if isinstance(given, str) else dict(given or {})
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(about["schema"])))
        return cls(task, inputs, job.get("output"), frozenset(schema.names))


def _unknown(name: str) -> Task:
    """What stands for the pipeline class of somebody else."""
    return Task(
        name=name,
        transform=name,
        inputs={"input": (object,)},
        parameters={},
        columns=lambda parameters: {},
        values=lambda inference, parameters: {},
    )


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def examples(output: Output, subject: Subject) -> list[Example]:
    """Some rows of some shards, spread over the output."""
    names = sorted(filter(is_shard, output.names()))
    step = max(1, len(names) // _MOST_SHARDS)
    chosen = names[::step][:_MOST_SHARDS]
    found: list[Example] = []
    for i, name in enumerate(chosen):
        count = -(-(_MOST_EXAMPLES - len(found)) // (len(chosen) - i))
        found += _of_shard(output, name, subject, count)
    return found


def _of_shard(output: Output, name: str, subject: Subject, count: int) -> Iterator[Example]:
    with output.open(name) as opened, pq.ParquetFile(opened) as file:
        for i, row in enumerate(_first(file, count)):
            yield Example(f"{name}, row {i}", *_parts(row, subject))


def _first(file: pq.ParquetFile, count: int) -> list[dict[str, Any]]:
    meta = file.metadata
    if not meta.num_rows:
        return []
    first = next(g for i in range(meta.num_row_groups) if (g := meta.row_group(i)).num_rows)
    if first.total_byte_size / first.num_rows > _MOST_ROW_BYTES:
        return []
    batch = next(file.iter_batches(count, use_threads=False), None)
    return [] if batch is None else list(batch.to_pylist())


def _parts(row: dict[str, Any], subject: Subject) -> tuple[dict[str, Any], dict[str, Any]]:
    inputs = {name: row.get(column) for name, column in subject.inputs.items()}
    results = {name: cell for name, cell in row.items() if name not in subject.read}
    if subject.output is not None and isinstance(row.get(subject.output), Mapping):
        results = dict(row[subject.output])
    return inputs, results


@dataclass
class Reason:
    """Rows that failed for the same reason."""

    stage: str
    kind: str
    error: str
    message: str
    count: int = 0
    #: Some of them: (where the row is, its message, the row).
    rows: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class FailedRows:
    """The failure rows of an output, by reason."""

    count: int
    reasons: Sequence[Reason]
    #: How many reasons are not shown, and how many files were not read.
    more_reasons: int
    files_left: int


def failed_rows(output: Output) -> FailedRows:
    """The failure rows of an output, of so many files as can be read quickly."""
    names = sorted(filter(is_shard, output.names(FAILURES)))
    reasons: dict[tuple[str, ...], Reason] = {}
    counts: Counter[tuple[str, ...]] = Counter()
    for name in names[:_MOST_FAILURE_FILES]:
        with output.open(f"{FAILURES}/{name}") as opened, pq.ParquetFile(opened) as file:
            _add(file, reasons, counts)
    for key, count in counts.items():
        reasons[key].count = count
    ordered = sorted(reasons.values(), key=lambda each: -each.count)
    return FailedRows(
        counts.total(),
        ordered[:_MOST_REASONS],
        max(0, len(ordered) - _MOST_REASONS),
        max(0, len(names) - _MOST_FAILURE_FILES),
    )


def _add(
    file: pq.ParquetFile, reasons: dict[tuple[str, ...], Reason], counts: Counter[tuple[str, ...]]
) -> None:
    """Count the failure rows of a file, and keep some of a reason that has few."""
    wanted: list[tuple[int, Reason, dict[str, Any]]] = []
    for i, row in enumerate(file.read(_COLUMNS, use_threads=False).to_pylist()):
        general = _DETAILS.sub("…", str(row["message"])[:2000])
        key = (row["stage"], row["kind"], row["error"], general)
        if key not in reasons:
            reasons[key] = Reason(*key[:3], cut(row["message"], 2 * SHORT))
        counts[key] += 1
        if len(reasons[key].rows) + sum(r is reasons[key] for _, r, _ in wanted) < _MOST_OF_REASON:
            wanted.append((i, reasons[key], row))
    elements = _elements(file, [i for i, _, _ in wanted])
    for (_, reason, row), element in zip(wanted, elements, strict=True):
        place = f"{row['file']}, row {row['row']}"
        reason.rows.append((cut(place, SHORT), cut(row["message"], SHORT), brief(element)))


def _elements(file: pq.ParquetFile, rows: Sequence[int]) -> list[Any]:
    """The elements of some rows of a file of failure rows."""
    if not rows:
        return []
    table = file.read(["element"], use_threads=False)
    return list(table["element"].take(pa.array(rows)).to_pylist())
