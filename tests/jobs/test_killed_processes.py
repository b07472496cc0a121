"""Each process of a job is killed with kill -9, early, in the middle and late; then resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
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
MODE = ("--direct_running_mode=multi_processing", f"--direct_num_workers={WORKERS}")
#: The statuses with which the command ends, by what is killed.
ENDS = {"driver": -signal.SIGKILL, "worker": statuses.FAILED, "engine": statuses.DONE}
_SECONDS = 600  # until something has happened on a busy machine


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
def test_a_process_that_is_killed_costs_a_shard_of_each_worker(
    victim: str, share: float, model: Callable[[str], str], tmp_path: Path, undisturbed: Any
) -> None:
    file = make_job(tmp_path, model("bert-classification"))
    (tmp_path / "hold").write_text(str(round(share * SHARDS)))
    (tmp_path / "said").mkdir()
    with started("run", file, *MODE, folder=tmp_path / "said") as driver:
        kill(victim, driver, tmp_path)
    there = len(results(tmp_path))
    assert round(share * SHARDS) <= there <= SHARDS

    resumed = command("run", file, "--resume")
    assert resumed.returncode == statuses.DONE, resumed.stderr
    assert f"{SHARDS} of {SHARDS} files" in resumed.stdout
    assert results(tmp_path) == undisturbed
    computed = len((tmp_path / "computed").read_text().splitlines())
    assert ROWS <= computed <= ROWS + WORKERS * UNIT


def kill(victim: str, driver: BaseProcess, folder: Path) -> None:
    """Kill a process of a job that is held, and wait for the end of all of them."""
    until(lambda: (folder / "held").exists() or driver.exitcode is not None)
    said = folder / "said/err"
    assert driver.pid is not None
    workers = children(driver.pid)
    assert len(workers) == WORKERS, said.read_text()
    engine = int((folder / "held").read_text())
    os.kill({"driver": driver.pid, "worker": workers[-1], "engine": engine}[victim], signal.SIGKILL)
    if victim == "engine":  # another one takes its place
        (folder / "hold").unlink()
    driver.join(_SECONDS)
    assert driver.exitcode == ENDS[victim], said.read_text()
    until(lambda: not any(map(is_running, workers)))
    (folder / "hold").unlink(missing_ok=True)
    until(lambda: not is_running(engine))


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
