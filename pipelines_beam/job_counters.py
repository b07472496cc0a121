"""Steps that count the failed rows of a job and collect the names of the files that it wrote.

They report through Beam's metrics, so the counts of all workers arrive.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from transforms.options.metrics_namespace import NAMESPACE

#: Namespaces of metrics: counters and string sets by the name of the transform.
FAILURES = f"{NAMESPACE}.failures"
FILES = f"{NAMESPACE}.files"
#: Bounds: distinct reasons of a transform in a process, and file names in a bundle.
_MAX_REASONS, _MAX_REASON_CHARACTERS, _MAX_FILE_NAMES = 8, 300, 1000
#: The name of an error class, on its own and at the beginning of an error's repr.
_NAME, _REPR_NAME = re.compile(r"[A-Za-z_]\w{0,99}"), re.compile(r"([A-Za-z_]\w{0,99})\(")
_UNKNOWN = "an error of an unknown class"

#: How often each reason for a failed row occurred in this process, by the transform's name.
local_reasons: dict[str, Counter[str]] = {}
_lock = threading.Lock()


class CountFailures(beam.DoFn):  # type: ignore[misc]
    """Counts failed rows and keeps their first distinct reasons.

    Error messages quote the data and stay in this process. Metrics, which a runner may store and
    show to others, hold only the names of the error classes.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = Metrics.counter(FAILURES, name)
        self._classes = Metrics.string_set(FAILURES, name)

    def process(self, row: Any) -> None:
        """Count one row."""
        self._count.inc()
        reason = reason_of(row)
        with _lock:
            reasons = local_reasons.setdefault(self._name, Counter())
            if reason not in reasons and len(reasons) >= _MAX_REASONS:
                reason = "other reasons"
            reasons[reason] += 1
        self._classes.add(class_of(row))


def reason_of(row: Any) -> str:
    """Why a row failed: a failure row of this project, or of one of Beam's own transforms."""
    error, message = getattr(row, "error", None), getattr(row, "message", None)
    reason = f"{error}: {message}" if error is not None else str(getattr(row, "msg", "no reason"))
    return reason[:_MAX_REASON_CHARACTERS]


def class_of(row: Any) -> str:
    """The name of the class of a failed row's error: it contains nothing of the data.

    This project's failure rows have it in `error`; those of Beam's own transforms have the repr of
    the error in `msg`.
    """
    error = getattr(row, "error", None)
    if error is not None:
        return str(error) if _NAME.fullmatch(str(error)) else _UNKNOWN
    match = _REPR_NAME.match(str(getattr(row, "msg", "")))
    return match[1] if match else _UNKNOWN


class CollectFileNames(beam.DoFn):  # type: ignore[misc]
    """Collects the names of the files that a sink has written."""

    def __init__(self, name: str) -> None:
        self._names = Metrics.string_set(FILES, name)

    def start_bundle(self) -> None:
        """Start a new count: the number of names is bounded for each bundle."""
        self._left = _MAX_FILE_NAMES

    def process(self, written: Any) -> None:
        """Collect one name: sinks give a string or a FileResult with a file_name."""
        name = getattr(written, "file_name", written)
        if isinstance(name, str) and self._left:
            self._left -= 1
            self._names.add(name)
