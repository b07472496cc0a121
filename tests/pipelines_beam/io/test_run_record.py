"""Records of runs: what a job over files did, each time that it was started."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from support.runs import RUNNER
from support.texts import CORPUS

from pipelines_beam import TextClassification, cli
from pipelines_beam.commands import statuses
from pipelines_beam.io import Processed, process_files, recorder
from pipelines_beam.io.output import Output
from pipelines_beam.io.run_record import RunRecord, runs
from transforms.stages import metrics

Model = Callable[[str], str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [{"id": i, "text": None if i == 3 else CORPUS[i]} for i in range(12)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet", row_group_size=4)
    return tmp_path


def process(folder: Path, model: Model, **options: Any) -> Processed:
    task = TextClassification(
        model("bert-classification"), input="text", truncation=True, batch_tokens=64
    )
    pipeline = PipelineOptions([], runner=RUNNER)
    own = {"rows_per_shard": 4, "options": pipeline, **options}
    return process_files(str(folder / "in.parquet"), task, str(folder / "out"), **own)


def records(folder: Path) -> list[RunRecord]:
    return runs(Output(str(folder / "out")))


def test_each_run_has_a_record(folder: Path, model: Model) -> None:
    done = process(folder, model)
    (run,) = records(folder)
    assert (run.state, run.error) == ("done", "")
    assert (run.rows, run.failed) == (11, 1)
    assert (run.shards, run.shards_before, run.shards_written) == (3, 0, 3)
    assert list(run.samples[-1]) == [run.seconds, 12]
    assert run.job["task"] == '"text-classification"'
    assert run.options["batch_tokens"] == "64"
    assert run.machine["cores"] >= 1
    assert sum(int(size) * n for size, n in run.batches.items()) <= 11
    assert sum(run.batches.values()) > 1
    assert 0 < run.queue_wait < 3600  # seconds; the machine may be busy
    assert 0 < run.tokens <= run.padded_tokens
    assert run.counters == {"failures_data": 1}
    for stage in ("load", "read", "preprocess", "wait", "postprocess", "write", "compute", "idle"):
        assert 0 < run.stages[stage] < 3600
    Path(done.files[1]).unlink()
    process(folder, model, resume=True)
    first, second = records(folder)
    assert first == run
    assert (second.rows, second.failed) == (4, 0)
    assert (second.shards, second.shards_before, second.shards_written) == (3, 2, 1)
    assert second.samples[-1][1] == 4
    assert "Where the time went" in done.report().html


def test_a_run_that_ends_early_says_why(
    folder: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = []

    def fails(error: BaseException) -> Any:
        def write(self: Output, temporary: str, path: str, data: bytes) -> None:
            if "part-" in path:
                states.append(records(folder)[-1].state)
                raise error
            Path(temporary).write_bytes(data)
            Path(temporary).replace(path)

        return write

    for error, state in ((OSError(28, "disk full"), "failed"), (KeyboardInterrupt(), "stopped")):
        with monkeypatch.context() as patched:
            patched.setattr(Output, "_move_in", fails(error))
            with pytest.raises((OSError, RuntimeError, KeyboardInterrupt)):
                process(folder, model, resume=True)
        assert records(folder)[-1].state == state
    assert set(states) == {"running"}


def test_rows_that_other_processes_answered_have_the_times_of_their_files(
    folder: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "counts", metrics.Counts)  # those of others do not arrive here
    process(folder, model)
    (run,) = records(folder)
    assert run.samples_of_files
    assert [rows for _, rows in run.samples] == [4, 8, 12]
    assert all(0 <= when <= run.seconds + 1 for when, _ in run.samples)


def test_jobs_of_one_pipeline_have_records_of_their_own(folder: Path, model: Model) -> None:
    def step(name: str, files: str) -> dict[str, Any]:
        own = {"model": model("bert-classification"), "input": "text"}
        task = {"type": "TextClassification", "config": own}
        config = {"files": files, "output": str(folder / name), "task": task}
        return {"type": "ProcessFiles", "name": name, "config": config}

    pq.write_table(pa.table({"text": CORPUS[:5]}), folder / "five.parquet")
    steps = [step("a", str(folder / "in.parquet")), step("b", str(folder / "five.parquet"))]
    (folder / "job.yaml").write_text(json.dumps({"pipeline": {"transforms": steps}}))
    assert cli.main(["run", str(folder / "job.yaml")]) == statuses.ROWS_FAILED
    (a,), (b,) = (runs(Output(str(folder / name))) for name in "ab")
    assert [(each.state, each.rows, each.failed) for each in (a, b)] == [
        ("done", 11, 1),
        ("done", 5, 0),
    ]
    assert a.stages["compute"] > 0 < b.stages["compute"]


def test_a_record_that_cannot_be_written_ends_no_job(
    folder: Path, model: Model, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(self: RunRecord, output: Output) -> None:
        raise OSError("read-only")

    monkeypatch.setattr(RunRecord, "write", fails)
    with caplog.at_level(logging.WARNING, recorder.__name__):
        assert process(folder, model).written == 3
    assert "out: the record of the run cannot be written: read-only" in caplog.text


def test_samples_are_bounded(folder: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "_INTERVAL", 0.001)
    monkeypatch.setattr(recorder, "_MOST_SAMPLES", 8)
    process(folder, model)
    (run,) = records(folder)
    assert len(run.samples) <= 10
    assert run.samples == sorted(run.samples)


def test_a_record_of_a_later_version_is_read(tmp_path: Path) -> None:
    output = Output(str(tmp_path))
    run = RunRecord.begun(1767225600.0)
    assert run.name.startswith("20260101T000000Z-")
    run.write(output)
    path = tmp_path / f"_job/run-{run.name}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "energy": 3}))
    assert runs(output) == [run]
    path.write_text("[]")
    with pytest.raises(ValueError, match="is not the record of a run"):
        runs(output)
