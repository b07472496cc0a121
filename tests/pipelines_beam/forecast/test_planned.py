"""Whole forecasts of small jobs: what is read, counted, warned of and refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import yaml
from support.forecasts import PROFILE
from support.pictures import picture
from support.sounds import RATE, SOUNDS
from support.texts import CORPUS

from pipelines_beam import (
    AutomaticSpeechRecognition,
    ImageClassification,
    TextClassification,
    cli,
)
from pipelines_beam.commands import statuses
from pipelines_beam.forecast.forecast import Forecast
from pipelines_beam.forecast.profile import EmptyJobError, Profile, ProfileError
from pipelines_beam.forecast.sample import Sample
from pipelines_beam.io import InputError, plan_files, process_files
from pipelines_beam.io.output import Output
from pipelines_beam.io.prepare import prepare
from pipelines_beam.io.run_record import runs
from pipelines_beam.io.settings import Settings

Model = Callable[[str], str]

#: Every tenth has no text, and fails.
ROWS = [{"id": i, "text": None if i % 10 == 3 else CORPUS[i % len(CORPUS)]} for i in range(100)]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINES_BEAM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for name, rows in {"a": ROWS[:60], "b": ROWS[60:]}.items():
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"in/{name}.parquet")
    return tmp_path


def classifier(model: Model, **options: Any) -> TextClassification:
    name = model("bert-classification")
    return TextClassification(name, input="text", truncation=True, device="cpu", **options)


def plan(folder: Path, task: Any, **options: Any) -> Forecast:
    options = {"rows_per_shard": 20, "seconds": 1.0, **options}
    return plan_files(str(folder / "in"), task, str(folder / "out"), **options)


def test_a_forecast_of_texts(folder: Path, model: Model) -> None:
    found = plan(folder, classifier(model), workers=2, price_per_hour=3600.0)
    assert (found.rows, found.rows_counted, found.files, found.shards) == (100, True, 2, 5)
    assert found.input_bytes == sum(path.stat().st_size for path in folder.glob("in/*"))
    assert 0 < found.seconds.low < found.seconds.value < found.seconds.high
    assert found.seconds_of_workers.value < found.seconds.value
    assert found.price == found.worker_hours * 3600
    assert found.batch_rows >= 1
    assert found.memory > found.model_bytes > 0
    assert found.output_bytes is not None
    assert found.output_bytes > 90
    (failure,) = found.failures
    assert (failure.stage, failure.error) == ("preprocess", "TypeError")
    assert failure.expected == pytest.approx(10, abs=4)
    assert found.sample_rows <= 100 < found.measured_rows
    assert failure.in_sample <= 10
    (said,) = [each for each in found.warnings if "'text' has no value in" in each]
    assert f"{failure.in_sample} of {found.sample_rows} rows of the sample" in said
    assert f"rows, of {found.sample_rows} that differ, in " in str(found)
    assert found.sizes is not None
    assert found.sizes.unit == "tokens"
    assert not (folder / "out").exists()


@pytest.mark.slow
def test_a_forecast_of_pictures_and_of_sounds(tmp_path: Path, model: Model) -> None:
    (tmp_path / "in").mkdir()
    for i in range(12):
        picture(f"picture {i}", 60 + i, 50).save(tmp_path / f"in/{i}.png")
    (tmp_path / "in/broken.png").write_bytes(b"\x89PNG")
    task = ImageClassification(model("vit-classification"), input="path", device="cpu")
    found = plan(tmp_path, task)
    assert (found.rows, found.format) == (13, "media")
    assert found.sizes is not None
    assert found.sizes.unit == "pixels"
    assert [each.error for each in found.failures] == ["MediaError"]
    for path in tmp_path.glob("in/*"):
        path.unlink()
    for i, sound in enumerate(SOUNDS):
        soundfile.write(tmp_path / f"in/{i}.wav", sound, RATE)
    name = model("wav2vec2-layer-ctc")
    task = AutomaticSpeechRecognition(name, input="path", device="cpu")
    found = plan(tmp_path, task)
    assert found.sizes is not None
    assert found.sizes.unit == "seconds of sound"
    assert found.sizes.most == pytest.approx(max(map(len, SOUNDS)) / RATE, abs=0.01)


def test_the_record_of_a_run_has_its_forecast(folder: Path, model: Model) -> None:
    found = plan(folder, classifier(model), seconds=0.5)
    output = str(folder / "out")
    process_files(str(folder / "in"), classifier(model), output, rows_per_shard=20)
    (run,) = runs(Output(output))
    kept = run.forecast
    assert (kept["rows"], kept["failed"]) == (100, found.failures[0].expected)
    assert kept["seconds"] == list(vars(found.seconds_of_workers).values())
    other = classifier(model, top_k=2)
    process_files(str(folder / "in"), other, output, overwrite=True)
    assert [each.forecast for each in runs(Output(output))] == [{}]


def test_what_is_done_is_not_forecast(folder: Path, model: Model) -> None:
    task = classifier(model)
    process_files(str(folder / "in/b.parquet"), task, str(folder / "out"), rows_per_shard=20)
    found = plan(folder, task, resume=True)
    assert (found.rows, found.rows_done, found.shards) == (60, 40, 3)
    process_files(str(folder / "in"), task, str(folder / "out"), rows_per_shard=20, resume=True)
    with pytest.raises(EmptyJobError, match="no rows left to compute"):
        plan(folder, task, resume=True)


def test_the_speed_of_another_machine(folder: Path, model: Model) -> None:
    task = classifier(model)
    path = folder / "large.json"
    path.write_text(replace(PROFILE, model=task.spec.model.source).as_json())
    found = plan(folder, task, profile=str(path))
    assert (found.device, found.rows, found.output_bytes) == ("a large machine", 100, None)
    assert found.memory == PROFILE.memory
    assert found.start_seconds == pytest.approx(3.5)
    assert 100 * PROFILE.host_seconds < found.seconds.value - found.start_seconds < 20
    assert found.batch_rows <= PROFILE.batch_rows
    assert [each.error for each in found.failures] == ["TypeError"]
    assert not any("audit" in each or "dedupe" in each for each in found.warnings)
    path.write_text(replace(PROFILE, accelerated=True).as_json())
    found = plan(folder, task, profile=str(path), audit=0.5, dedupe="job")
    for said in ("the audit of 50.00% of the rows is not in", "takes less with answers that are"):
        assert any(said in each for each in found.warnings)
    assert found.accelerator_hours == found.worker_hours
    assert any("of the model my/model" in each for each in found.warnings)
    path.write_text(replace(PROFILE, task="fill-mask").as_json())
    with pytest.raises(ProfileError, match="'fill-mask'"):
        plan(folder, task, profile=str(path))


def test_texts_that_are_too_long_are_known_without_the_model(tmp_path: Path, model: Model) -> None:
    (tmp_path / "in").mkdir()
    texts = ["short"] * 9 + [" ".join(CORPUS) * 4]
    pq.write_table(pa.table({"text": texts}), tmp_path / "in/a.parquet")
    task = TextClassification(model("bert-classification"), input="text", device="cpu")
    (tmp_path / "large.json").write_text(PROFILE.as_json())
    measured = plan(tmp_path, task, seconds=0.5)
    looked_at = plan(tmp_path, task, profile=str(tmp_path / "large.json"))
    for found in (measured, looked_at):
        (failure,) = found.failures
        assert (failure.stage, failure.error) == ("forward", "TooLongError")
        assert (failure.in_sample, failure.expected) == (1, 1)
        assert any("truncation: true cuts them off" in each for each in found.warnings)
    assert measured.failures[0].message == looked_at.failures[0].message


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"workers": 0}, "workers must be a positive integer, got 0"),
        ({"seconds": -1.0}, "seconds must be a positive number"),
        ({"price_per_hour": True}, "price_per_hour must be a positive number"),
    ],
)
def test_options_that_do_not_exist(
    folder: Path, model: Model, option: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        plan(folder, classifier(model), **option)


def test_samples_are_spread_and_the_same_each_time(folder: Path, model: Model) -> None:
    settings = Settings(
        files=str(folder / "in"), task=classifier(model), output=str(folder / "out"),
        rows_per_shard=5,
    )  # fmt: skip
    taken = [
        [i for table in Sample(prepare(settings, writes=False)).tables(20, 10)
         for i in table["id"].to_pylist()]
        for _ in range(2)
    ]  # fmt: skip
    assert taken[0] == taken[1]
    assert len(taken[0]) == 20
    assert {i // 20 for i in taken[0]} == {0, 1, 2, 3, 4}


def test_a_file_that_cannot_be_read_is_named(folder: Path, model: Model) -> None:
    settings = Settings(
        files=str(folder / "in"), task=classifier(model), output=str(folder / "out")
    )
    sample = Sample(prepare(settings, writes=False))
    (folder / "in/a.parquet").write_bytes(b"PAR1")
    (folder / "in/b.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"in/[ab]\.parquet cannot be read: "):
        list(sample.tables(5))


def test_rows_of_lines_are_estimated_from_the_sample(tmp_path: Path, model: Model) -> None:
    (tmp_path / "in").mkdir()
    lines = ["short"] * 100 + ["a longer line, " * 20] * 100
    (tmp_path / "in/a.txt").write_text("\n".join(lines) + "\n")
    found = plan(tmp_path, classifier(model), rows_per_shard=None, bytes_per_shard=2000)
    assert not found.rows_counted
    assert 100 < found.rows < 300
    assert any("estimated" in each for each in found.warnings)


def job(folder: Path, model: Model, **changes: Any) -> str:
    """A file with a job."""
    task = {"model": model("bert-classification"), "input": "text", "device": "cpu"}
    config = {
        "files": str(folder / "in"),
        "output": str(folder / "out"),
        "rows_per_shard": 20,
        "task": {"type": "TextClassification", "config": {**task, "truncation": True}},
    }
    steps = [{"type": "ProcessFiles", "config": {**config, **changes}}]
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump({"pipeline": {"transforms": steps}}))
    return str(path)


@pytest.mark.slow
def test_the_commands(folder: Path, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    file, profile = job(folder, model), str(folder / "here.json")
    assert cli.main(["profile", file, "-o", profile, "--seconds", "1"]) == statuses.DONE
    assert f"{profile}: " in capsys.readouterr().out
    assert Profile.read(profile).task == "text-classification"
    assert cli.main(["plan", file, "--seconds", "1"]) == statuses.DONE
    assert "text-classification with" in capsys.readouterr().out
    known = ["plan", file, "--profile", profile]
    assert cli.main([*known, "--json"]) == statuses.DONE
    assert json.loads(capsys.readouterr().out)["rows"] == 100
    (folder / "out").mkdir()
    (folder / "out/part-000-aaaaaaaaaaaa-0000000.parquet").touch()
    assert cli.main([*known, "--max-hours", "0.000001"]) == statuses.REFUSED
    said = capsys.readouterr()
    assert "--max-hours is 1e-06" in said.err
    assert "exists already: this is what --overwrite takes" in said.out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"files": "/no/such/*.parquet"}, "nothing matches '/no/such/*.parquet'"),
        ({"columns": ["id", "txt"]}, "unknown column 'txt'"),
    ],
)
def test_jobs_that_would_fail_are_refused(
    folder: Path, model: Model, refusal: Callable[..., str], changes: Any, said: str
) -> None:
    assert said in refusal("plan", job(folder, model, **changes))


def test_a_file_without_a_job_over_files_is_refused(
    tmp_path: Path, refusal: Callable[..., str]
) -> None:
    path = tmp_path / "job.yaml"
    steps = [{"type": "Create", "config": {"elements": [1]}}]
    path.write_text(yaml.safe_dump({"pipeline": {"transforms": steps}}))
    assert "has no ProcessFiles: this command needs exactly one" in refusal("plan", str(path))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plan", "a.yaml", "--workers", "0"], "must be a positive number of workers, got '0'"),
        (["plan", "a.yaml", "--max-hours", "-1"], "must be a positive number of hours"),
        (["plan", "a.yaml", "--worker", "2"], "Did you mean '--workers'"),
        (["plan", "none.yaml"], "No such file or directory"),
        (["profile", "a.yaml", "-o", "/no/folder/a.json"], "No such file or directory"),
        (["plan", "a.yaml", "--seconds", "x"], "must be a positive number of seconds, got 'x'"),
    ],
)
def test_arguments_that_do_not_exist(
    refusal: Callable[..., str], arguments: list[str], said: str
) -> None:
    assert said in refusal(*arguments)
