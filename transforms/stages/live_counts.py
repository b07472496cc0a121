"""The counts of worker processes of this machine, while they work: for a progress bar.

A job's first process names a folder in its environment, which the processes that it starts inherit:
each keeps a file there with its counts. Beam's metrics of other processes come at the end only.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from . import metrics

_FOLDER = "PIPELINES_BEAM_COUNTS"
_INTERVAL = 0.5  # seconds between two writes of a process

_lock = threading.Lock()
_published: str | None = None


@contextlib.contextmanager
def collected(folder: str) -> Iterator[None]:
    """Have processes that are started meanwhile keep their counts in a folder."""
    global _published  # noqa: PLW0603 - this process is asked for its counts directly
    before = os.environ.get(_FOLDER)
    os.environ[_FOLDER] = _published = folder
    try:
        yield
    finally:
        os.environ.pop(_FOLDER, None)
        if before is not None:
            os.environ[_FOLDER] = before


def of_other_processes(folder: str) -> metrics.Counts:
    """The sum of the counts that other processes keep in a folder."""
    total = metrics.Counts()
    for path in Path(folder).glob("*.json"):
        if path.stem != str(os.getpid()):
            total += metrics.Counts(**json.loads(path.read_bytes()))
    return total


def publish() -> None:
    """Keep the counts of this process where the job's first process looks for them, if it does."""
    global _published  # noqa: PLW0603 - of the process
    folder = os.environ.get(_FOLDER)
    with _lock:
        if folder is None or folder == _published:
            return
        _published = folder
    threading.Thread(target=_keep, args=(folder,), name="live counts", daemon=True).start()


def _keep(folder: str) -> None:
    """Write the counts whenever they have changed, until the folder is removed."""
    path, before = Path(folder) / f"{os.getpid()}.json", metrics.Counts()
    with contextlib.suppress(FileNotFoundError):
        while os.path.isdir(folder):
            now = metrics.Counts(**asdict(metrics.counts()))
            if now != before:
                temporary = path.with_suffix(".new")
                temporary.write_text(json.dumps(asdict(now)))
                temporary.replace(path)
                before = now
            time.sleep(_INTERVAL)
