"""Worker processes that Beam's runner in this process starts: what they print, and their end."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, WorkerOptions

#: The ends of what is said of workers that Ctrl-C has ended, as it ends all processes of a command.
_INTERRUPTED = (" -2", " 130")
_LEVEL = "default_sdk_harness_log_level"


class WorkerLostError(RuntimeError):
    """A worker process has ended before the job."""


def are_used(options: PipelineOptions) -> bool:
    """Whether a job has worker processes on this machine."""
    mode: str = options.view_as(DirectOptions).direct_running_mode
    return mode == "multi_processing"


@contextlib.contextmanager
def handled(options: PipelineOptions, *, verbose: bool) -> Iterator[None]:
    """Around a job with worker processes: keeps off the screen what they print, unless `verbose`.

    Raises WorkerLostError when one of them ends: Beam's runner would wait for it for ever.
    """
    if not are_used(options):
        yield
        return
    with contextlib.nullcontext() if verbose else _silent(options), _not_lost():
        yield


@contextlib.contextmanager
def _silent(options: PipelineOptions) -> Iterator[None]:
    """Processes that are started meanwhile print to a file; this one prints to where it did."""
    if not options.get_all_options(drop_default=True).get(_LEVEL):
        options.view_as(WorkerOptions).default_sdk_harness_log_level = "CRITICAL"
    own, stderr = os.dup(2), sys.stderr
    is_whole = _is_of_descriptor(stderr, 2)
    with tempfile.TemporaryFile() as file, os.fdopen(own, "w", errors="backslashreplace") as opened:
        os.dup2(file.fileno(), 2)
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
    except (AttributeError, OSError, ValueError):
        return False


@contextlib.contextmanager
def _not_lost() -> Iterator[None]:
    """Raises WorkerLostError in the main thread when the thread that runs a worker fails."""
    lost: list[str] = []
    hook = threading.excepthook

    def note(args: threading.ExceptHookArgs) -> None:
        is_worker = args.thread is not None and args.thread.name == "run_worker"
        if is_worker and not str(args.exc_value).endswith(_INTERRUPTED):
            lost.append(str(args.exc_value))
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.excepthook = note
    try:
        yield
    except KeyboardInterrupt as error:
        if lost:
            raise WorkerLostError(
                f"a worker process has ended ({lost[0]}): it was killed, perhaps since it needed "
                "more memory than there is"
            ) from error
        raise
    finally:
        # Threads of the runner that end after a job that was stopped say that, too.
        threading.excepthook = hook if sys.exc_info()[0] is None else lambda args: None
