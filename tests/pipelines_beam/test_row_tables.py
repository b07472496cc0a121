"""Jobs of Beam YAML: the files are the same whether rows or tables go through the steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from apache_beam.yaml.yaml_transform import SafeLineLoader
from support.texts import CORPUS

from pipelines_beam import cli, row_tables
from pipelines_beam.commands import statuses
from pipelines_beam.provider import expand
from pipelines_beam.yaml_steps import yaml_steps

Model = Callable[[str], str]

COUNT = 12
COLUMNS = {
    "id": pa.array(range(COUNT), pa.int8()),
    "unsigned": pa.array(range(COUNT), pa.uint64()),
    "text": pa.array([None if i == 3 else CORPUS[i] for i in range(COUNT)], pa.large_string()),
    "kind": pa.array(["x", "y", None] * 4).dictionary_encode(),
    "nothing": pa.nulls(COUNT),
    "half": pa.array([0.5] * COUNT, pa.float16()),
    "time": pa.array(range(COUNT), pa.timestamp("ns", "UTC")),
    "fixed": pa.array([[1, 2]] * COUNT, pa.list_(pa.int64(), 2)),
    "photo": pa.array([{"bytes": b"x", "path": None}, None] * 6),
    "deep": pa.array([{"a": {"b": [{"c": i}]}} for i in range(COUNT)]),
    "counts": pa.array([[("a", 1)], []] * 6, pa.map_(pa.string(), pa.int64())),
}


def steps(folder: Path, model: Model) -> list[dict[str, Any]]:
    """Two tasks after each other, and a sink for the failures of each."""
    classifier = {"model": model("bert-classification"), "input": "text", "truncation": True}
    return [
        {"type": "ReadFromParquet", "config": {"path": str(folder / "in-*.parquet")}},
        {
            "type": "TextClassification",
            "name": "First",
            "input": "ReadFromParquet",
            "config": {**classifier, "error_handling": {"output": "failed"}},
        },
        {
            "type": "FeatureExtraction",
            "input": "First",
            "config": {"model": model("bert-encoder"), "input": "text", "pooling": "mean"},
        },
        {
            "type": "WriteToParquet",
            "input": "FeatureExtraction",
            "config": {"path": str(folder / "out" / "part"), "codec": "zstd"},
        },
        {
            "type": "WriteToJson",
            "input": "First.failed",
            "config": {"path": str(folder / "failed" / "part")},
        },
    ]


def run(folder: Path, transforms: list[dict[str, Any]]) -> None:
    job = folder / "job.json"  # YAML, too
    job.write_text(json.dumps({"pipeline": {"transforms": transforms}}))
    assert cli.main(["run", str(job)]) == statuses.ROWS_FAILED


def inputs(folder: Path) -> None:
    folder.mkdir()
    table = pa.table(COLUMNS)
    pq.write_table(table.slice(0, 7), folder / "in-1.parquet", row_group_size=4)
    reordered = table.slice(7).select([*reversed(table.schema.names)])
    pq.write_table(reordered, folder / "in-2.parquet")


def lines(folder: Path) -> list[Any]:
    texts = [each.read_text().splitlines() for each in sorted(folder.glob("part*"))]
    rows = [json.loads(line) for each in texts for line in each]
    for row in rows:
        row.pop("traceback")
    return rows


@pytest.mark.slow
def test_files_are_the_same_from_rows_and_from_tables(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    for way in ("tables", "rows"):
        folder = tmp_path / way
        inputs(folder)
        with monkeypatch.context() as patched:
            if way == "rows":
                patched.setattr(row_tables, "tables_of", lambda rows: None)
            run(folder, steps(folder, model))
        table = pa.concat_tables(map(pq.read_table, sorted((folder / "out").glob("*"))))
        found[way] = table.sort_by("id"), lines(folder / "failed")

    (tables, failed), (rows, failed_of_rows) = found["tables"], found["rows"]
    assert tables.schema.equals(rows.schema, check_metadata=True)
    assert len(tables) == COUNT - 1
    exact = [name for name in rows.schema.names if name not in ("score", "embedding")]
    assert tables.select(exact).to_pylist() == rows.select(exact).to_pylist()
    for name in ("score", "embedding"):
        assert _flat(tables[name]) == pytest.approx(_flat(rows[name]), abs=1e-5)
    assert failed == failed_of_rows
    assert [row["element"]["id"] for row in failed] == [3]


def _flat(column: pa.ChunkedArray) -> list[float]:
    kind = column.type
    column = column.combine_chunks()
    return list((column.flatten() if pa.types.is_list(kind) else column).to_pylist())


def built(transforms: list[dict[str, Any]]) -> list[str]:
    """The names of the steps of a job's pipeline."""
    pipeline = beam.Pipeline()
    text = json.dumps({"pipeline": {"transforms": transforms}})
    expand(pipeline, yaml.load(text, Loader=SafeLineLoader), "job.yaml")
    assert list(yaml_steps(pipeline))
    return [step.unique_name for step in pipeline.to_runner_api().components.transforms.values()]


def test_no_step_makes_rows_that_nobody_reads(model: Model, tmp_path: Path) -> None:
    inputs(tmp_path / "job")
    own = steps(tmp_path / "job", model)
    names = built(own)
    assert not any(name.endswith("/Rows") for name in names)
    assert any(name.endswith("/Tables/Run/ParDo(TableFn)") for name in names), names

    own.append({"type": "LogForTesting", "input": "First"})
    names = built(own)
    assert [name for name in names if name.endswith("/Rows")] == ["First/Rows"]


@pytest.mark.parametrize(
    "between",
    [
        {"type": "Filter", "config": {"language": "python", "keep": "id > 2"}},
        {"type": "MapToFields", "config": {"fields": {"id": "id", "text": "text"}}},
    ],
)
def test_other_steps_have_rows(between: dict[str, Any], model: Model, tmp_path: Path) -> None:
    inputs(tmp_path / "job")
    read, task, *_ = steps(tmp_path / "job", model)
    names = built(
        [
            read,
            {**between, "name": "Between", "input": "ReadFromParquet"},
            {**task, "input": "Between", "config": {**task["config"]}},
            {"type": "WriteToJson", "input": "First.failed", "config": {"path": "x"}},
        ]
    )
    assert not any("TableFn" in name for name in names)
    assert any(name.endswith("ReadFromParquet/Rows") for name in names)
