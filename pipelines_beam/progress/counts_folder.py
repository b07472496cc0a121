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
    StandardOptions,
)

from transforms.stages import live_counts

from ..runners import flink_rest


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
        with _told(options, path), _removed(path):
            yield CountsFolder(path, True)
        return
    with (
        tempfile.TemporaryDirectory(prefix="counts-", ignore_cleanup_errors=True) as path,
        _told(options, path),
    ):
        yield CountsFolder(path, _is_flink_here(options))


def _is_flink_here(options: PipelineOptions | None) -> bool:
    """Whether the job runs on Flink, and on this machine."""
    runner = "" if options is None else str(options.view_as(StandardOptions).runner)
    if options is None or runner.rpartition(".")[2] != "FlinkRunner":
        return False
    cluster = flink_rest.of(options)
    return cluster is None or cluster.is_here


@contextlib.contextmanager
def _told(options: PipelineOptions | None, path: str) -> Iterator[None]:
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
def _removed(path: str) -> Iterator[None]:
    """Make a folder, and remove it at the end, as far as the store lets it."""
    files, folder = fsspec.core.url_to_fs(path)
    with contextlib.suppress(Exception):
        files.makedirs(folder, exist_ok=True)
    try:
        yield
    finally:
        with contextlib.suppress(Exception):
            files.rm(folder, recursive=True)
