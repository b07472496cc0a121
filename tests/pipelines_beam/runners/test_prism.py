"""Jobs of files on Prism: the same rows as on this machine's own runner."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.comparing import same
from support.jobs import job
from support.paths import CONFIGS
from support.texts import CORPUS

from pipelines_beam import cli
from pipelines_beam.commands import statuses

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("PRISM" not in os.environ, reason="`make prism` runs it"),
]

Model = Callable[[str], str]


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command puts the folder of its file there."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))


@pytest.fixture
def texts(tmp_path: Path) -> str:
    rows = [{"name": f"n{i}", "text": text} for i, text in enumerate([*CORPUS, None])]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet", row_group_size=4)
    return str(tmp_path / "in.parquet")


def run(file: Any, output: Path, *options: str) -> int:
    return cli.main(["run", str(file), f"--set=output={output}", *options])


def on_prism(file: Any, output: Path, *options: str) -> int:
    return run(file, output, "--on=prism", f"--prism_location={os.environ['PRISM']}", *options)


def rows(folder: Path) -> list[dict[str, Any]]:
    tables = [pq.read_table(path) for path in folder.glob("*.parquet*")]
    found: list[dict[str, Any]] = pa.concat_tables(tables).to_pylist()
    return sorted(found, key=lambda row: str(row["name"]))


@pytest.mark.parametrize("name", ["quickstart.yaml", "gpu_workers.yaml"])
def test_a_job_of_several_steps(name: str, model: Model, texts: str, tmp_path: Path) -> None:
    given = [f"--set=input={texts}"]
    if name != "quickstart.yaml":
        given.append(f"--set=model={model('bert-classification')}")
    assert run(CONFIGS / name, tmp_path / "here", *given) == statuses.ROWS_FAILED
    assert on_prism(CONFIGS / name, tmp_path / "there", *given) == statuses.ROWS_FAILED
    found = rows(tmp_path / "there")
    assert len(found) == len(CORPUS)
    assert same(found, rows(tmp_path / "here"))


def test_a_job_over_files_is_resumed(model: Model, texts: str, tmp_path: Path) -> None:
    file, output = CONFIGS / "sentiment.yaml", tmp_path / "out"
    given = [f"--set=files={texts}", f"--set=model={model('bert-classification')}"]
    assert on_prism(file, output, *given) == statuses.ROWS_FAILED
    (written,) = output.glob("part-*.parquet")
    before = rows(output)
    assert [row["name"] for row in before] == sorted(f"n{i}" for i in range(len(CORPUS)))
    written.unlink()
    assert on_prism(file, output, *given, "--resume") == statuses.ROWS_FAILED
    assert same(rows(output), before)
    (failed,) = pq.read_table(output / "_failures").to_pylist()
    assert failed["error"] == "TypeError"


def test_the_row_that_ends_a_job_is_named(
    model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"""
pipeline:
  type: chain
  transforms:
    - type: Create
      config: {{elements: [{{text: good}}, {{text: 7}}]}}
    - type: TextClassification
      config: {{model: {model("bert-classification")}, input: text}}
    - type: LogForTesting
"""
    options = ["--on=prism", f"--prism_location={os.environ['PRISM']}"]
    assert cli.main(["run", job(tmp_path, text), *options]) == statuses.FAILED
    said = capsys.readouterr().err
    assert "job.yaml: ElementError: text-classification: preprocess failed for the element" in said
    assert "text must be a string, got int 7" in said
    assert "Traceback" not in said
