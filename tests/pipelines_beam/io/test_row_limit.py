"""Jobs that read only the first rows."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from support.pictures import picture
from support.runs import RUNNER

from pipelines_beam import TextClassification
from pipelines_beam.io import JobChangedError, process_files
from pipelines_beam.io.files import listed
from pipelines_beam.io.formats import FORMATS, Parquet
from pipelines_beam.io.limit import first_rows
from pipelines_beam.io.pieces import ShardSize
from pipelines_beam.io.prepare import prepare
from pipelines_beam.io.settings import Settings

SIZE = ShardSize(4, 10**6)


def first(folder: Path, format: str, limit: int, size: ShardSize = SIZE) -> list[Any]:
    """The rows that a job with a limit reads, as its workers read them."""
    files = listed(str(folder))
    schema = FORMATS[format].schema(files[0])
    rows = []
    for file, piece in first_rows(files, FORMATS[format], size, schema, limit):
        table = next(FORMATS[format].tables([file], [(piece.start, piece.stop)], schema))
        rows += table.slice(0, piece.rows).to_pylist()
    return rows


def write(folder: Path, format: str) -> list[dict[str, int]]:
    """Two files with ten rows each; the rows."""
    rows = [{"n": i} for i in range(20)]
    for k in range(2):
        part = rows[k * 10 : k * 10 + 10]
        lines = "".join(f"{json.dumps(row)}\n" for row in part)
        if format == "parquet":
            pq.write_table(pa.Table.from_pylist(part), folder / f"{k}.parquet", row_group_size=3)
        elif format == "gzip":
            (folder / f"{k}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
        elif format == "jsonl":
            (folder / f"{k}.jsonl").write_text(lines)
        else:
            (folder / f"{k}.csv").write_text("n\n" + "".join(f"{row['n']}\n" for row in part))
    return rows


@pytest.mark.parametrize("limit", [1, 4, 7, 10, 13, 20, 100])
@pytest.mark.parametrize("format", ["parquet", "jsonl", "gzip", "csv"])
def test_the_first_rows_are_read(format: str, limit: int, tmp_path: Path) -> None:
    rows = write(tmp_path, format)
    assert first(tmp_path, "jsonl" if format == "gzip" else format, limit) == rows[:limit]


def test_media_are_rows(tmp_path: Path) -> None:
    for name in "abc":
        picture(name, 8, 8).save(tmp_path / f"{name}.png")
    assert [row["name"] for row in first(tmp_path, "media", 2)] == ["a.png", "b.png"]


def test_files_behind_the_limit_are_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "parquet")
    seen = []
    pieces = Parquet.pieces

    def noted(self: Any, file: Any, *more: Any) -> Any:
        seen.append(Path(file.uri).name)
        return pieces(self, file, *more)

    monkeypatch.setattr(Parquet, "pieces", noted)
    assert len(first(tmp_path, "parquet", 5)) == 5
    assert seen == ["0.parquet"]


def settings(folder: Path, model: str, **options: Any) -> dict[str, Any]:
    task = TextClassification(model, input="text", truncation=True)
    return {"files": str(folder / "in"), "task": task, "output": str(folder / "out"), **options}


def test_a_job_with_a_limit_is_a_job_of_its_own(tmp_path: Path, model: Any) -> None:
    name = model("bert-classification")
    (tmp_path / "in").mkdir()
    lines = "".join(f'{{"id": {i}, "text": "good"}}\n' for i in range(9))
    (tmp_path / "in/a.jsonl").write_text(lines)
    options = PipelineOptions([], runner=RUNNER)
    limited = settings(tmp_path, name, limit=5, rows_per_shard=2)
    done = process_files(**limited, options=options)
    ids = [i for path in done.files for i in pq.read_table(path)["id"].to_pylist()]
    assert sorted(ids) == list(range(5))
    (tmp_path / "in/b.jsonl").write_text(lines)
    job = prepare(Settings(**limited, resume=True))
    assert (job.shards, job.done, job.rows, job.segments) == (done.written, done.written, 5, ())
    with pytest.raises(JobChangedError, match="limit was 5, and is not given"):
        prepare(Settings(**settings(tmp_path, name, resume=True)))
    with pytest.raises(ValueError, match="limit must be a positive integer, got 0"):
        Settings(**settings(tmp_path, name, limit=0))
