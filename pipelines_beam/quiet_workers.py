"""What worker processes on this machine print."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions


@contextlib.contextmanager
def silent(options: PipelineOptions) -> Iterator[None]:
    """Keep what the worker processes of a job print off the screen; this process goes on to print.

    Each of them prints a traceback when a job is stopped; the error of a job is raised here.
    """
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
