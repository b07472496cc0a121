"""Reasons in files of failed rows."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines_beam import failure_files

ROWS = [
    {"error": "TypeError", "message": "no text"},
    {"error": "TypeError", "message": "no text"},
    {"error": "ValueError", "message": "odd"},
]


def test_reasons_are_read_of_files_of_every_kind(tmp_path: Path) -> None:
    (tmp_path / "json").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    lines = [f"{row['error']},{row['message']}\n" for row in ROWS]
    (tmp_path / "csv").write_text("error,message\n" + "".join(lines))
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "parquet")
    for kind in ("Json", "Csv", "Parquet"):
        files = [str(tmp_path / kind.lower()), str(tmp_path / "on another machine")]
        found = failure_files.reasons(f"WriteTo{kind}", files)
        assert dict(found) == {"TypeError: no text": 2, "ValueError: odd": 1}


def test_beams_own_failure_rows_have_a_message(tmp_path: Path) -> None:
    pq.write_table(pa.table({"msg": ["KeyError('a')"], "stack": ["…"]}), tmp_path / "p")
    found = failure_files.reasons("WriteToParquet", [str(tmp_path / "p")])
    assert dict(found) == {"KeyError('a')": 1}
