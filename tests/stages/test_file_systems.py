"""Beam's own sources and sinks on the file systems of fsspec."""

from __future__ import annotations

import functools
import gzip
import http.server
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystem import BeamIOError, FileSystem
from apache_beam.io.filesystems import FileSystems
from support import sink
from support.jobs import job
from support.runs import RUNNER
from support.servers import serving

from pipelines_beam import cli
from pipelines_beam.commands import statuses
from transforms.stages import file_systems


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def folder() -> Iterator[str]:
    """A URI in memory."""
    name = f"memory://{uuid.uuid4().hex}"
    yield name
    system, path = fsspec.url_to_fs(name)
    if system.exists(path):
        system.rm(path, recursive=True)


def put(uri: str, data: bytes) -> str:
    with fsspec.open(uri, "wb") as file:
        file.write(data)
    return uri


def read(transform: beam.PTransform) -> list[Any]:
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        p | transform | beam.Map(sink.collect)
    return sorted(sink.collected)


def test_text_is_read_by_patterns_compressed_or_not(folder: str) -> None:
    put(f"{folder}/a.txt", b"one\ntwo\n")
    put(f"{folder}/b.txt", b"three\n")
    put(f"{folder}/c.txt.gz", gzip.compress(b"four\n"))
    put(f"{folder}/other.csv", b"no")
    put(f"{folder}/deep/d.txt", b"five\n")
    assert read(beam.io.ReadFromText(f"{folder}/*.txt")) == ["one", "three", "two"]
    assert read(beam.io.ReadFromText(f"{folder}/?.txt")) == ["one", "three", "two"]
    assert read(beam.io.ReadFromText(f"{folder}/c.txt.gz")) == ["four"]
    assert read(beam.io.ReadFromText(f"{folder}/**/*.txt")) == ["five", "one", "three", "two"]


def test_parquet_is_written_and_read_again(folder: str) -> None:
    rows = [{"id": i} for i in range(10)]
    with beam.Pipeline(RUNNER) as p:
        made = p | beam.Create(rows, reshuffle=False)
        made | beam.io.WriteToParquet(f"{folder}/out/part", pa.schema([("id", pa.int64())]))
    system, path = fsspec.url_to_fs(folder)
    names = [each for each in system.find(path) if "temp" not in each.rsplit("/", 1)[-1]]
    assert names
    assert all("/out/part" in each for each in names)
    found = read(beam.io.ReadFromParquet(f"{folder}/out/part*") | beam.Map(lambda row: row["id"]))
    assert found == list(range(10))


def test_a_yaml_job_reads_and_writes(folder: str, tmp_path: Path) -> None:
    with fsspec.open(f"{folder}/in.parquet", "wb") as file:
        pq.write_table(pa.table({"id": [1, 2, 3]}), file)
    path = job(
        tmp_path,
        f"""
pipeline:
  type: chain
  transforms:
    - type: ReadFromParquet
      config: {{file_pattern: "{folder}/*.parquet"}}
    - type: WriteToParquet
      config: {{path: "{folder}/out/rows"}}
""",
    )
    assert cli.main(["run", path]) == statuses.DONE
    (written,) = FileSystems.match([f"{folder}/out/rows*"])[0].metadata_list
    with FileSystems.open(written.path) as file:
        assert pq.read_table(file)["id"].to_pylist() == [1, 2, 3]


def test_a_server_is_read(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    (tmp_path / "b.txt").write_text("three\n")
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    with serving(handler) as address:
        assert read(beam.io.ReadFromText(f"{address}/a.txt")) == ["one", "two"]
        assert read(beam.io.ReadFromText(f"{address}/a.txt?version=1")) == ["one", "two"]
        assert read(beam.io.ReadFromText(f"{address}/*.txt")) == ["one", "three", "two"]
        (found,) = FileSystems.match([f"{address}/a.txt"])[0].metadata_list
        assert (found.path, found.size_in_bytes) == (f"{address}/a.txt", 8)
        with pytest.raises(BeamIOError, match=f"cannot write to {address}/c.txt"):
            FileSystems.create(f"{address}/c.txt")


def test_files_are_moved_copied_and_removed(folder: str) -> None:
    put(f"{folder}/a", b"one")
    FileSystems.copy([f"{folder}/a"], [f"{folder}/b"])
    FileSystems.rename([f"{folder}/a"], [f"{folder}/c"])
    assert not FileSystems.exists(f"{folder}/a")
    assert (
        FileSystems.open(f"{folder}/b").read() == FileSystems.open(f"{folder}/c").read() == b"one"
    )
    assert FileSystems.checksum(f"{folder}/c") == "3"
    assert FileSystems.last_updated(f"{folder}/c") > 0
    FileSystems.delete([f"{folder}/b", f"{folder}/c"])
    assert FileSystems.match([f"{folder}/*"])[0].metadata_list == []


def test_names_are_joined_and_split() -> None:
    assert FileSystems.join("memory://a", "b", "c") == "memory://a/b/c"
    assert FileSystems.split("memory://a/b/c") == ("memory://a/b", "c")


@pytest.mark.parametrize(
    "act",
    [
        FileSystems.open,
        lambda uri: FileSystems.get_filesystem(uri).size(uri),
        lambda uri: FileSystems.delete([uri]),
        lambda uri: FileSystems.rename([uri], [f"{uri}2"]),
    ],
)
def test_errors_name_the_uri(folder: str, act: Any) -> None:
    with pytest.raises(BeamIOError, match=f"{folder}/none"):
        act(f"{folder}/none")


def test_every_scheme_has_one_class_and_those_of_beam_stay() -> None:
    schemes = [each.scheme() for each in FileSystem.get_all_subclasses()]
    assert len(set(schemes)) == len(schemes)
    assert {"hf", "http", "https", "memory", "ftp", "sftp", "webhdfs"} <= {*schemes}
    ours = [each for each in FileSystem.get_all_subclasses() if each.scheme() == "gs"]
    assert [each.__name__ for each in ours] == ["GCSFileSystem"] or "gs" in file_systems.SCHEMES
