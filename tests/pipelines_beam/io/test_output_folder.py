"""The output: files appear whole or not at all, on stores that rename and on those that do not."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem
from support.stores import SlowFileSystem

from pipelines_beam.io.output import Output, OutputError, as_parquet, is_shard

Make = Callable[[], Output]


@pytest.fixture(params=["local", "renamed", "memory"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Output:
    assert SlowFileSystem.protocol == "slow"  # it is registered: a store of its own
    path = {"local": f"{tmp_path}/out", "renamed": f"slow://{tmp_path}/out"}
    return Output(path.get(request.param, f"memory://{tmp_path}/out"))


def test_files_are_written_whole_and_replaced(output: Output) -> None:
    assert output.names() == []
    assert not output.exists("part-1.parquet")
    for data in (b"one", b"two"):
        output.write("part-1.parquet", data)
        output.write("_failures/part-1.parquet", data)
        assert output.read("part-1.parquet") == data
    assert output.exists("part-1.parquet")
    assert {"part-1.parquet", "_failures"} <= set(output.names())
    assert output.names("_failures") == ["part-1.parquet"]
    assert output.names("_job/temporary") == []
    with pytest.raises(FileNotFoundError):
        output.read("part-2.parquet")


def test_only_what_jobs_have_written_is_cleared(output: Output) -> None:
    for name in ("part-1.parquet", "_job/job.json", "_failures/part-1.parquet", "notes.txt"):
        output.write(name, b"x")
    output.clear()
    assert output.names() == ["notes.txt"]


def test_what_killed_workers_have_left_is_removed(output: Output) -> None:
    output.write("_job/temporary/abc", b"half of")
    output.clean()
    assert output.names("_job/temporary") == []
    output.write("part-1.parquet", b"x")
    output.clean()
    assert output.exists("part-1.parquet")


@pytest.mark.parametrize("failures", [1, 5])
def test_a_store_that_fails_once_is_asked_again(
    failures: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves: list[Any] = []
    move = LocalFileSystem.mv

    def fails(self: Any, *args: Any, **kwargs: Any) -> None:
        moves.append(args)
        if len(moves) <= failures:
            raise OSError("503")
        move(self, *args, **kwargs)

    monkeypatch.setattr(LocalFileSystem, "mv", fails)
    output = Output(f"slow://{tmp_path}/out")
    if failures == 1:
        output.write("part-1.parquet", b"x")
        assert output.read("part-1.parquet") == b"x"
    else:
        with pytest.raises(OutputError, match=r"cannot write to .*part-1.parquet: OSError: 503"):
            output.write("part-1.parquet", b"x")
        assert not output.exists("part-1.parquet")
    assert output.names("_job/temporary") == []


def test_a_table_without_rows_is_a_file_without_row_groups() -> None:
    """`datasets` cannot read a row group that is empty."""
    empty = pa.table({"text": pa.array([], pa.string())})
    file = pq.ParquetFile(io.BytesIO(as_parquet(empty)))
    assert file.num_row_groups == 0
    assert file.read().equals(empty)


def test_it_is_sent_to_workers() -> None:
    fsspec.filesystem("memory").pipe_file("/sent/part-1.parquet", b"x")
    assert pickle.loads(pickle.dumps(Output("memory://sent/"))).read("part-1.parquet") == b"x"
    assert is_shard("part-1.parquet")
    assert not is_shard("parts.parquet")
