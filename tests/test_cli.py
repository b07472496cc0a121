"""The command line and Beam YAML, as a person uses them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from models import CORPUS

CONFIGS = Path(__file__).parent.parent / "configs"


def command(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines_beam", *args],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_quickstart_shows_which_texts_are_alike(tmp_path: Path) -> None:
    rows = [{"name": f"n{i}", "text": text} for i, text in enumerate(CORPUS)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    done = command(
        "run",
        str(CONFIGS / "quickstart.yaml"),
        f"--set=input={tmp_path / 'in.parquet'}",
        f"--set=output={tmp_path / 'out'}",
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


def test_a_small_job_runs(model: Callable[[str], str], tmp_path: Path) -> None:
    done = command("run", _yaml(tmp_path, model("bert-classification")))
    assert done.returncode == 0, done.stderr
    assert "2 rows in" in done.stdout


@pytest.mark.slow
def test_a_job_in_other_processes_is_counted_too(
    model: Callable[[str], str], tmp_path: Path
) -> None:
    workers = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    done = command("run", _yaml(tmp_path, model("bert-classification")), *workers)
    assert done.returncode == 0, done.stderr
    assert "2 inferences in" in done.stdout
    assert "none failed" in done.stdout
