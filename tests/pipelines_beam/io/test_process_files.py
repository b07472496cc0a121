"""Jobs over files: their output, what is computed at a second start, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from support import sink
from support.pictures import picture
from support.runs import RUNNER
from support.texts import CORPUS

from pipelines_beam import ImageClassification, TextClassification, cli
from pipelines_beam.commands import statuses
from pipelines_beam.io import (
    InputChangedError,
    InputError,
    JobChangedError,
    OutputExistsError,
    Processed,
    ProcessFiles,
    process_files,
)
from pipelines_beam.io.output import Output
from pipelines_beam.io.prepare import prepare
from pipelines_beam.io.settings import Settings

Model = Callable[[str], str]

#: Every seventh has no text, and fails.
ROWS = [{"id": i, "text": None if i % 7 == 3 else CORPUS[i]} for i in range(24)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for name, rows in {"a": ROWS[:14], "b": ROWS[14:]}.items():
        pq.write_table(
            pa.Table.from_pylist(rows), tmp_path / f"in/{name}.parquet", row_group_size=6
        )
    return tmp_path


@pytest.fixture
def task(model: Model) -> TextClassification:
    return classifier(model)


def classifier(model: Model, **options: Any) -> TextClassification:
    name = model("bert-classification")
    return TextClassification(name, input="text", truncation=True, batch_size=1, **options)


def process(folder: Path, task: Any, files: str = "in/*.parquet", **options: Any) -> Processed:
    options = {"rows_per_shard": 4, **options}
    pipeline = PipelineOptions([], runner=RUNNER)
    return process_files(
        str(folder / files), task, str(folder / "out"), options=pipeline, **options
    )


def written(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("out/**/part-*.parquet"))}


def test_results_and_failures_are_files(folder: Path, task: TextClassification) -> None:
    done = process(folder, task)
    assert (done.skipped, done.written) == (0, len(done.files)) == (0, 7)
    table = pq.read_table(folder / "out")
    assert table.schema.equals(task.schema(pq.read_schema(folder / "in/a.parquet")))
    assert table["id"].to_pylist() == [row["id"] for row in ROWS if row["text"]]
    failed = pq.read_table(folder / "out/_failures")
    places = [(Path(row["file"]).name, row["row"]) for row in failed.to_pylist()]
    assert places == [("a.parquet", 3), ("a.parquet", 10), ("b.parquet", 3)]
    assert failed["element"].to_pylist() == [row for row in ROWS if not row["text"]]
    assert set(failed["error"].to_pylist()) == {"TypeError"}
    assert len(done.failures) == 3


def test_what_is_missing_is_computed_alone(folder: Path, task: TextClassification) -> None:
    process(folder, task)
    before = written(folder)
    lost = [path for path in before if "_failures" not in path][::4]
    for path in lost:
        Path(path).unlink()
    times = {path: Path(path).stat().st_mtime_ns for path in written(folder)}
    done = process(folder, task, resume=True)
    assert (done.skipped, done.written) == (5, 2)
    assert written(folder) == before
    now = {path: Path(path).stat().st_mtime_ns for path in before}
    results = {path: time for path, time in times.items() if "_failures" not in path}
    assert results.items() <= now.items()


def test_a_job_that_is_done_computes_nothing(folder: Path, task: TextClassification) -> None:
    process(folder, task)
    job = prepare(settings(folder, task))
    assert (job.segments, job.done, job.shards) == ((), 7, 7)


def test_files_that_came_later_are_computed_alone(folder: Path, task: TextClassification) -> None:
    process(folder, task, files="in/b.parquet")
    before = written(folder)
    done = process(folder, task, resume=True)
    assert (done.skipped, done.written) == (3, 4)
    now = written(folder)
    assert before.items() <= now.items()
    ids = [i for path in done.files for i in pq.read_table(path)["id"].to_pylist()]
    assert sorted(ids) == [row["id"] for row in ROWS if row["text"]]


def test_files_that_are_gone_are_left_out(
    folder: Path, task: TextClassification, caplog: pytest.LogCaptureFixture
) -> None:
    process(folder, task)
    done = sorted((folder / "out").glob("part-*"))
    done[0].unlink()
    done[-1].unlink()
    (folder / "in/a.parquet").unlink()
    job = prepare(settings(folder, task))
    assert (job.done, job.shards) == (5, 6)
    assert "the files of 1 shards are gone" in caplog.text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"top_k": 2}, "top_k was not given, and is 2"),
        ({"dtype": "float64"}, 'dtype was "auto", and is "float64"'),
    ],
)
def test_another_job_is_refused(
    folder: Path, task: TextClassification, model: Model, options: dict[str, Any], said: str
) -> None:
    begun(folder, task)
    with pytest.raises(JobChangedError, match=f"{said}. To resume needs the same job; else overwr"):
        prepare(settings(folder, classifier(model, **options)))


def test_what_decides_no_results_may_change(
    folder: Path, task: TextClassification, model: Model
) -> None:
    begun(folder, task)
    other = TextClassification(
        model("bert-classification"), input="text", truncation=True, device="cpu", max_wait_ms=1
    )
    assert prepare(settings(folder, other, rows_per_shard=3)).shards == 7


def test_another_model_or_version_or_column_is_refused(
    folder: Path, task: TextClassification
) -> None:
    begun(folder, task)
    with pytest.raises(JobChangedError, match=r'columns was \["id.*, and is \["text: string"\]\.'):
        prepare(settings(folder, task, columns=[]))
    about = folder / "out/_job/job.json"
    kept = json.loads(about.read_text())
    kept["job"] |= {"version of torch": '"1.0"', "model": '"another"'}
    about.write_text(json.dumps(kept))
    with pytest.raises(
        JobChangedError, match=r'model was "another", and is "a directory.*torch was'
    ):
        prepare(settings(folder, task))


def test_an_output_that_exists_is_not_touched(folder: Path, task: TextClassification) -> None:
    process(folder, task)
    before = written(folder)
    with pytest.raises(
        OutputExistsError, match=r"exists already\. Resume it .*, overwrite it .*, or"
    ):
        process(folder, task)
    assert written(folder) == before
    (folder / "out/notes.txt").write_text("mine")
    done = process(folder, task, overwrite=True, columns=[])
    assert (done.skipped, done.written) == (0, 7)
    assert pq.read_table(done.files[0]).schema.names == ["text", "label", "score"]
    assert (folder / "out/notes.txt").exists()


def test_what_no_job_has_written_is_not_resumed(folder: Path, task: TextClassification) -> None:
    (folder / "out").mkdir()
    (folder / "out/mine.parquet").write_bytes(b"x")
    with pytest.raises(OutputExistsError, match=r"nothing to resume. It has mine\.parquet"):
        prepare(settings(folder, task))
    with pytest.raises(ValueError, match="exclude each other"):
        settings(folder, task, overwrite=True)


def test_files_that_change_are_refused(folder: Path, task: TextClassification) -> None:
    begun(folder, task)
    table = pa.Table.from_pylist(ROWS[:3])
    pq.write_table(table, folder / "in/a.parquet")
    with pytest.raises(
        InputChangedError, match=r"a\.parquet has changed since its results were pl"
    ):
        prepare(settings(folder, task))


def test_what_would_fail_later_is_refused_before_anything_is_written(
    folder: Path, task: TextClassification, model: Model
) -> None:
    def says(error: type[Exception], match: str, **options: Any) -> None:
        with pytest.raises(error, match=match):
            prepare(settings(folder, **{"task": task, **options}))
        assert not (folder / "out").exists()

    name = model("bert-classification")
    says(ValueError, "unknown column 'words'", task=TextClassification(name, input="words"))
    says(ValueError, "set input= of the task", task=TextClassification(name))
    says(TypeError, "task must be a task's transform, got 'x'", task="x")
    says(ValueError, r"columns: unknown column 'idd'\. Did you mean 'id'\?", columns=["idd"])
    says(ValueError, r"types: unknown column 'x'", types={"x": "string"})
    says(ValueError, "types: id: No type alias for text", types={"id": "text"})
    says(ValueError, "rows_per_shard must be a positive integer, got 0", rows_per_shard=0)
    says(ValueError, "is in the folder of the output", output=str(folder / "in"))
    says(FileNotFoundError, "nothing matches", files=str(folder / "nowhere/*"))
    pq.write_table(pa.table({"id": [1]}), folder / "in/c.parquet")
    says(ValueError, r"c\.parquet has no column 'text', which other files of the job have")


def begun(folder: Path, task: Any) -> None:
    """A job of which one file of results is there."""
    (segment, *_) = prepare(settings(folder, task)).segments
    Output(str(folder / "out")).write(f"part-{segment.plan}-0000000.parquet", b"results")


def test_a_job_that_has_written_nothing_is_begun_anew(
    folder: Path, task: TextClassification, model: Model
) -> None:
    """Whether it failed before, or was another one."""
    for each in (task, task, classifier(model, top_k=2)):
        job = prepare(settings(folder, each, resume=False))
        assert (job.done, job.shards, len(job.segments)) == (0, 7, 1)
    assert len(list((folder / "out/_job").glob("plan-*"))) == 1


def settings(folder: Path, task: Any, **options: Any) -> Settings:
    """Those of a job that may have begun."""
    own = {"files": str(folder / "in/*.parquet"), "output": str(folder / "out"), "resume": True}
    return Settings(**{"task": task, "rows_per_shard": 4, **own, **options})


def test_a_folder_of_images_on_another_store(tmp_path: Path, model: Model) -> None:
    (tmp_path / "in").mkdir()
    for name in ("cat", "dog", "emu"):
        picture(name, 40, 30).save(tmp_path / f"in/{name}.png")
    (tmp_path / "in/bad.png").write_bytes(b"no image")
    task = ImageClassification(model("vit-classification"), input="path", top_k=1)
    output = f"memory://{tmp_path}/out"
    options = {
        "options": PipelineOptions([], runner=RUNNER),
        "rows_per_shard": 2,
        "columns": ["name"],
    }
    done = process_files(str(tmp_path / "in"), task, output, **options)
    rows = [
        row for path in done.files for row in pq.read_table(fsspec.open(path).open()).to_pylist()
    ]
    assert [row["name"] for row in rows] == ["cat.png", "dog.png", "emu.png"]
    (failed,) = done.failures
    (row,) = pq.read_table(fsspec.open(failed).open()).to_pylist()
    assert row["file"] == row["element"]["path"] == str(tmp_path / "in/bad.png")
    picture("fox", 40, 30).save(tmp_path / "in/ant.png")
    done = process_files(str(tmp_path / "in"), task, output, resume=True, **options)
    assert (done.skipped, done.written) == (2, 1)


def job_file(folder: Path, model: Model, **config: Any) -> str:
    task = {
        "type": "TextClassification",
        "config": {"model": model("bert-classification"), "input": "text", "truncation": True},
    }
    files, output = str(folder / "in/*.parquet"), str(folder / "out")
    config = {"files": files, "output": output, "task": task, "rows_per_shard": 4, **config}
    steps = [{"type": "ProcessFiles", "config": config}]
    (folder / "job.yaml").write_text(json.dumps({"pipeline": {"transforms": steps}}))
    return str(folder / "job.yaml")


def test_a_job_of_yaml_is_resumed(
    folder: Path, model: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    job = job_file(folder, model)
    assert cli.main(["run", job]) == statuses.ROWS_FAILED
    said = capsys.readouterr().out
    assert "24 rows in" in said
    assert "3 x TypeError: column 'text'" in said
    assert f"failed rows: 3 in {folder}/out/_failures\n" in said
    assert said.count("TypeError") == 1
    assert '{"label": ' in said
    (lost, *_) = sorted((folder / "out").glob("part-*"))
    lost.unlink()
    assert cli.main(["run", job]) == statuses.REFUSED
    assert "out exists already. Resume it (resume=True, --resume)" in capsys.readouterr().err
    assert cli.main(["run", job, "--resume"]) == statuses.ROWS_FAILED
    said = capsys.readouterr().out
    assert "4 rows in" in said
    assert f"7 of 7 files of {folder}/out are there, 6 of them from before\n" in said
    assert f"wrote {lost}" in said
    assert cli.main(["run", job_file(folder, model, resume=True)]) == statuses.ROWS_FAILED
    assert "7 of 7 files" in capsys.readouterr().out


def test_what_is_not_right_in_yaml_is_refused(
    folder: Path, model: Model, refusal: Callable[..., str]
) -> None:
    job = job_file(folder, model, task={"type": "TextClasification"})
    assert "Did you mean 'TextClassification'?" in refusal("run", job)
    job = job_file(folder, model, task="sentiment")
    assert "task must be {type: a task's transform, config: its options}" in refusal("run", job)
    job = job_file(folder, model, outputs="x")
    assert "outputs" in refusal("run", job)
    (folder / "plain.yaml").write_text(json.dumps({"pipeline": {"transforms": []}}))
    said = refusal("run", str(folder / "plain.yaml"), "--resume")
    assert "--resume is for files with ProcessFiles" in said


def test_the_transform_gives_its_files_and_failures(folder: Path, task: TextClassification) -> None:
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        outputs = p | ProcessFiles(str(folder / "in/a.parquet"), task, str(folder / "out"))
        tuple(outputs.values()) | beam.Flatten() | beam.Map(sink.collect)
    path, *failed = sorted(sink.collected, key=lambda each: not isinstance(each, str))
    assert pq.read_table(path).num_rows == 12
    assert [(row.row, row.kind, row.error) for row in failed] == [
        (3, "data", "TypeError"),
        (10, "data", "TypeError"),
    ]
    sink.collected.clear()


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (OSError(28, "No space left on device"), statuses.FAILED, "the disk is full"),
        (KeyboardInterrupt(), statuses.STOPPED, "stopped"),
    ],
)
def test_a_job_that_ends_early_shows_the_command_that_goes_on(
    folder: Path,
    model: Model,
    error: BaseException,
    status: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    move_in = Output._move_in

    def fails(self: Any, temporary: str, path: str, data: bytes) -> None:
        name = Path(path).name  # the hash in the name of a plan may end with anything
        if name.startswith("part-") and name.endswith("3.parquet"):
            Path(temporary).write_bytes(data[:10])
            raise error
        move_in(self, temporary, path, data)

    job = job_file(folder, model)
    with monkeypatch.context() as patched:
        patched.setattr(Output, "_move_in", fails)
        assert cli.main(["run", job]) == status
    said = capsys.readouterr().err
    assert words in said
    assert (
        f" of 7 files of {folder}/out are there: go on with pipelines-beam run {job} --resu" in said
    )
    assert not list((folder / "out/_job/temporary").glob("*"))
    assert cli.main(["run", job, "--resume"]) == statuses.ROWS_FAILED
    assert pq.read_table(folder / "out").num_rows == 21


def test_a_part_that_cannot_be_read_is_named(folder: Path, task: TextClassification) -> None:
    line = '{"text": "x"}\n'
    (folder / "in/a.jsonl").write_text(line)
    (folder / "in/b.jsonl").write_text(line * 10 + "x\n" + line)
    with pytest.raises(InputError, match=r"b\.jsonl cannot be read, bytes \d+ to \d+: JSON parse"):
        process(folder, task, files="in/*.jsonl")
    (folder / "in/a.jsonl").write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"a\.jsonl has not a JSON object on each line"):
        process(folder, task, files="in/*.jsonl", overwrite=True)


def test_the_output_may_lie_within_the_input(folder: Path, task: TextClassification) -> None:
    output = str(folder / "in/out")
    for _ in range(2):
        job = prepare(settings(folder, task, files=str(folder / "in"), output=output))
        assert (job.done, job.shards) == (0, 7)
        Output(output).write("part-000-aaaaaaaaaaaa-0000000.parquet", b"a result")
    with pytest.raises(ValueError, match="is in the folder of the output"):
        prepare(settings(folder, task, files=output, output=output))


def test_datasets_is_told_of_the_columns_that_there_are(
    folder: Path, task: TextClassification
) -> None:
    features = {
        name: {"dtype": kind, "_type": "Value"}
        for name, kind in (("id", "int64"), ("text", "string"))
    }
    told = {b"huggingface": json.dumps({"info": {"features": features}}).encode(), b"pandas": b"{}"}
    for path in (folder / "in").iterdir():
        pq.write_table(pq.read_table(path).replace_schema_metadata(told), path)
    done = process(folder, task, columns=[])
    metadata = pq.read_schema(done.files[0]).metadata
    del features["id"]
    assert json.loads(metadata.pop(b"huggingface")) == {"info": {"features": features}}
    assert metadata == {}


def test_failures_of_a_worker_that_was_killed_do_not_stay(
    folder: Path, task: TextClassification
) -> None:
    """They were written, the results were not; and at the next start no row fails."""
    process_files(f"{folder}/in", task, f"{folder}/failing")
    stale, *_ = (folder / "failing/_failures").iterdir()
    for path in (folder / "in").iterdir():
        texts = ["good"] * pq.read_metadata(path).num_rows
        pq.write_table(pa.table({"id": range(len(texts)), "text": texts}), path)
    process_files(f"{folder}/in", task, f"{folder}/out")
    done, *_ = sorted((folder / "out").glob("part-*"))
    (folder / "out/_failures").mkdir()
    (folder / "out/_failures" / done.name).write_bytes(stale.read_bytes())
    done.unlink()

    found = process_files(f"{folder}/in", task, f"{folder}/out", resume=True)
    assert found.written == 1
    assert found.failures == []
