"""What a job on Flink needs: Java, Beam's job server, a cluster with free slots, and workers."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
)
from apache_beam.runners.portability.flink_runner import FlinkJarJobServer
from apache_beam.utils.subprocess_server import JavaJarServer

from . import downloads, flink_rest, worker_environment
from .flink_rest import FlinkRest

#: Seconds after which the slots of a job that has ended are free.
_SECONDS_TO_FREE = 10.0


def missing(options: PipelineOptions, needs_free_slots: bool = True) -> Iterator[str]:
    """A line for each thing that is missing."""
    cluster = flink_rest.of(options)
    sends_itself = options.view_as(FlinkRunnerOptions).flink_submit_uber_jar
    if not (options.view_as(PortableOptions).job_endpoint or sends_itself):
        yield from _java(options)
        yield from _job_server(options)
    if cluster is not None:
        yield from _cluster(cluster, options.view_as(FlinkRunnerOptions), needs_free_slots)
        yield from worker_environment.missing(options, cluster.is_here)


def _java(options: PipelineOptions) -> Iterator[str]:
    java = options.view_as(JobServerOptions).job_server_java_launcher
    if shutil.which(java) is None:
        yield (
            f"  Java is not installed ({java!r} is not found), which runs Beam's job server: "
            "install Java 11 or 17, or give --job_server_java_launcher=FILE"
        )


def _job_server(options: PipelineOptions) -> Iterator[str]:
    flink = options.view_as(FlinkRunnerOptions)
    given = flink.flink_job_server_jar
    if given and "://" not in given and not os.path.exists(given):
        yield f"  there is no job server {given!r}: give --flink_job_server_jar=FILE"
        return
    jar = given or FlinkJarJobServer(options).path_to_jar()
    folder = options.view_as(JobServerOptions).jar_cache_dir or JavaJarServer.JAR_CACHE
    if os.path.exists(jar) or os.path.exists(os.path.join(folder, os.path.basename(jar))):
        return
    if jar.startswith("http") and (reason := downloads.unreachable(jar)):
        yield (
            f"  Beam's job server for Flink {flink.flink_version} cannot be downloaded ({reason}): "
            f"get {jar} where it can be reached, and give --flink_job_server_jar=FILE"
        )


def _cluster(cluster: FlinkRest, flink: Any, needs_free: bool) -> Iterator[str]:
    needed = max(flink.parallelism, 1)
    try:
        version = str(cluster.ask("/config")["flink-version"])
        slots = _wait_for_slots(cluster, needed if needs_free else 0)
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = getattr(error, "reason", None) or f"{type(error).__name__}: {error}"
        yield (
            f"  no Flink cluster answers at {cluster.url} ({why}): start one, or give "
            "--flink_master=HOST:PORT, the address of its web page"
        )
        return
    short = ".".join(version.split(".")[:2])
    if short != flink.flink_version:
        yield _version(version, short, flink)
    yield from _too_few(needed, slots, needs_free)


@dataclass(frozen=True)
class _Slots:
    """The task slots of a cluster."""

    total: int
    free: int
    task_managers: int


def _wait_for_slots(cluster: FlinkRest, needed: int) -> _Slots:
    """What there is, after a moment in which slots may become free."""
    until = time.monotonic() + _SECONDS_TO_FREE
    while True:
        said = cluster.ask("/overview")
        keys = ("slots-total", "slots-available", "taskmanagers")
        slots = _Slots(*(int(said[key]) for key in keys))
        if not slots.free < needed <= slots.total or time.monotonic() >= until:
            return slots
        time.sleep(0.2)


def _version(version: str, short: str, flink: Any) -> str:
    known = flink.PUBLISHED_FLINK_VERSIONS
    said = f"  the cluster runs Flink {version}, and --flink_version is {flink.flink_version}: "
    if short in known:
        return f"{said}give --flink_version={short}"
    return f"{said}Beam has job servers for {', '.join(known)}"


def _too_few(needed: int, slots: _Slots, needs_free: bool) -> Iterator[str]:
    if needed > slots.total:
        have = f"{slots.total} in {slots.task_managers} TaskManagers"
        advice = f"give --parallelism={slots.total}, or " if slots.total else ""
        yield (
            f"  parallelism {needed} needs as many task slots, and the cluster has {have}: "
            f"{advice}start TaskManagers"
        )
    elif needs_free and needed > slots.free:
        yield (
            f"  parallelism {needed} needs as many task slots, and {slots.free} of {slots.total} "
            "are free: wait for the jobs that run, or cancel them"
        )
