"""What the report shows of the files that a job wrote: a few rows, in little memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines_beam import samples
from pipelines_beam.samples import clean

VECTOR = pa.list_(pa.float32())


def shown(tmp_path: Path, *tables: pa.Table, **options: Any) -> list[str]:
    """The sample of files with these tables."""
    paths = [str(tmp_path / f"{i}.parquet") for i in range(len(tables))]
    for path, table in zip(paths, tables, strict=True):
        pq.write_table(table, path, **options)
    return list(samples.lines(paths))


def test_rows_are_shown_on_a_line_each(tmp_path: Path) -> None:
    lines = shown(tmp_path, pa.table({"id": range(9), "text": ["a\x1b[31m\nb" + "c" * 500] * 9}))
    assert len(lines) == 3
    assert lines[0].startswith('  {"id": 0, "text": "a')
    assert all(len(line) <= 102 and line.isprintable() for line in lines)


def test_bytes_and_long_columns_are_named_only(tmp_path: Path) -> None:
    image = pa.array([{"bytes": b"x" * 100, "path": None}] * 2)
    table = pa.table(
        {"id": [1, 2], "image": image, "raw": [b"a", b"b"], "long": ["y" * 50_000] * 2}
    )
    assert shown(tmp_path, table, use_dictionary=False) == [
        '  {"id": 1}',
        '  {"id": 2}',
        "  not shown: image, raw, long",
    ]


def test_files_of_another_schema_and_without_rows(tmp_path: Path) -> None:
    empty = pa.table({"text": pa.array([], pa.string())})
    other = pa.table({"id": [5]})
    assert shown(tmp_path, empty, other, pa.table({"name": ["n"]})) == ['  {"id": 5}']
    assert shown(tmp_path, empty) == ["  no rows"]


@pytest.mark.parametrize("kind", [VECTOR, pa.large_list(pa.float32())])
def test_neighbours_of_whole_vectors_only(kind: pa.DataType, tmp_path: Path) -> None:
    """A vector that is missing, not a number or of another length is nobody's neighbour."""
    vectors = [[1, 0], None, [float("nan"), 1], [0, 1], [1], [1, 0.1], [None, 1], [0, 0], []]
    table = pa.table({"name": list("abcdefghi"), "v": pa.array(vectors, kind)})
    head, *lines = shown(tmp_path, table)
    assert head == "nearest neighbours:"
    assert {line.split()[-1] for line in lines} == set("adfh")
    at = lines.index("  d")
    assert lines[at + 1].split() == ["0.10", "f"]


def test_scores_are_no_vectors(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b"], "scores": [[0.5, 0.5], [0.9, 0.1]]})
    assert shown(tmp_path, table)[0] == '  {"text": "a", "scores": [0.5, 0.5]}'


def test_vectors_without_texts_or_all_empty(tmp_path: Path) -> None:
    table = pa.table({"name": ["a", "b"], "v": pa.array([None, []], VECTOR)})
    assert shown(tmp_path, table)[0] == '  {"name": "a", "v": null}'


def test_a_large_file_is_shown_in_little_memory(tmp_path: Path) -> None:
    """200,000 vectors of 384 numbers are 307 MB: a sample of them is read, and said to be one."""
    path = tmp_path / "large.parquet"
    schema = pa.schema([("name", pa.string()), ("v", VECTOR)])
    numbers = np.random.default_rng(0).standard_normal((20_000, 384), np.float32)
    offsets = pa.array(np.arange(0, numbers.size + 1, 384), pa.int32())
    vectors = pa.ListArray.from_arrays(offsets, pa.array(numbers.ravel()))
    names = pa.array([f"n{i}" for i in range(20_000)])
    with pq.ParquetWriter(path, schema, use_dictionary=False, compression="none") as writer:
        for _ in range(10):
            writer.write_table(pa.table([names, vectors], schema=schema))
    assert path.stat().st_size > 300_000_000
    script = (
        "import resource, sys; import pipelines_beam.samples as samples\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak(); print(*samples.lines(sys.argv[1:]), sep='\\n')\n"
        "print(peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=True
    )
    head, *_, grown = done.stdout.splitlines()
    assert head == "nearest neighbours, among the first 5,000 of 200,000 rows:"
    assert int(grown) * 1024 < 64_000_000


def test_text_for_a_terminal() -> None:
    assert clean("a\x1b]0;b\x07\u202ec\n d") == "a ]0;b c d"
    assert len(clean("x" * 10_000_000)) == 100
