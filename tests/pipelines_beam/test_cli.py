"""The command line and Beam YAML, as a person uses them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.commands import command
from support.paths import CONFIGS
from support.texts import CORPUS

from pipelines_beam import ElementError, ModelLoadError, cli
from pipelines_beam.commands import messages
from transforms.engine.errors import EngineError


def test_the_quickstart_shows_which_texts_are_alike(tmp_path: Path) -> None:
    rows = [{"name": f"n{i}", "text": text} for i, text in enumerate(CORPUS)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    settings = (f"--set=input={tmp_path / 'in.parquet'}", f"--set=output={tmp_path / 'out'}")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pipelines_beam",
            "run",
            str(CONFIGS / "quickstart.yaml"),
            *settings,
        ],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{len(CORPUS)} rows in" in done.stdout
    assert "none failed" in done.stdout
    assert "nearest neighbours:" in done.stdout
    assert done.stderr.count("WARNING") == 0
    (written,) = (tmp_path / "out").glob("embeddings*")
    assert all(len(vector) == 384 for vector in pq.read_table(written)["embedding"])


def _yaml(tmp_path: Path, model: str, more: str = "") -> str:
    path = tmp_path / "job.yaml"
    path.write_text(
        f"""
pipeline:
  type: chain
  transforms:
    - type: Create
      config:
        elements: [{{id: 1, text: "good"}}, {{id: 2, text: "bad"}}]
    - type: TextClassification
      config:
        model: {model}
        input: text
        {more}
    - type: LogForTesting
"""
    )
    return str(path)


@pytest.mark.slow
def test_a_misspelt_key_is_one_line(model: Callable[[str], str], tmp_path: Path) -> None:
    done = command("run", _yaml(tmp_path, model("bert-classification"), "top_n: 2"))
    assert done.returncode == 2
    assert "unknown parameter 'top_n'. Did you mean 'top_k'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_file_is_one_line() -> None:
    done = command("run", "nothing.yaml")
    assert done.returncode == 2
    assert "nothing.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_of_this_project_is_shown_whatever_it_was_raised_amid() -> None:
    for kind in (EngineError, ElementError, ModelLoadError):
        error = kind("no weights")
        error.__context__ = KeyError("handled when it was raised")
        assert messages.message(error) == "no weights"


def test_the_help_says_that_a_job_may_not_be_waited_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "or it was submitted without waiting for it (--no_wait_until_finish) 1 the job" in said


def test_a_small_job_runs(model: Callable[[str], str], tmp_path: Path) -> None:
    done = command("run", _yaml(tmp_path, model("bert-classification")))
    assert done.returncode == 0, done.stderr
    assert "2 rows in" in done.stdout


MODULE = """
import transformers


def post(outputs) -> float:
    return float(outputs["logits"].max())


class Mine(transformers.TextClassificationPipeline):
    pass
"""


def _failing_job(folder: Path, model: str, *, fails: bool, options: str) -> str:
    """A job of one text, or of one that is none; its failed rows go to sinks of three kinds."""
    path = folder / "failing.yaml"
    (folder / "beside_the_file.py").write_text(MODULE)
    path.write_text(
        f"""
pipeline:
  transforms:
    - type: Create
      name: Read
      config:
        elements: [{{id: 1, text: "good"}}, {{id: 7, text: {"null" if fails else "bad"}}}]
    - type: {"CustomPipeline" if "pipeline_class" in options else "TextClassification"}
      name: Look
      input: Read
      config: {{model: {model}, input: text, {options}, error_handling: {{output: failed}}}}
    - {{type: WriteToParquet, name: Rows, input: Look, config: {{path: {folder}/out/rows}}}}
    - {{type: WriteToJson, name: J, input: Look.failed, config: {{path: {folder}/out/failed.json}}}}
    - {{type: WriteToCsv, name: C, input: Look.failed, config: {{path: {folder}/out/failed.csv}}}}
    - {{type: WriteToParquet, name: P, input: Look.failed, config: {{path: {folder}/out/bad}}}}
"""
    )
    return str(path)


@pytest.mark.slow
def test_failed_rows_have_a_status_of_their_own(
    model: Callable[[str], str], tmp_path: Path
) -> None:
    """And the report names the files of this run: not an earlier one's, nor another sink's."""
    out = tmp_path / "out"
    out.mkdir()
    for name in ("rows-00000-of-00009", "rows.old", "failed-notes.json"):
        (out / name).write_bytes(b"\xff not a file of this job")
    directory = model("bert-classification")
    file = _failing_job(
        tmp_path, directory, fails=True, options="postprocess: beside_the_file.post"
    )
    done = command("run", file)
    assert done.returncode == 3, done.stderr
    assert "2 rows in" in done.stdout
    assert "1 of them failed" in done.stdout
    assert "failed in Look: 1" in done.stdout
    reason = "TypeError: column 'text': text must be a string, got None"
    assert done.stdout.count(f"  1 x {reason}") == 1
    wrote = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("wrote")]
    shard = "-00000-of-00001"
    names = (f"rows{shard}", f"failed{shard}.json", f"failed{shard}.csv", f"bad{shard}")
    assert wrote == [f"{out}/{name}" for name in names]
    assert not list(out.glob(".temp*"))
    assert "more" not in done.stdout
    assert re.search(r'\{"inference": [^,]*, "id": 1, "text": "good"\}', done.stdout)
    (failed,) = map(json.loads, Path(wrote[1]).read_text().splitlines())
    assert failed["element"] == {"id": 7, "text": None}
    assert "the job is done, but" not in done.stderr


@pytest.mark.slow
def test_modules_beside_the_file_in_other_processes(
    model: Callable[[str], str], tmp_path: Path
) -> None:
    workers = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    options = "task: text-classification, pipeline_class: beside_the_file.Mine"
    directory = model("bert-classification")
    done = command("run", _failing_job(tmp_path, directory, fails=True, options=options), *workers)
    assert done.returncode == 3, done.stderr
    assert "failed in Look: 1" in done.stdout
    # Messages, which quote the data, are in the file of failed rows, and not in metrics.
    reason = done.stdout.partition("failed in Look: 1\n")[2].splitlines()[0]
    assert reason.startswith("  1 x ValueError: ")
    assert "INFO" not in done.stderr
    assert f"wrote {tmp_path}/out/rows-0000" in done.stdout
    options = "postprocess: beside_the_file.post"
    done = command("run", _failing_job(tmp_path, directory, fails=False, options=options), *workers)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_job_in_other_processes_is_counted_too(
    model: Callable[[str], str], tmp_path: Path
) -> None:
    workers = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    done = command("run", _yaml(tmp_path, model("bert-classification")), *workers)
    assert done.returncode == 0, done.stderr
    assert "2 inferences in" in done.stdout
    assert "none failed" in done.stdout
