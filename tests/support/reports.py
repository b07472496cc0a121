"""Outputs of jobs over files that no job has run, for the report to show."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines_beam.io.output import Output
from pipelines_beam.io.run_record import RunRecord


def output_of(
    folder: Path,
    task: str,
    inputs: Mapping[str, str],
    rows: Sequence[Mapping[str, Any]],
    *,
    failed: Sequence[Mapping[str, Any]] = (),
    run: RunRecord | None = None,
) -> str:
    """An output with these rows; `inputs` are the columns of the task's inputs."""
    (folder / "_job").mkdir(parents=True)
    read = pa.schema([pa.field(name, pa.string()) for name in inputs.values()])
    schema = base64.b64encode(read.serialize().to_pybytes()).decode()
    job = {"task": json.dumps(task), "format": '"parquet"', "input": json.dumps(dict(inputs))}
    (folder / "_job/job.json").write_text(json.dumps({"job": job, "schema": schema}))
    pq.write_table(pa.Table.from_pylist(list(rows)), folder / "part-000-0.parquet")
    if failed:
        (folder / "_failures").mkdir()
        pq.write_table(pa.Table.from_pylist(list(failed)), folder / "_failures/part-000-0.parquet")
    if run is not None:
        run.write(Output(str(folder)))
    return str(folder)


def a_run(**changes: Any) -> RunRecord:
    """A run of 100 rows in 100 seconds in which nothing is remarkable."""
    given: dict[str, Any] = {
        "name": "20260101T000000Z-aaaaaa",
        "started": 1767225600.0,
        "state": "done",
        "seconds": 100.0,
        "rows": 100,
        "shards": 1,
        "samples": [(50.0, 40), (100.0, 100)],
        "stages": {"load": 1.0, "compute": 90.0, "idle": 5.0, "read": 1.0, "wait": 90.0},
        "batches": {"16": 5, "32": 2},
        "queue_wait": 0.02,
        "tokens": 90,
        "padded_tokens": 100,
    }
    return RunRecord(**{**given, **changes})
