"""What a runner needs, checked before anything is sent: each thing that is missing is a line."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    PrismRunnerOptions,
)
from apache_beam.runners.portability.prism_runner import PrismJobServer

from . import downloads, flink_checks, worker_environment
from .errors import RunnerError
from .names import runner_name

_BUCKET = "gs://"


def check(options: PipelineOptions, needs_free_slots: bool = True) -> None:
    """Raises RunnerError with all that is missing for a job with these options.

    `needs_free_slots`: whether the slots that a job on Flink takes must be free already.
    """
    name = runner_name(options)
    if name == "FlinkRunner":
        missing = list(flink_checks.missing(options, needs_free_slots))
    else:
        find = _CHECKS.get(name)
        missing = [] if find is None else list(find(options))
    if missing:
        raise RunnerError("\n".join((f"{name} cannot run this job:", *missing)))


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it would be in
        return False


def _has_credentials() -> bool:
    """Whether Google's library finds some. Beam would look for them for minutes."""
    import google.auth
    from google.auth.exceptions import GoogleAuthError

    try:
        google.auth.default()
    except GoogleAuthError:
        return False
    return True


def _dataflow(options: PipelineOptions) -> Iterator[str]:
    if not _is_installed("google.cloud.storage"):
        yield "  Beam's part for Google Cloud is missing: pip install 'apache-beam[gcp]'"
    elif not _has_credentials():
        yield (
            "  there are no credentials for Google Cloud: `gcloud auth application-default login`, "
            "or set GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account"
        )
    cloud = options.view_as(GoogleCloudOptions)
    for name, example in (("project", "my-project"), ("region", "us-central1")):
        if not getattr(cloud, name):
            yield f"  {name} is not set: give --{name}={example}"
    for name in ("temp_location", "staging_location"):
        place = getattr(cloud, name)
        if place and not place.startswith(_BUCKET):
            yield f"  {name} must be a folder of a bucket, got {place!r}: give --{name}=gs://…"
    if not cloud.temp_location and not cloud.staging_location:
        yield "  temp_location is not set: give --temp_location=gs://… that you can write to"
    yield from worker_environment.missing_package(options)


def _prism(options: PipelineOptions) -> Iterator[str]:
    prism = options.view_as(PrismRunnerOptions)
    advice = (
        f"go install github.com/apache/beam/sdks/v2/go/cmd/prism@v{beam.__version__}, "
        "and give --prism_location=FILE"
    )
    if prism.prism_location:
        if "://" not in prism.prism_location and not os.path.exists(prism.prism_location):
            yield f"  there is no file {prism.prism_location!r}: {advice}"
        return
    server = PrismJobServer(options)
    url = server.path_to_binary()
    cached = os.path.join(server.BIN_CACHE, os.path.basename(url).removesuffix(".zip"))
    if not os.path.exists(cached) and (reason := downloads.unreachable(url)):
        yield f"  Prism cannot be downloaded from {url} ({reason}): {advice}"


_CHECKS: dict[str, Callable[[PipelineOptions], Iterator[str]]] = {
    "DataflowRunner": _dataflow,
    "PrismRunner": _prism,
}
