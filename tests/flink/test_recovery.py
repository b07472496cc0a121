"""Whatever is killed, each row is in the output of ProcessFiles once, and nothing dead is left."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.flink.cluster import Cluster
from support.flink.job import (
    ENGINE,
    ROWS,
    SHARDS,
    WORKER,
    FlinkJob,
    wait,
    wait_until_gone,
)

pytestmark = [pytest.mark.flink, pytest.mark.slow]


@pytest.fixture
def job(flink: Cluster, tmp_path: Path) -> Iterator[FlinkJob]:
    """A job over files, whose commands are stopped at the end."""
    made = FlinkJob(tmp_path, flink)
    try:
        yield made
    finally:
        made.stop()


def _engine(cluster: Cluster) -> list[int]:
    return _killed(_engine_of(cluster))


def _worker(cluster: Cluster) -> list[int]:
    return _killed(cluster.processes_with(WORKER)[0])


def _killed(process: int) -> list[int]:
    os.kill(process, signal.SIGKILL)
    return [process]


def _task_manager(number: int) -> Callable[[Cluster], list[int]]:
    def strike(cluster: Cluster) -> list[int]:
        workers = cluster.started_by(number)
        assert workers
        cluster.kill_task_manager(number)
        return workers

    return strike


@pytest.mark.parametrize(
    "strikes",
    [
        pytest.param({0.2: _engine, 0.5: _worker}, id="engine and worker"),
        pytest.param(
            {0.3: _task_manager(0), 0.6: _task_manager(1), 0.85: _task_manager(0)},
            id="TaskManagers",
        ),
    ],
)
def test_a_process_of_the_cluster_is_killed(
    strikes: dict[float, Callable[[Cluster], list[int]]], flink: Cluster, job: FlinkJob
) -> None:
    command = job.start()
    with ThreadPoolExecutor() as pool:
        gone = []
        for share, strike in strikes.items():
            job.wait_for_files(int(share * SHARDS), command)
            assert len(job.files()) < SHARDS
            gone.append(pool.submit(wait_until_gone, strike(flink)))
        assert job.ended(command) == 0, job.log()
    for each in gone:
        each.result()
    assert job.ids() == list(range(ROWS))
    wait_until_gone(list(flink.worker_processes()))


def test_the_command_is_killed_and_started_again(flink: Cluster, job: FlinkJob) -> None:
    command = job.start()
    job.wait_for_files(SHARDS // 4, command)
    (server,) = flink.job_servers()
    engine = _engine_of(flink)
    os.kill(engine, signal.SIGSTOP)  # the job that is left behind cannot come to its end
    try:
        command.kill()
        command.wait()
        wait_until_gone([server])
        assert len(job.files()) < SHARDS
        command = job.start()
        wait(lambda: "is cancelled on Flink\n" in job.log() or command.poll() is not None)
    finally:
        os.kill(engine, signal.SIGCONT)
    assert job.ended(command) == 0, job.log()
    assert "is cancelled on Flink\n" in job.log()
    assert job.ids() == list(range(ROWS))
    wait_until_gone([*flink.worker_processes(), *flink.job_servers()])


def test_the_command_is_stopped(flink: Cluster, job: FlinkJob) -> None:
    command = job.start()
    job.wait_for_files(1, command)
    command.send_signal(signal.SIGINT)
    assert job.ended(command) == 130, job.log()
    assert "is cancelled on Flink\n" in job.log()
    jobs = flink.ask("/jobs/overview")["jobs"]
    assert [each["name"] for each in jobs if each["end-time"] < 0] == []
    wait_until_gone([*flink.worker_processes(), *flink.job_servers()])


def _engine_of(cluster: Cluster) -> int:
    """The process with the engine: all workers share one."""
    (engine,) = cluster.processes_with(ENGINE)
    return engine
