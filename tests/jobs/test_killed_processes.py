"""Each process of a job is killed with kill -9, early, in the middle and late; then resumed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import held
from support.commands import command, started

from pipelines_beam.commands import statuses

pytestmark = pytest.mark.slow

ROWS, UNIT, WORKERS = 300, 10, 2
SHARDS = ROWS // UNIT
_SECONDS = 120  # until something has happened on a busy machine


def make_job(folder: Path, model: str) -> str:
    """The file of a job over files whose rows can be held, and its input."""
    texts = [f"the number of this text is {100 + i}" for i in range(ROWS)]
    table = pa.table({"id": range(ROWS), "text": texts})
    pq.write_table(table, folder / "in.parquet", row_group_size=5 * UNIT)
    shutil.copy(held.__file__, folder)
    task = {
        "type": "CustomPipeline",
        "config": {
            "model": model,
            "task": "text-classification",
            "pipeline_class": "held.Held",
            "input": "text",
            "batch_size": 1,  # what shares a batch changes the last bits of scores
            "share": "machine",
        },
    }
    files, output = str(folder / "in.parquet"), str(folder / "out")
    config = {"files": files, "output": output, "rows_per_shard": UNIT, "task": task}
    steps = [{"type": "ProcessFiles", "config": config}]
    (folder / "job.yaml").write_text(json.dumps({"pipeline": {"transforms": steps}}))
    return str(folder / "job.yaml")


def results(folder: Path) -> dict[str, Any]:
    """The results by the number of the shard: its name has the hash of its input's path."""
    return {
        path.name.rpartition("-")[2]: pq.read_table(path)
        for path in sorted((folder / "out").glob("part-*.parquet"))
    }


@pytest.fixture(scope="module")
def undisturbed(
    model: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The results of a job that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = command("run", make_job(folder, model("bert-classification")))
    assert done.returncode == statuses.DONE, done.stderr
    found = results(folder)
    assert sum(len(each) for each in found.values()) == ROWS
    return found


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("victim", ["driver", "worker", "engine"])
def test_a_process_that_is_killed_costs_a_shard_at_most(
    victim: str, share: float, model: Callable[[str], str], tmp_path: Path, undisturbed: Any
) -> None:
    file = make_job(tmp_path, model("bert-classification"))
    modes = ("--direct_running_mode=multi_processing", f"--direct_num_workers={WORKERS}")
    (tmp_path / "hold").write_text(str(round(share * SHARDS)))
    (tmp_path / "said").mkdir()
    with (
        started("run", file, *modes, folder=tmp_path / "said") as driver,
        whole_job(driver, tmp_path) as processes,
    ):
        os.kill(processes[victim], signal.SIGKILL)
        (tmp_path / "hold").unlink()
        driver.join(_SECONDS)
        ends = {"driver": -signal.SIGKILL, "worker": statuses.FAILED, "engine": statuses.DONE}
        assert driver.exitcode == ends[victim], (tmp_path / "said/err").read_text()
    there = len(results(tmp_path))
    assert round(share * SHARDS) <= there <= SHARDS

    resumed = command("run", file, "--resume")
    assert resumed.returncode == statuses.DONE, resumed.stderr
    assert f"{SHARDS} of {SHARDS} files" in resumed.stdout
    assert results(tmp_path) == undisturbed
    computed = len((tmp_path / "computed").read_text().splitlines())
    print("COMPUTED", victim, share, there, computed)
    assert ROWS <= computed <= ROWS + WORKERS * UNIT


@contextlib.contextmanager
def whole_job(driver: BaseProcess, folder: Path) -> Iterator[dict[str, int]]:
    """The ids of the processes of a job, once it is held; all of them have ended afterwards."""
    until(lambda: (folder / "held").exists() or driver.exitcode is not None)
    assert driver.pid is not None
    workers = children(driver.pid)
    assert len(workers) == WORKERS, (folder / "said/err").read_text()
    engine = int((folder / "held").read_text())
    yield {"driver": driver.pid, "worker": workers[-1], "engine": engine}
    until(lambda: not any(map(is_running, [*workers, engine])))


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + _SECONDS
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    """The worker processes of a process."""
    search = ["pgrep", "-P", str(pid), "-f", "sdk_worker_main"]
    found = subprocess.run(search, capture_output=True, text=True, check=False)
    return list(map(int, found.stdout.split()))


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
