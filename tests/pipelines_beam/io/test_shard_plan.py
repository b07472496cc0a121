"""Plans: names of shards, what is done, and what it costs to know it for a billion rows."""

from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines_beam.io.files import InputFile
from pipelines_beam.io.output import Output
from pipelines_beam.io.pieces import Piece
from pipelines_beam.io.plan import Plan, PlanError, plans, read_together

FILES = [InputFile(f"/in/{i}.parquet", 100 + i, f"etag-{i}") for i in range(3)]


def plan(job: str = "job", number: int = 0) -> Plan:
    """Two row groups of four shards in each of three files."""
    pieces = [(file, Piece(i * 10, i * 10 + 10, i // 2, 10)) for file in FILES for i in range(4)]
    return Plan.of(job, number, [[each] for each in pieces])


def test_the_same_job_and_files_have_the_same_names() -> None:
    assert plan().name == plan().name
    assert len({plan().name, plan("other").name, plan(number=1).name}) == 3
    changed = Plan.of("job", 0, [[(InputFile("/in/0.parquet", 1, "other"), Piece(0, 1, 0, 1))]])
    assert changed.name != Plan.of("job", 0, [[(FILES[0], Piece(0, 1, 0, 1))]]).name


def test_what_is_written_is_done() -> None:
    some = plan()
    names = [
        some.shard_name(3),
        some.shard_name(11),
        "_job",
        "part-000-aaaaaaaaaaaa-0000001.parquet",
    ]
    done = some.is_done(names)
    assert np.flatnonzero(done).tolist() == [3, 11]
    left = [shard for each in some.segments(done) for shard in some.shards(each.ranges)]
    assert [shard.name for shard in left] == [
        some.shard_name(i) for i in range(12) if i not in (3, 11)
    ]
    assert left[3].files == (FILES[1],)
    assert left[3].range == (0, 10)


def test_neighbours_of_a_row_group_are_read_together() -> None:
    some = plan()
    whole = [
        shard for each in some.segments(np.zeros(12, bool)) for shard in some.shards(each.ranges)
    ]
    assert [len(each) for each in read_together(whole)] == [2] * 6


def test_many_holes_make_small_segments() -> None:
    pieces = ([(FILES[0], Piece(i, i + 1, i, 1))] for i in range(25_000))
    some = Plan.of("job", 0, pieces)
    for done in (np.arange(25_000) % 2 == 0, np.zeros(25_000, bool)):
        segments = list(some.segments(done))
        numbers = [i for each in segments for a, b in each.ranges for i in range(a, b)]
        assert numbers == np.flatnonzero(~done).tolist()
        assert max(sum(b - a for a, b in each.ranges) for each in segments) <= 10_000
        assert max(len(each.ranges) for each in segments) <= 1000


def test_several_files_of_one_shard() -> None:
    some = Plan.of(
        "job",
        0,
        [[(file, Piece(0, 1, 0, 1)) for file in FILES[:2]], [(FILES[2], Piece(0, 1, 0, 1))]],
    )
    assert len(some) == 2
    (first, second) = some.shards([(0, 2)])
    assert first.files == tuple(FILES[:2])
    assert second.files == (FILES[2],)
    assert some.files() == set(FILES)
    assert some.lacks({FILES[0].uri, FILES[2].uri}).tolist() == [True, False]
    assert not some.lacks({file.uri for file in FILES}).any()


def test_plans_are_kept_beside_the_output(tmp_path: Path) -> None:
    output = Output(str(tmp_path))
    kept = [plan(), plan(number=1)]
    for each in reversed(kept):
        each.write(output)
    assert [(each.name, each.table) for each in plans(output)] == [
        (each.name, each.table) for each in kept
    ]
    plan("other", 1).write(output)
    with pytest.raises(PlanError, match="at the same time"):
        plans(output)


def test_a_billion_rows_are_planned_and_resumed_in_seconds(tmp_path: Path) -> None:
    """In shards of 10,000 rows of files of a million."""
    files = [InputFile(f"s3://bucket/folder/part-{i:05d}.parquet", 1, "etag") for i in range(1000)]
    pieces = (
        [(file, Piece(at, at + 10_000, at // 100_000, 10_000))]
        for file in files
        for at in range(0, 1_000_000, 10_000)
    )
    whole = Plan.of("job", 0, pieces)
    whole.write(Output(str(tmp_path)))
    names = [whole.shard_name(i) for i in range(len(whole)) if i % 10]
    start = time.process_time()  # what else the machine does is no matter
    (read,) = plans(Output(str(tmp_path)))
    left = sum(b - a for each in read.segments(read.is_done(names)) for a, b in each.ranges)
    assert time.process_time() - start < 5
    assert left == len(read) // 10 == 10_000
    assert read.table.nbytes < 20e6
    assert read.files() == set(files)


def test_a_plan_is_a_file_of_parquet(tmp_path: Path) -> None:
    plan().write(Output(str(tmp_path)))
    data = Output(str(tmp_path)).read(f"_job/plan-{plan().name}.parquet")
    assert pq.read_table(io.BytesIO(data))["uri"].to_pylist()[::4] == [each.uri for each in FILES]
