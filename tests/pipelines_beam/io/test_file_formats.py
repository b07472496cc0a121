"""Files of each format: found, cut, read, and refused where they do not fit."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines_beam.io.files import InputChangedError, check_unchanged, file_at, listed
from pipelines_beam.io.formats import FORMATS, format_of
from pipelines_beam.io.pieces import ShardSize

ROWS: list[dict[str, Any]] = [
    {"id": i, "text": f'row {i}, with "quotes"\nand two lines é' if i % 3 else f"row {i}"}
    for i in range(40)
]


def parquet(path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=15)


def jsonl(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + lines())


def lines() -> bytes:
    return "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def zipped(path: Path) -> None:
    path.write_bytes(gzip.compress(lines()))


def separated(mark: str, packed: bool = False) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        written = io.StringIO(newline="")
        out = csv.DictWriter(written, ["id", "text"], delimiter=mark, lineterminator="\n")
        out.writeheader()
        out.writerows(ROWS)
        data = written.getvalue().encode()
        path.write_bytes(gzip.compress(data) if packed else b"\xef\xbb\xbf" + data)

    return write


WRITERS: dict[str, Callable[[Path], None]] = {
    "a.parquet": parquet,
    "a.jsonl": jsonl,
    "a.ndjson.gz": zipped,
    "a.csv": separated(","),
    "a.tsv": separated("\t"),
    "a.csv.gz": separated(",", packed=True),
}


def read(path: str, size: ShardSize, columns: list[str] | None = None) -> list[pa.Table]:
    """A file in its parts, those of a group in one go."""
    (file,) = listed(path)
    kind = FORMATS[format_of([file], None)]
    schema = kind.schema(file)
    if columns is not None:
        schema = pa.schema([schema.field(name) for name in columns])
    groups: dict[int, list[tuple[int, int]]] = {}
    for piece in kind.pieces(file, size, schema):
        groups.setdefault(piece.group, []).append((piece.start, piece.stop))
    found = [table for each in groups.values() for table in kind.tables([file], each, schema)]
    assert all(table.schema == schema for table in found)
    return found


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("size", [ShardSize(7, 10**9), ShardSize(100, 10**9), ShardSize(100, 90)])
def test_all_rows_are_read_once_and_in_order(name: str, size: ShardSize, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name)
    tables = read(str(tmp_path / name), size)
    assert [row for table in tables for row in table.to_pylist()] == ROWS
    if (size.rows == 100 and size.nbytes > 90) or name.endswith(".gz"):
        assert len(tables) == 1
    else:
        assert len(tables) > 4


@pytest.mark.parametrize("name", WRITERS)
def test_only_some_columns_are_read(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name)
    tables = read(str(tmp_path / name), ShardSize(9, 10**9), ["text"])
    assert [row for table in tables for row in table.to_pylist()] == [
        {"text": row["text"]} for row in ROWS
    ]


def test_parts_of_row_groups_that_are_left(tmp_path: Path) -> None:
    """Those before are decoded, and not given."""
    parquet(tmp_path / "a.parquet")
    (file,) = listed(str(tmp_path / "a.parquet"))
    schema = FORMATS["parquet"].schema(file)
    tables = list(FORMATS["parquet"].tables([file], [(18, 20), (28, 33), (39, 40)], schema))
    assert [table["id"].to_pylist() for table in tables] == [[18, 19], [28, 29, 30, 31, 32], [39]]


def test_lines_of_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\r\ntw\xffo\n\nfour\x0b still")
    tables = read(str(tmp_path / "a.txt"), ShardSize(1, 10**9))
    texts = [text for table in tables for text in table["text"].to_pylist()]
    assert texts == ["one", "tw\ufffdo", "", "four\x0b still"]
    (tmp_path / "a.txt").write_bytes(b"")
    assert read(str(tmp_path / "a.txt"), ShardSize(1, 10**9)) == []


def test_a_row_for_each_file_of_a_folder(tmp_path: Path) -> None:
    for name in ("b/two.PNG", "one.jpg", "_temporary/x.jpg", ".hidden/y.jpg", "b/_z.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    files = listed(str(tmp_path))
    assert format_of(files, None) == "media"
    kind = FORMATS["media"]
    (table,) = kind.tables(files, [(0, 1)], kind.schema(files[0]))
    assert table.to_pylist() == [
        {"path": str(tmp_path / name), "name": Path(name).name, "size": len(name)}
        for name in ("b/two.PNG", "one.jpg")
    ]


def test_types_of_json_are_those_of_json(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"time": "2020-01-01", "none": null, "in": [{"time": "2020-01-01 10:00:00"}]}\n'
        '{"time": "soon", "none": "x", "in": [{"time": "never"}], "new": 1}\n'
    )
    (table,) = read(str(tmp_path / "a.jsonl"), ShardSize(9, 10**9), ["time", "none", "in"])
    assert table.to_pylist()[1] == {"time": "soon", "none": "x", "in": [{"time": "never"}]}


def test_files_of_other_stores() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/store/a/1.jsonl", lines())
    memory.pipe_file("/store/a/2.jsonl", lines())
    files = listed(["memory://store/a/*.jsonl", "memory://store/a/1.jsonl"])
    assert [file.uri for file in files] == [
        "memory:///store/a/1.jsonl",
        "memory:///store/a/2.jsonl",
    ]
    assert listed("memory://store") == files
    tables = read("memory://store/a/1.jsonl", ShardSize(7, 10**9))
    assert [row for table in tables for row in table.to_pylist()] == ROWS


def test_a_file_that_changes_is_another_one(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet")
    (file,) = listed(str(tmp_path / "*.parquet"))
    check_unchanged(file)
    assert file == file_at(file.uri)
    os.utime(tmp_path / "a.parquet", (1, 1))
    with pytest.raises(InputChangedError, match=r"a\.parquet has changed"):
        check_unchanged(file)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"files: nothing matches '.*x\*'"):
        listed(str(tmp_path / "x*"))
    with pytest.raises(ValueError, match="files must be a path or URI"):
        listed("zip://a.csv::/b.zip")
    for name in ("a.parquet", "b.xyz", "c.csv", "d.jsonl"):
        (tmp_path / name).write_bytes(b"")
    one, other, empty, blank = listed(str(tmp_path / "*"))
    with pytest.raises(ValueError, match=r"b\.xyz does not tell its format: set format= to one of"):
        format_of([one, other], None)
    with pytest.raises(ValueError, match=r"a\.parquet is parquet, .*c\.csv is csv"):
        format_of([one, empty], None)
    with pytest.raises(ValueError, match=r"unknown format 'json'\. Did you mean 'jsonl'\?"):
        format_of([one], "json")
    with pytest.raises(ValueError, match=r"c\.csv has no header"):
        FORMATS["csv"].pieces(empty, ShardSize(1, 1), pa.schema([]))
    with pytest.raises(ValueError, match=r"d\.jsonl has no rows"):
        FORMATS["jsonl"].schema(blank)


def test_a_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet")
    separated(",")(tmp_path / "a.csv")
    separate, table = listed([str(tmp_path / "a.parquet"), str(tmp_path / "a.csv")])
    wanted = pa.schema([("id", pa.int64()), ("other", pa.string())])
    for kind, file in (("parquet", table), ("csv", separate)):
        with pytest.raises(ValueError, match=r"has no column 'other', .*: it has id, text"):
            FORMATS[kind].pieces(file, ShardSize(1, 1), wanted)
    wanted = pa.schema([("id", pa.list_(pa.string()))])
    with pytest.raises(ValueError, match=r"column 'id' has the type int64, and list<.*> in other"):
        FORMATS["parquet"].pieces(table, ShardSize(1, 1), wanted)
