"""What becomes of a job on a cluster when its command is stopped, or was killed."""

from __future__ import annotations

import contextlib
import hashlib
import shlex
import socket
import time
import uuid
from collections.abc import Collection

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.runner import PipelineResult, PipelineState

from transforms.options.sources import is_uri

from . import flink_rest
from .errors import RunnerError
from .flink_rest import FlinkRest
from .names import runner_name

_SECONDS = 30.0  # until a job that is cancelled has ended
_SECONDS_TO_SEND = 300.0  # until a job server has translated a job, and the cluster has it


def name_job(options: PipelineOptions, file: str, outputs: Collection[str] = ()) -> bool:
    """Give a job a name by which it is found on its cluster, unless it has one.

    Jobs with the same outputs get the same name; returns whether it was made of them.
    """
    view = options.view_as(GoogleCloudOptions)
    if view.job_name is not None or runner_name(options) != "FlinkRunner":
        return False
    stem = file.rpartition("/")[2].partition(".")[0]
    # A path is another folder on another machine.
    host = "" if all(map(is_uri, outputs)) else socket.gethostname()
    text = "\0".join([*sorted(outputs), host]) if outputs else uuid.uuid4().hex
    view.job_name = f"{stem}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    return bool(outputs)


def left_over(options: PipelineOptions) -> list[str]:
    """The ids of jobs of this name that run, as a command that is killed leaves them."""
    cluster = _cluster(options)
    if cluster is None:
        return []
    try:
        return list(cluster.jobs(_name(options)))
    except (OSError, ValueError):  # what the runner needs is checked later
        return []


def take_over(options: PipelineOptions, jobs: Collection[str]) -> list[str]:
    """Cancel jobs that `left_over` has found; returns what to say of each.

    Raises RunnerError for one that goes on: two jobs would write one output.
    """
    cluster, name = _cluster(options), _name(options)
    assert cluster is not None
    for each in jobs:
        if not _is_cancelled(cluster, name, each):
            raise RunnerError(
                f"an earlier run of this job is not ended: {_going_on(cluster, name, each)}"
            )
    return [_ended(name)] * len(jobs)


def others(options: PipelineOptions) -> frozenset[str]:
    """The ids of jobs on the cluster that have the name of this one, before it is sent."""
    cluster = _cluster(options)
    if cluster is None:
        return frozenset()
    try:
        return frozenset(cluster.jobs(_name(options), ended=True))
    except (OSError, ValueError):
        return frozenset()


def wait_until_sent(
    options: PipelineOptions, result: PipelineResult, others: Collection[str] = ()
) -> None:
    """Wait until a job is on its cluster: the job server that sends it ends with this process.

    `others` are jobs that have its name.
    """
    cluster, until = _cluster(options), time.monotonic() + _SECONDS_TO_SEND
    while cluster is not None and time.monotonic() < until:
        with contextlib.suppress(OSError, ValueError):
            if not set(others).issuperset(cluster.jobs(_name(options), ended=True)):
                return
        if PipelineState.is_terminal(result.state):
            return
        time.sleep(0.5)


def stop(
    options: PipelineOptions,
    others: Collection[str] = (),
    result: PipelineResult | None = None,
) -> str | None:
    """Cancel a job on a cluster, where that can be done; says what has become of it.

    None: it was no job on a cluster, and has ended with this process. `others` are jobs that have
    its name.
    """
    runner = runner_name(options)
    if runner == "FlinkRunner":
        cluster = _cluster(options)
        return None if cluster is None else _stop_flink(cluster, _name(options), others)
    if runner == "DataflowRunner" and result is not None:
        region = options.view_as(GoogleCloudOptions).region
        how = f"gcloud dataflow jobs cancel {result.job_id()} --region={region}"
        return f"the job goes on on Dataflow: cancel it with {how}"
    return None


def _cluster(options: PipelineOptions) -> FlinkRest | None:
    return flink_rest.of(options) if runner_name(options) == "FlinkRunner" else None


def _name(options: PipelineOptions) -> str:
    return str(options.view_as(GoogleCloudOptions).job_name)


def _stop_flink(cluster: FlinkRest, name: str, others: Collection[str]) -> str | None:
    """Cancel the job of a name; see `stop`."""
    try:
        job = next((each for each in cluster.jobs(name) if each not in others), None)
    except (OSError, ValueError):
        return f"the job {name} may go on: Flink does not answer at {cluster.url}, cancel it there"
    # Without one, it was not sent yet, or has ended.
    return None if job is None else _cancelled(cluster, name, job)


def _cancelled(cluster: FlinkRest, name: str, job: str) -> str:
    """Cancel a job; says what has become of it."""
    return _ended(name) if _is_cancelled(cluster, name, job) else _going_on(cluster, name, job)


def _ended(name: str) -> str:
    return f"the job {name} is cancelled on Flink"


def _going_on(cluster: FlinkRest, name: str, job: str) -> str:
    request = shlex.join(["curl", "-X", "PATCH", f"{cluster.url}/jobs/{job}?mode=cancel"])
    return f"the job {name} goes on on Flink: cancel it with {request}"


def _is_cancelled(cluster: FlinkRest, name: str, job: str) -> bool:
    """Cancel it; returns whether it has ended."""
    until = time.monotonic() + _SECONDS
    with contextlib.suppress(OSError, ValueError):
        cluster.cancel(job)
        while time.monotonic() < until:
            if job not in cluster.jobs(name):
                return True
            time.sleep(0.2)
    return False
