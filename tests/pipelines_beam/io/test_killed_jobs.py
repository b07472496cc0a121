"""Jobs that are killed with kill -9, again and again, and started again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from support.runs import RUNNER
from support.texts import CORPUS

from pipelines_beam import TextClassification
from pipelines_beam.io import process_files
from pipelines_beam.io.output import Output

_processes = multiprocessing.get_context("forkserver")

#: The moments at which a job is killed: at which writing of a file, by the beginning of its name,
#: and whether when half of it is written, or after it.
MOMENTS = [
    ("_job/job.json", 1, "half"),
    ("_job/job.json", 1, "after"),
    ("_job/plan-", 1, "after"),
    ("_failures/", 1, "half"),
    ("_failures/", 1, "after"),  # its results are not there
    ("part-", 2, "half"),
    ("part-", 2, "after"),
]


class Killed(BaseException):
    """The end of a process, for those that share this one."""


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


def dying(folder: Path, moment: tuple[str, int, str], die: Callable[[], None]) -> Any:
    """What puts files in their places, up to that moment."""
    begin, count, when = moment
    move_in = Output._move_in
    seen = 0

    def move_in_or_die(self: Output, temporary: str, path: str, data: bytes) -> None:
        nonlocal seen
        is_it = os.path.relpath(path, folder / "out").startswith(begin)
        seen += is_it
        if seen == count and is_it and when == "half":
            Path(f"{temporary}-left").write_bytes(data[: len(data) // 2])
        elif seen < count or is_it:
            move_in(self, temporary, path, data)
        if seen >= count:  # then and ever after
            die()

    return move_in_or_die


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stop() -> None:
    raise Killed("killed")


def killed(folder: Path, model: str, moment: tuple[str, int, str]) -> None:
    """Run the job, and be killed at that moment."""
    Output._move_in = dying(folder, moment, kill)  # type: ignore[method-assign]
    run(folder, model)


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


def check_resumed(folder: Path, model: str, end: Callable[[tuple[str, int, str]], None]) -> None:
    """End the job at each moment, one after the other; in the end it is what a whole one is."""
    process_files(**job(folder, model, "whole"))
    for moment in MOMENTS:
        before = times(folder / "out")
        end(moment)
        assert before.items() <= times(folder / "out").items(), "a shard is computed twice"
    assert 0 < len(times(folder / "out")) < 10
    run(folder, model)
    assert shards(folder / "out") == shards(folder / "whole")
    assert len(times(folder / "out")) == 12
    assert not list((folder / "out/_job/temporary").glob("*"))


def test_a_job_that_ends_at_any_moment_is_resumed(
    folder: Path, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written from that moment on, as if the process were killed, which takes longer."""
    name = model("bert-classification")

    def end(moment: tuple[str, int, str]) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(Output, "_move_in", dying(folder, moment, stop))
            with pytest.raises((Killed, RuntimeError), match="killed"):
                run(folder, name)

    check_resumed(folder, name, end)


@pytest.mark.slow
def test_a_job_that_is_killed_again_and_again_is_resumed(folder: Path, model: Any) -> None:
    name = model("bert-classification")

    def end(moment: tuple[str, int, str]) -> None:
        process = _processes.Process(target=killed, args=(folder, name, moment))
        process.start()
        process.join(300)
        assert process.exitcode == -signal.SIGKILL, moment

    check_resumed(folder, name, end)


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
