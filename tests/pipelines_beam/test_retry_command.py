"""`pipelines-beam retry`: of a file, and of an output that keeps its task."""

from __future__ import annotations

import json
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
from pipelines_beam.io import process_files
from pipelines_beam.io.task_config import as_json, rebuilt, task_of

Model = Callable[[str], str]


def shout(inference: Any) -> Any:
    return inference


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    texts = ["Yes", " ".join(CORPUS) * 4, None, "No"]
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"text": texts}), tmp_path / "in/a.parquet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def process(folder: Path, model: Model, **options: Any) -> None:
    task = TextClassification(model("bert-classification"), input="text", **options)
    pipeline = PipelineOptions([], runner=RUNNER)
    process_files(str(folder / "in"), task, str(folder / "out"), options=pipeline)


def test_of_an_output(folder: Path, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    process(folder, model)
    assert cli.main(["retry", "out"]) == statuses.ROWS_FAILED
    said = capsys.readouterr().out
    assert said.startswith(
        f"2 rows had failed: 0 are answered now, 2 are not\nrows that failed: "
        f"{folder}/out/_failures\n  1 x TooLongError: "
    )
    assert f"    such as {folder}/in/a.parquet, row 1\n  1 x TypeError: column 'text'" in said
    assert said.endswith(f"    such as {folder}/in/a.parquet, row 2\n")
    assert cli.main(["retry", "out", "--set", "truncation=true"]) == statuses.ROWS_FAILED
    said = capsys.readouterr().out
    assert "changed: truncation: not given → true\n2 rows had failed: 1 are answered now" in said
    assert pq.read_table("out")["text"].to_pylist()[0] == "Yes"
    assert pq.read_table("out").num_rows == 3


def test_of_a_file(folder: Path, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    config = {"model": model("bert-classification"), "input": "text", "truncation": "CUT"}
    step = {"files": str(folder / "in"), "output": str(folder / "out")}
    step["task"] = {"type": "TextClassification", "config": config}  # type: ignore[assignment]
    spec = json.dumps({"pipeline": {"transforms": [{"type": "ProcessFiles", "config": step}]}})
    (folder / "job.yaml").write_text(spec.replace('"CUT"', "{{cut}}"))
    assert cli.main(["run", "job.yaml", "--set", "cut=false"]) == statuses.ROWS_FAILED
    capsys.readouterr()
    assert cli.main(["retry", "job.yaml", "--set", "cut=true"]) == statuses.ROWS_FAILED
    assert "2 rows had failed: 1 are answered now, 1 are not" in capsys.readouterr().out


def test_what_cannot_be_retried_is_refused(
    folder: Path, model: Model, refusal: Callable[..., str]
) -> None:
    assert "the Beam YAML file or the output of the job is missing" in refusal("retry")
    assert "nowhere: no job over files has begun it" in refusal("retry", "nowhere")
    (folder / "plain.yaml").write_text(json.dumps({"pipeline": {"transforms": []}}))
    assert "retry is for files with ProcessFiles" in refusal("retry", "plain.yaml")


def test_changes_that_are_not_options_are_refused(
    folder: Path, model: Model, refusal: Callable[..., str]
) -> None:
    (folder / "out/_job").mkdir(parents=True)
    task = TextClassification(model("bert-classification"), input="text")
    (folder / "out/_job/job.json").write_text(json.dumps({"task": as_json(task), "job": {}}))
    said = refusal("retry", "out", "--set", "truncatoin=true")
    assert "unknown" in said
    assert "Did you mean 'truncation'?" in said
    assert "--set: must be NAME=VALUE" in refusal("retry", "out", "--set", "truncation")
    assert "has the results of another task" in refusal("retry", "out")


def test_a_task_is_made_again_from_what_the_output_keeps(model: Model) -> None:
    task = TextClassification(model("bert-classification"), input="text", top_k=2, batch_size=3)
    kept = json.loads(json.dumps(as_json(task)))
    again = rebuilt(kept, {"batch_size": 4}, "out")
    assert again.config == {**task.config, "batch_size": 4}
    assert task_of({"type": kept["type"], "config": kept["config"]}).plan == task.plan


def test_a_function_is_not_kept(model: Model) -> None:
    task = TextClassification(model("bert-classification"), input="text", postprocess=shout)
    kept = as_json(task)
    with pytest.raises(
        ValueError,
        match=r"the task of out has postprocess=<function shout .*no file holds: call "
        r"pipelines_beam.io.retry_failures\(task, output\) in Python, or name it with --set post",
    ):
        rebuilt(kept, {}, "out")
    named = rebuilt(kept, {"postprocess": f"{__name__}.shout"}, "out")
    assert named.plan.postprocess is shout
