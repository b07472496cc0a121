"""Jobs over files whose workers are of a kind: hints on the steps that compute and write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.graph import hinted_steps
from support.runs import RUNNER
from support.texts import CORPUS

from pipelines_beam import TextClassification
from pipelines_beam.io import ProcessFiles, process_files
from pipelines_beam.io.retry import retry_failures

Model = Callable[[str], str]

GPU = "type:nvidia-l4;count:1"
#: The first step, and those that have no part in computing.
ELSEWHERE = ("/Plan", "/Shards", "/Spread", "/FailureRows")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [{"id": i, "text": None if i == 3 else CORPUS[i]} for i in range(8)]
    (tmp_path / "in").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in/a.parquet")
    return tmp_path


def classifier(model: Model, **options: Any) -> TextClassification:
    name = model("bert-classification")
    return TextClassification(name, input="text", truncation=True, batch_size=1, **options)


def test_files_are_the_same(folder: Path, model: Model) -> None:
    options: dict[str, Any] = {"rows_per_shard": 3}
    pattern = f"{folder}/in/*.parquet"
    placed = classifier(model, accelerator=GPU, min_ram="1GB")
    found = process_files(pattern, placed, f"{folder}/placed", **options)
    expected = process_files(pattern, classifier(model), f"{folder}/plain", **options)
    for one, other in ((found.files, expected.files), (found.failures, expected.failures)):
        assert [pq.read_table(path) for path in one] == [pq.read_table(path) for path in other]
    assert len(found.files) == 3
    assert len(found.failures) == 1
    again = process_files(pattern, classifier(model), f"{folder}/placed", resume=True, **options)
    assert (again.skipped, again.written) == (3, 0)  # workers do not decide results
    assert retry_failures(placed, f"{folder}/placed").failed == 1


def test_hints_are_on_all_steps_that_compute_and_write(folder: Path, model: Model) -> None:
    task = classifier(model, accelerator=GPU)
    cache = f"{folder}/cache"
    p = beam.Pipeline(RUNNER)
    _ = p | ProcessFiles(
        f"{folder}/in/*", task, f"{folder}/out", cache=cache, audit=0.5, dedupe="job"
    )
    graph = p.to_runner_api()
    hinted = hinted_steps(graph)
    steps = [each.unique_name for each in graph.components.transforms.values()]
    for name in ("Read", "FromCache", "ToCache", "Audit", "WriteFailures", "WriteResults"):
        assert any(f"ProcessFiles/{name}" in each for each in hinted), name
    assert any("/Tables/Run" in each for each in hinted)
    assert not [each for each in hinted if any(f"ProcessFiles{x}" in each for x in ELSEWHERE)]
    assert any("ProcessFiles/Spread" in each for each in steps)


def test_results_that_would_part_from_failures_are_refused(folder: Path, model: Model) -> None:
    task = classifier(model, isolate=True)
    with pytest.raises(ValueError, match="isolate would part the results of a file"):
        ProcessFiles(f"{folder}/in/*", task, f"{folder}/out")
    with pytest.raises(ValueError, match="isolate would part the results of a file"):
        retry_failures(task, f"{folder}/out")
