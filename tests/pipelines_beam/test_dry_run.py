"""What is said of a job that does not run, and what is checked before one does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.stores import ForbiddenFileSystem

from pipelines_beam import cli
from pipelines_beam.commands import statuses

Model = Callable[[str], str]
Refusal = Callable[..., str]


def job(folder: Path, *steps: dict[str, Any], **more: Any) -> str:
    content = {"pipeline": {"type": "chain", "transforms": list(steps)}, **more}
    (folder / "job.yaml").write_text(json.dumps(content))
    return str(folder / "job.yaml")


def task(model: str) -> dict[str, Any]:
    config = {"model": model, "input": "text", "truncation": True}
    return {"type": "TextClassification", "name": "Look", "config": config}


def of_files(folder: Path, model: str, **config: Any) -> dict[str, Any]:
    look = {name: value for name, value in task(model).items() if name != "name"}
    config = {"files": str(folder / "in.parquet"), "output": str(folder / "out"), **config}
    return {"type": "ProcessFiles", "config": {**config, "task": look}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    table = pa.table({"id": range(6), "text": ["good", None] * 3})
    pq.write_table(table, tmp_path / "in.parquet")
    return tmp_path


def test_a_job_over_files_is_described_and_not_begun(
    folder: Path, model: Model, refusal: Refusal, capsys: pytest.CaptureFixture[str]
) -> None:
    file = job(folder, of_files(folder, model("bert-classification"), rows_per_shard=2))
    assert cli.main(["run", file, "--dry-run"]) == statuses.DONE
    said = capsys.readouterr().out
    for line in (
        "  input: 1 files of parquet, 6 rows",
        "  files of the output: 3",
        "  files that are there: 0",
        "  rows to be computed: 6",
        "  columns: id int64, text string, label string, score double",
        "nothing has run, and nothing is written",
    ):
        assert f"{line}\n" in said
    assert sorted(path.name for path in folder.iterdir()) == ["in.parquet", "job.yaml"]
    assert cli.main(["run", file, "--dry-run", "--limit=3"]) == statuses.DONE
    assert "rows to be computed: 3\n" in capsys.readouterr().out
    (folder / "out").write_text("in the way")
    said = refusal("run", file, "--dry-run", "--overwrite")
    assert f"output: cannot write to {folder}/out: " in said
    assert said.count("\n") == 1


def test_other_jobs_are_described(
    folder: Path, model: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    read = {"type": "ReadFromParquet", "config": {"path": str(folder / "in.parquet")}}
    write = {"type": "WriteToParquet", "config": {"path": str(folder / "new/deep/out")}}
    file = job(folder, read, task(model("bert-classification")), write)
    assert cli.main(["run", file, "--dry-run", "--json"]) == statuses.DONE
    steps = {step["type"]: step for step in json.loads(capsys.readouterr().out)["steps"]}
    assert steps["ReadFromParquet"]["rows"] == 6
    assert list(steps["TextClassification"]["columns"]) == ["id", "text", "label", "score"]
    assert steps["TextClassification"]["columns"]["score"] == "double"
    assert steps["WriteToParquet"]["path"] == str(folder / "new/deep/out")
    assert not (folder / "new").exists()


def test_a_sink_that_cannot_be_written_is_refused(
    folder: Path, model: Model, refusal: Refusal
) -> None:
    (folder / "full").write_text("a file")
    read = {"type": "ReadFromParquet", "config": {"path": str(folder / "in.parquet")}}
    write = {"type": "WriteToJson", "config": {"path": str(folder / "full/out.json")}}
    said = refusal("run", job(folder, read, task(model("bert-classification")), write))
    assert f"WriteToJson: cannot write to {folder}/full: " in said
    assert said.count("\n") == 1


def test_a_limit_is_not_for_files_that_read_otherwise(
    folder: Path, model: Model, refusal: Refusal
) -> None:
    read = {"type": "ReadFromParquet", "config": {"path": str(folder / "in.parquet")}}
    steps = [read, {"type": "LogForTesting"}]
    content = {
        "pipeline": {"transforms": [of_files(folder, "x"), {"type": "chain", "transforms": steps}]}
    }
    (folder / "job.yaml").write_text(json.dumps(content))
    said = refusal("run", str(folder / "job.yaml"), "--limit=3")
    assert "--limit is for files that read with ProcessFiles alone: ReadFromParquet would" in said


def test_a_model_that_nobody_can_load_is_refused_where_the_job_would_run(
    folder: Path, refusal: Refusal
) -> None:
    """The tests have no network."""
    name = "nobody/has-this-model"
    file = job(folder, of_files(folder, name))
    said = refusal("run", file)
    assert f"the model {name!r} is not on this machine, and the Hugging Face hub is out of" in said
    assert said.count("\n") == 1


def test_a_model_in_a_store_that_may_not_be_read_is_refused_where_the_job_would_run(
    folder: Path, refusal: Refusal
) -> None:
    name = f"{ForbiddenFileSystem.protocol}:///models/mine"
    read = {"type": "ReadFromParquet", "config": {"path": str(folder / "in.parquet")}}
    said = refusal("run", job(folder, read, task(name), {"type": "LogForTesting"}))
    assert f"the model {name!r} cannot be read from here: PermissionError: 403 Forbidden" in said
    assert said.count("\n") == 1
