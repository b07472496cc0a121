"""The report of a job that is done: whatever it meets, the job stays done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from pipelines_beam import outcome, provider, report, template
from pipelines_beam.outcome import Failures, Outcome, Sink
from transforms import metrics


def ran(path: Path) -> tuple[Outcome, Any]:
    """What a Beam YAML job did, and its result."""
    metrics.reset()
    spec = template.load(str(path), {})
    pipeline = beam.Pipeline("apache_beam.runners.portability.fn_api_runner.FnApiRunner")
    provider.expand(pipeline, spec, str(path))
    watched = Outcome(pipeline)
    result = pipeline.run()
    result.wait_until_finish()
    return watched, result


def test_rows_that_fail_in_beams_own_transforms_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"""
pipeline:
  transforms:
    - {{type: Create, name: Read, config: {{elements: [{{a: 1}}, {{a: 0}}, {{a: 0}}]}}}}
    - type: MapToFields
      name: Divide
      input: Read
      config: {{language: python, fields: {{b: 1 / a}}, error_handling: {{output: bad}}}}
    - {{type: WriteToCsv, name: Good, input: Divide, config: {{path: {tmp_path}/x}}}}
    - {{type: WriteToJson, name: Bad, input: Divide.bad, config: {{path: {tmp_path}/x.bad}}}}
"""
    (tmp_path / "job.yaml").write_text(text)
    watched, result = ran(tmp_path / "job.yaml")
    (tmp_path / "x-from-before").write_text("old")
    assert report.show(watched, 1.0, result) is True
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "failed in Divide: 2",
        "  2 x ZeroDivisionError('division by zero')",
        f"wrote {tmp_path}/x-00000-of-00001 (0.0 MB)",
        f"wrote {tmp_path}/x.bad-00000-of-00001 (0.0 MB)",
    ]


class Fixed(Outcome):
    """An outcome that is known beforehand."""

    def __init__(self, failures: Any, files: Mapping[str, Any]) -> None:
        self._found = failures
        self._written = files
        self.sinks = [
            Sink(name=name, kind="WriteToParquet", takes_failures=False, folder="")
            for name in files
        ]

    def failures(self, result: Any) -> dict[str, Failures]:
        if isinstance(self._found, Exception):
            raise self._found
        return dict(self._found)

    def files(self, result: Any) -> dict[str, list[str]]:
        if isinstance(self._written.get("broken"), Exception):
            raise self._written["broken"]
        return dict(self._written)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job in this process that answered three rows."""
    monkeypatch.setattr(metrics, "_counts", metrics.Counts(read=4, answered=3, failed=1))


@pytest.mark.usefixtures("counted")
def test_what_cannot_be_read_is_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = tmp_path / "odd.parquet"
    odd.write_bytes(b"\xff\x00 not parquet")
    files = {"a": [str(odd)], "b": [str(tmp_path / "gone.parquet")], "c": ["gs://bucket/x"]}
    failures = {"Look": Failures(1)}
    failures["Look"].reasons["ValueError: a\x1b[31m\nb" + "x" * 300] = 1
    assert report.show(Fixed(failures, files), 1.0, None) is True
    said = capsys.readouterr()
    assert "4 rows in 1.0 s: 4 rows/s, 1 of them failed" in said.out
    assert "  1 x ValueError: a [31m bxxx" in said.out
    assert f"wrote {odd}" in said.out
    assert "wrote gs://bucket/x\n" in said.out
    notes = said.err.splitlines()
    assert f"the job is done, but {odd} cannot be shown: ArrowInvalid: Parquet magic" in notes[0]
    assert len(notes) == 1


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("broken", ["failures", "files"])
def test_metrics_that_are_not_there_are_a_note(
    broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    error = NotImplementedError("no metrics here")
    failures: Any = error if broken == "failures" else {"Look": Failures(1)}
    files: Any = {"broken": error} if broken == "files" else {}
    assert report.show(Fixed(failures, files), 1.0, None) is True
    assert capsys.readouterr().err.count("\n") == 1


def test_reasons_of_all_kinds_of_rows_are_short() -> None:
    assert outcome.reason_of(beam.Row(error="ValueError", message="no")) == "ValueError: no"
    assert outcome.reason_of(beam.Row(element=1, msg="division by zero")) == "division by zero"
    assert outcome.reason_of({"a": 1}) == "no reason"
    assert len(outcome.reason_of(beam.Row(msg="x" * 10_000))) == 300
