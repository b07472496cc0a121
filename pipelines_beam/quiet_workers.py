"""What workers on this machine print, in processes of their own or in this one."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.worker import sdk_worker


@contextlib.contextmanager
def silent(options: PipelineOptions) -> Iterator[None]:
    """Keep what the workers of a job print off the screen; this process goes on to print.

    Each process prints a traceback when a job is stopped; the error of a job is raised here.
    """
    with _silent_threads():
        yield from _silent_processes(options)


@contextlib.contextmanager
def _silent_threads() -> Iterator[None]:
    """The same for workers in this process, whose errors portable runners say again."""
    root = logging.getLogger()
    vars(sdk_worker)["print"] = lambda *args, **options: None  # in the place of Python's own
    root.addFilter(_is_not_of_runner)
    try:
        yield
    finally:
        root.removeFilter(_is_not_of_runner)
        vars(sdk_worker).pop("print", None)


def _is_not_of_runner(record: logging.LogRecord) -> bool:
    return record.module != "portable_runner"


def _silent_processes(options: PipelineOptions) -> Iterator[None]:
    if options.view_as(DirectOptions).direct_running_mode != "multi_processing":
        yield
        return
    own, stderr = os.dup(2), sys.stderr
    is_whole = _is_of_descriptor(stderr, 2)
    with tempfile.TemporaryFile() as file, os.fdopen(own, "w", errors="backslashreplace") as opened:
        os.dup2(file.fileno(), 2)  # which processes inherit that are started meanwhile
        sys.stderr = opened if is_whole else stderr
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(own, 2)
            sys.stderr = stderr


def _is_of_descriptor(stream: Any, descriptor: int) -> bool:
    try:
        return bool(stream.fileno() == descriptor)
    except (AttributeError, OSError, ValueError):  # in a notebook or a test
        return False
