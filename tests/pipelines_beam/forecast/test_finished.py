"""Finished runs correct a forecast, and the correction is kept for the next one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.forecasts import PROFILE

from pipelines_beam.forecast.finished import Speed, Store, correction
from pipelines_beam.io.output import Output
from pipelines_beam.io.run_record import DONE, FAILED, RunRecord

JOB = {"task": '"text-classification"', "model": '"my/model"'}
MACHINE = {"cores": 2, "processor": "a processor", "memory": 8}
SPEED = Speed(seconds_per_row=0.01, tokens_per_row=20)


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return Output(str(tmp_path / "out"))


def record(output: Output, started: float, **changes: Any) -> None:
    """A run of 1,000 rows that took twice as long as they should."""
    usual: dict[str, Any] = {
        "state": DONE,
        "seconds": 23.5,
        "stages": {"load": 3.0},
        "rows": 990,
        "failed": 10,
        "job": {**JOB, "columns": "['text']"},
        "machine": {**MACHINE, "memory": 9},
    }
    replace(RunRecord.begun(started), **{**usual, **changes}).write(output)


def found(output: Output) -> float | None:
    return correction(output, JOB, MACHINE, SPEED)


def test_a_run_that_took_twice_as_long_says_so(output: Output) -> None:
    record(output, 1.0)
    assert found(output) == pytest.approx(2.0)


def test_the_last_run_counts(output: Output) -> None:
    record(output, 1000.0, seconds=13.5)
    record(output, 1.0)
    assert found(output) == pytest.approx(1.0)


def test_a_run_of_longer_rows_may_take_longer(output: Output) -> None:
    record(output, 1.0, padded_tokens=40_000)
    assert found(output) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "change",
    [
        {"state": FAILED},
        {"rows": 0, "failed": 0},
        {"seconds": 4.0},
        {"audit": {"share": 0.1}},
        {"options": {"dedupe": "job"}},
        {"options": {"cache": "s3://bucket/answers"}},
        {"job": {**JOB, "model": '"other"'}},
        {"machine": {**MACHINE, "cores": 4}},
        {"machine": {**MACHINE, "accelerator": "a GPU"}},
    ],
    ids=str,
)
def test_other_runs_say_nothing(output: Output, change: dict[str, Any]) -> None:
    record(output, 1.0, **change)
    assert found(output) is None


def test_a_file_that_is_no_record_says_nothing(output: Output) -> None:
    output.write("_job/run-20261128T060000Z-abcdef.json", b"{")
    assert found(output) is None


def test_a_correction_is_kept_for_the_next_forecast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINES_BEAM_CACHE", str(tmp_path))
    store = Store.of(JOB, MACHINE)
    assert store.corrected(PROFILE, None).correction == 1.0
    assert store.corrected(PROFILE, 2.0).correction == 2.0
    assert store.corrected(PROFILE, None).correction == 2.0
    assert store.read() == replace(PROFILE, correction=2.0)
    assert Store.of({**JOB, "model": '"other"'}, MACHINE).read() is None
    assert Store.of(JOB, {**MACHINE, "cores": 4}).read() is None
    assert Store.of(JOB, {**MACHINE, "memory": 16}).read() == store.read()


def test_a_folder_that_cannot_be_written_to_is_no_reason_to_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PIPELINES_BEAM_CACHE", str(tmp_path / "file"))
    assert Store.of(JOB, MACHINE).corrected(PROFILE, 2.0).correction == 2.0
