"""The report of a job that is done: whatever it meets, the job stays done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines_beam import ElementError, outcome, provider, summary, template
from pipelines_beam.outcome import Failures, Outcome
from pipelines_beam.yaml_steps import Sink
from transforms.media import suspects as suspects_module
from transforms.stages import metrics


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
    assert summary.show(watched, 1.0, result) is True
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "failed in Divide: 2",
        "  2 x ZeroDivisionError('division by zero')",
        f"wrote {tmp_path}/x-00000-of-00001 (0.0 MB)",
        f"wrote {tmp_path}/x.bad-00000-of-00001 (0.0 MB)",
    ]


def test_a_job_without_rows_says_so(
    model: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of no rows is no error, and neither is null for error_handling."""
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "in.parquet")
    config = f"model: {model('bert-classification')}, input: text, error_handling: null"
    text = f"""
pipeline:
  type: chain
  transforms:
    - {{type: ReadFromParquet, config: {{path: {tmp_path}/in.parquet}}}}
    - {{type: TextClassification, config: {{{config}}}}}
    - {{type: WriteToParquet, config: {{path: {tmp_path}/out}}}}
"""
    (tmp_path / "job.yaml").write_text(text)
    watched, result = ran(tmp_path / "job.yaml")
    assert summary.show(watched, 1.0, result) is False
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "0 rows: no model was asked anything",
        f"wrote {tmp_path}/out-00000-of-00001 (0.0 MB)",
        "  no rows",
    ]
    assert pq.read_table(tmp_path / "out-00000-of-00001").num_rows == 0


def test_rows_of_null_are_shown_by_their_columns(
    model: Callable[[str], str], tmp_path: Path
) -> None:
    """Not by the name of a generated class; and a null of a file is no word of YAML."""
    pq.write_table(pa.table({"id": [7], "text": pa.array([None], pa.string())}), tmp_path / "in")
    text = f"""
pipeline:
  type: chain
  transforms:
    - {{type: ReadFromParquet, config: {{path: {tmp_path}/in}}}}
    - type: TextClassification
      config: {{model: {model("bert-classification")}, input: text}}
"""
    (tmp_path / "job.yaml").write_text(text)
    with pytest.raises(ElementError, match=r"for the element \{'id': 7, 'text': None\}") as error:
        ran(tmp_path / "job.yaml")
    assert "text must be a string, got None. To keep going" in str(error.value)


def test_answers_without_rows_are_not_written(model: Callable[[str], str], tmp_path: Path) -> None:
    text = f"""
pipeline:
  type: chain
  transforms:
    - {{type: Create, config: {{elements: [{{text: good}}]}}}}
    - {{type: TextClassification, config: {{model: {model("bert-classification")}, input: null}}}}
    - {{type: WriteToJson, config: {{path: {tmp_path}/out}}}}
"""
    (tmp_path / "job.yaml").write_text(text)
    with pytest.raises(ValueError, match="WriteToJson") as error:
        ran(tmp_path / "job.yaml")
    assert "files hold rows, and these are PredictionResults" in str(error.value.__cause__)


class Fixed(Outcome):
    """An outcome that is known beforehand."""

    def __init__(self, failures: Any, files: Mapping[str, Any]) -> None:
        self._found = failures
        self._written = files
        self.sinks = [
            Sink(name=name, kind="WriteToParquet", failed=(), folder="") for name in files
        ]

    def failures(self, result: Any) -> dict[str, Failures]:
        if isinstance(self._found, Exception):
            raise self._found
        return dict(self._found)

    def suspects(self, result: Any) -> dict[str, int]:
        return {}

    def misfits(self, result: Any) -> int:
        return 0

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
    assert summary.show(Fixed(failures, files), 1.0, None) is True
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
    assert summary.show(Fixed(failures, files), 1.0, None) is True
    (said,) = capsys.readouterr().err.splitlines()
    expected = {
        "failures": "the job is done, but it is unknown whether rows of it failed",
        "files": "the job is done, but what it did cannot be shown",
    }
    assert said == f"{expected[broken]}: NotImplementedError: no metrics here"


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("broken", ["failures", "files"])
def test_programs_are_told_of_metrics_that_are_not_there(broken: str) -> None:
    error = NotImplementedError("no metrics here")
    failures: Any = error if broken == "failures" else {"Look": Failures(1)}
    files: Any = {"broken": error} if broken == "files" else {}
    assert summary.as_data(Fixed(failures, files), 1.0, None) == {
        "event": "summary",
        "error": "NotImplementedError: no metrics here",
        "rows_failed": True,
    }


def numbers(tmp_path: Path) -> Path:
    """A job with one row that fails, with a message that quotes the row."""
    (tmp_path / "job.yaml").write_text(f"""
pipeline:
  transforms:
    - {{type: Create, name: Read, config: {{elements: [{{a: "1"}}, {{a: secret}}]}}}}
    - type: MapToFields
      name: Parse
      input: Read
      config: {{language: python, fields: {{b: int(a)}}, error_handling: {{output: bad}}}}
    - {{type: WriteToJson, name: Bad, input: Parse.bad, config: {{path: {tmp_path}/x.bad}}}}
""")
    return tmp_path / "job.yaml"


def test_messages_of_failed_rows_stay_out_of_metrics(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched, result = ran(numbers(tmp_path))
    sets = result.metrics().query()["string_sets"]
    assert not [each for each in sets if "secret" in str(each.result)]
    assert summary.show(watched, 1.0, result) is True
    assert "  1 x ValueError(" in capsys.readouterr().out
    monkeypatch.setattr(outcome, "local_reasons", {})  # as where the rows failed in another process
    assert summary.show(watched, 1.0, result) is True
    assert "  1 x ValueError(" in capsys.readouterr().out  # of the file of failed rows
    for path in tmp_path.glob("x.bad*"):
        path.unlink()  # as where it is on another machine
    assert summary.show(watched, 1.0, result) is True
    assert capsys.readouterr().out.splitlines()[:2] == ["failed in Parse: 1", "  ValueError"]


class WriteNowhere(beam.PTransform):  # type: ignore[misc]
    """A sink as Pub/Sub's, which gives nothing."""

    def expand(self, pcoll: Any) -> Any:
        return beam.pvalue.PDone(pcoll.pipeline)


def look(row: Any) -> Any:
    """A row that is counted as a suspect medium."""
    suspects_module.count_suspect("images_clipped")
    return row


def test_sinks_without_outputs_and_suspect_media(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pipeline = beam.Pipeline("apache_beam.runners.portability.fn_api_runner.FnApiRunner")
    sink = WriteNowhere()
    sink.annotations = lambda: {"yaml_type": "WriteNowhere", "yaml_args": "{}"}
    rows = pipeline | beam.Create([1, 2]) | beam.Map(look)
    _ = rows | "Out" >> sink
    watched = Outcome(pipeline)
    assert [each.name for each in watched.sinks] == ["Out"]
    metrics.reset()
    result = pipeline.run()
    result.wait_until_finish()
    assert summary.show(watched, 1.0, result) is False
    said = capsys.readouterr()
    assert said.out.startswith("2 images clipped: the answers are likely not what you mean")
    assert said.out.endswith("see suspect_images_clipped in the README\n")
    assert said.err == ""


@pytest.mark.usefixtures("counted")
def test_names_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    summary.show(Fixed({}, {"a": ["gs://b/\x1b[2J" + "x" * 200]}), 1.0, None)
    assert "wrote gs://b/ [2J" + "x" * 200 + "\n" in capsys.readouterr().out
