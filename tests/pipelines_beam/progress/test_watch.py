"""How far a job is, by all that can be known of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines_beam.io.files import InputFile
from pipelines_beam.io.job import Job
from pipelines_beam.io.output import Output
from pipelines_beam.io.pieces import Piece
from pipelines_beam.io.plan import Plan
from pipelines_beam.progress.watch import Watch
from transforms.stages import metrics


@pytest.fixture(autouse=True)
def _counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_counts", metrics.Counts())


def job(folder: Path, format: str = "parquet") -> Job:
    """A job of ten shards with 100 rows each, of which two are written."""
    file = InputFile("/in.parquet", 1, "etag=1")
    plan = Plan.of("job", 0, [[(file, Piece(i * 100, i * 100 + 100, 0, 100))] for i in range(10)])
    for i in range(2):
        write(folder, plan, i)
    return Job(
        output=Output(str(folder)),
        segments=(),
        shards=10,
        done=2,
        rows_done=200,
        plans=(plan,),
        lost=(np.zeros(10, bool),),
        format=format,
    )


def write(folder: Path, plan: Plan, shard: int) -> None:
    (folder / plan.shard_name(shard)).write_bytes(b"")


def watch(folder: Path, jobs: list[Job], **options: Any) -> Watch:
    (folder / "counts").mkdir(exist_ok=True)
    return Watch(jobs, str(folder / "counts"), **options)


def test_rows_of_other_machines_are_seen_in_a_folder_that_they_can_reach(tmp_path: Path) -> None:
    unseen = watch(tmp_path, [], is_local=False)
    assert not unseen.snapshot().is_seen
    shared = watch(tmp_path, [], is_local=False, is_shared=True)
    assert shared.snapshot().is_seen
    (tmp_path / "counts" / "host-1.json").write_text(json.dumps(asdict(metrics.Counts(answered=4))))
    assert shared.snapshot().done == 0  # it has just looked
    assert shared.snapshot(last=True).done == 4


def test_rows_of_files_that_are_written_count(tmp_path: Path) -> None:
    """Wherever the workers are."""
    resumed = job(tmp_path)
    write(tmp_path, resumed.plans[0], 7)
    seen = watch(tmp_path, [resumed]).snapshot()
    assert (seen.done, seen.computed, seen.total, seen.is_about) == (300, 100, 1000, False)
    assert seen.share == 0.3


def test_rows_count_before_their_file_is_written(tmp_path: Path) -> None:
    watched = watch(tmp_path, [job(tmp_path)])
    assert watched.snapshot().is_loading
    metrics.counts().answered = 30
    metrics.counts().failed = 2
    seen = watched.snapshot()
    assert (seen.done, seen.failed, seen.is_loading) == (232, 2, False)


def test_rows_that_fail_at_once_tell_nothing_of_the_rate(tmp_path: Path) -> None:
    watched = watch(tmp_path, [job(tmp_path)])
    metrics.counts().failed = 20
    seen = watched.snapshot()
    assert (seen.done, seen.failed, seen.is_loading, seen.rate) == (220, 20, True, None)


def test_counts_of_worker_processes_are_added(tmp_path: Path) -> None:
    watched = watch(tmp_path, [job(tmp_path)])
    theirs = metrics.Counts(
        answered=40, batches=4, rows=48, tokens=90, padded=100, busy=3.0, idle=1.0
    )
    for pid in (1, 2):
        (tmp_path / f"counts/{pid}.json").write_text(json.dumps(asdict(theirs)))
    metrics.counts().answered = 10
    seen = watched.snapshot()
    assert (seen.done, seen.mean_batch, seen.busy) == (290, 12.0, 75.0)
    assert seen.padding == pytest.approx(10.0)


def test_rows_of_text_are_estimated(tmp_path: Path) -> None:
    assert watch(tmp_path, [job(tmp_path, "jsonl")]).snapshot().is_about


def test_a_total_of_other_steps_is_known_or_is_none(tmp_path: Path) -> None:
    metrics.counts().answered = 5
    watched = watch(tmp_path, [], reads=lambda: 20)
    assert watched.snapshot().total is None  # it is not found yet
    watched.find_total()
    assert watched.snapshot().total == 20
    unknown = watch(tmp_path, [job(tmp_path)], reads=lambda: None)
    unknown.find_total()
    assert unknown.snapshot().total is None
    assert unknown.snapshot().done == 205


def test_what_cannot_be_asked_keeps_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Any, folder: str = "") -> list[str]:
        raise OSError("the store is away")

    watched = watch(tmp_path, [job(tmp_path)])
    monkeypatch.setattr(Output, "names", fails)
    assert watched.snapshot().done == 200


def test_workers_elsewhere_are_not_said_to_load_a_model(tmp_path: Path) -> None:
    assert not watch(tmp_path, [], reads=lambda: None, is_local=False).snapshot().is_seen
    assert watch(tmp_path, [job(tmp_path)], is_local=False).snapshot().is_seen
