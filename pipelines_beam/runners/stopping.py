"""What becomes of a job on a cluster when its command is stopped."""

from __future__ import annotations

import contextlib
import shlex
import time
import uuid

from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
)
from apache_beam.runners.runner import PipelineResult

from . import flink_rest
from .flink_rest import FlinkRest

_SECONDS = 30.0  # until a job that is cancelled has ended


def name_job(options: PipelineOptions, file: str) -> None:
    """Give a job a name by which it is found on its cluster, unless it has one."""
    view = options.view_as(GoogleCloudOptions)
    if view.job_name is None and _runner(options) == "FlinkRunner":
        stem = file.rpartition("/")[2].partition(".")[0]
        view.job_name = f"{stem}-{uuid.uuid4().hex[:8]}"


def stop(options: PipelineOptions, result: PipelineResult | None = None) -> str | None:
    """Cancel a job on a cluster, where that can be done; says what has become of it.

    None: it was no job on a cluster, and has ended with this process.
    """
    runner = _runner(options)
    if runner == "FlinkRunner":
        cluster = flink_rest.of(options)
        return None if cluster is None else _stop_flink(cluster, _name(options))
    if runner == "DataflowRunner" and result is not None:
        region = options.view_as(GoogleCloudOptions).region
        how = f"gcloud dataflow jobs cancel {result.job_id()} --region={region}"
        return f"the job goes on on Dataflow: cancel it with {how}"
    return None


def _runner(options: PipelineOptions) -> str:
    return str(options.view_as(StandardOptions).runner).rpartition(".")[2]


def _name(options: PipelineOptions) -> str:
    return str(options.view_as(GoogleCloudOptions).job_name)


def _stop_flink(cluster: FlinkRest, name: str) -> str | None:
    """Cancel the job of a name; see `stop`."""
    try:
        job = cluster.job(name)
    except (OSError, ValueError):
        return f"the job {name} may go on: Flink does not answer at {cluster.url}, cancel it there"
    if job is None:  # it was not sent yet, or has ended
        return None
    if _is_cancelled(cluster, name, job):
        return f"the job {name} is cancelled on Flink"
    request = shlex.join(["curl", "-X", "PATCH", f"{cluster.url}/jobs/{job}?mode=cancel"])
    return f"the job {name} goes on on Flink: cancel it with {request}"


def _is_cancelled(cluster: FlinkRest, name: str, job: str) -> bool:
    """Cancel it; returns whether it has ended."""
    until = time.monotonic() + _SECONDS
    with contextlib.suppress(OSError, ValueError):
        cluster.cancel(job)
        while time.monotonic() < until:
            if cluster.job(name) != job:
                return True
            time.sleep(0.2)
    return False
