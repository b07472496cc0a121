"""Jobs that are killed with kill -9, again and again, and started again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import support.commands  # noqa: F401 - processes are forked from one that has the libraries
from apache_beam.options.pipeline_options import PipelineOptions
from support.runs import RUNNER
from support.texts import CORPUS

from pipelines_beam import TextClassification
from pipelines_beam.io import output, process_files

_processes = multiprocessing.get_context("forkserver")

#: The moments at which a job is killed: at which writing of a file, by the beginning of its name,
#: and whether when half of it is written, or after it. First: a plan without shards, a shard's
#: failures without its results, and half a shard.
FEW = [("_job/plan-", 1, "after"), ("_failures/", 1, "after"), ("part-", 2, "half")]
MOMENTS = [
    ("_job/job.json", 1, "half"),
    ("_job/job.json", 1, "after"),
    ("_job/plan-", 1, "half"),
    *FEW,
    ("_failures/", 1, "half"),
    ("part-", 1, "half"),
    ("part-", 2, "after"),
]


def job(folder: Path, model: str, out: str) -> dict[str, Any]:
    # One text a batch: else the last bits of scores depend on what shares a batch.
    task = TextClassification(model, input="text", truncation=True, batch_size=1, share="process")
    return {
        "files": str(folder / "in/*.parquet"),
        "task": task,
        "output": str(folder / out),
        "resume": True,
        "rows_per_shard": 2,
        "options": PipelineOptions([], runner=RUNNER),
    }


def killed(folder: Path, model: str, moment: tuple[str, int, str]) -> None:
    """Run the job, and be killed at that moment."""
    begin, count, when = moment
    seen = 0
    move_in = output.Output._move_in

    def dies(self: Any, temporary: str, path: str, data: bytes) -> None:
        nonlocal seen
        is_it = os.path.relpath(path, folder / "out").startswith(begin)
        seen += is_it
        if is_it and seen == count and when == "half":
            Path(temporary).write_bytes(data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        move_in(self, temporary, path, data)
        if is_it and seen == count:
            os.kill(os.getpid(), signal.SIGKILL)

    output.Output._move_in = dies  # type: ignore[method-assign]
    process_files(**job(folder, model, "out"))


def run(folder: Path, model: str) -> None:
    process_files(**job(folder, model, "out"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    texts = [None if i % 11 == 2 else text for i, text in enumerate(CORPUS)]
    for i in range(2):
        part = pa.table({"id": range(12), "text": texts[i * 12 : i * 12 + 12]})
        pq.write_table(part, tmp_path / f"in/{i}.parquet", row_group_size=7)
    return tmp_path


def shards(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*.parquet")
        if "temporary" not in path.parts
    }


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("part-*.parquet")}


@pytest.mark.parametrize("moments", [FEW, pytest.param(MOMENTS, marks=pytest.mark.slow)])
def test_a_job_that_is_killed_again_and_again_gives_what_an_undisturbed_one_gives(
    folder: Path, model: Any, moments: list[tuple[str, int, str]]
) -> None:
    name = model("bert-classification")
    process_files(**job(folder, name, "whole"))
    for moment in moments:
        before = times(folder / "out")
        process = _processes.Process(target=killed, args=(folder, name, moment))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL, moment
        assert before.items() <= times(folder / "out").items(), "a shard is computed twice"
    assert len(times(folder / "out")) < 10
    process_files(**job(folder, name, "out"))
    assert shards(folder / "out") == shards(folder / "whole")
    assert len(times(folder / "out")) == 12
    assert not list((folder / "out/_job/temporary").glob("*"))


@pytest.mark.slow
def test_a_job_that_is_killed_at_any_time(folder: Path, model: Any) -> None:
    """As often as it takes to be done; each time it lives a little longer."""
    name = model("bert-classification")
    process_files(**job(folder, name, "whole"))
    for i in range(30):
        process = _processes.Process(target=run, args=(folder, name))
        process.start()
        time.sleep(0.2 + 0.1 * i)
        is_over = process.exitcode == 0
        process.kill()
        process.join()
        if is_over:
            break
    process_files(**job(folder, name, "out"))
    assert shards(folder / "out") == shards(folder / "whole")
