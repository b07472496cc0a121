"""Where the workers of a job keep their counts, so that this process can show them."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import fsspec
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
)

from transforms.stages import live_counts

from ..runners import flink_rest
from ..runners.names import runner_name


class CountsOptions(PipelineOptions):  # type: ignore[misc]
    """The option that tells workers of the folder; it is set for each run."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(f"--{live_counts.OPTION}", help=argparse.SUPPRESS)


@dataclass(frozen=True)
class CountsFolder:
    """A folder, and whether workers of other machines can reach it."""

    path: str
    is_shared: bool


@contextlib.contextmanager
def opened(options: PipelineOptions | None) -> Iterator[CountsFolder]:
    """The folder of a job with these options, which are told of it, while the body runs it.

    It is in `temp_location`, which workers of a cluster can reach. Without one, it is a folder of
    this machine, which is enough for workers of this machine.
    """
    place = None if options is None else options.view_as(GoogleCloudOptions).temp_location
    if place:
        path = f"{place.rstrip('/')}/pipelines-beam-counts-{uuid.uuid4().hex}"
        with _made(path) as is_there, _told(options, path if is_there else None):
            yield CountsFolder(path, is_there)
        return
    with (
        tempfile.TemporaryDirectory(prefix="counts-", ignore_cleanup_errors=True) as path,
        _told(options, path),
    ):
        yield CountsFolder(path, _is_flink_here(options))


def _is_flink_here(options: PipelineOptions | None) -> bool:
    """Whether the job runs on Flink, in processes of this machine."""
    if options is None or runner_name(options) != "FlinkRunner":
        return False
    if options.view_as(PortableOptions).environment_type not in ("PROCESS", "LOOPBACK"):
        return False  # containers have folders of their own
    cluster = flink_rest.of(options)
    return cluster is None or cluster.is_here


@contextlib.contextmanager
def _told(options: PipelineOptions | None, path: str | None) -> Iterator[None]:
    if options is None:
        yield
        return
    view = options.view_as(CountsOptions)
    setattr(view, live_counts.OPTION, path)
    try:
        yield
    finally:
        setattr(view, live_counts.OPTION, None)


@contextlib.contextmanager
def _made(path: str) -> Iterator[bool]:
    """Make a folder, and remove it at the end; yields whether that could be done."""
    try:
        files, folder = fsspec.core.url_to_fs(path)
        files.makedirs(folder, exist_ok=True)
    except Exception:  # each store has errors of its own, and its package may be missing
        yield False
        return
    try:
        yield True
    finally:
        with contextlib.suppress(Exception):
            files.rm(folder, recursive=True)
