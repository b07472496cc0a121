"""The counts of worker processes, while they work: for a progress bar.

A job's first process names a folder in its environment, which the processes that it starts inherit;
workers of a cluster find it in the job's options. Each keeps a file there with its counts. Beam's
metrics of other processes come at the end only.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import fsspec
from apache_beam.options.value_provider import RuntimeValueProvider

from ..options.sources import is_uri
from ..options.whole_file import write_whole
from . import metrics

#: The option of a job with the folder of its counts: a path or URI that its workers can reach.
OPTION = "pipelines_beam_counts"

_FOLDER = "PIPELINES_BEAM_COUNTS"
_INTERVAL = 0.5  # seconds between two writes of a process
_STORE_INTERVAL = 5.0  # where the folder is in an object store

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
    total, own = metrics.Counts(), _file_name()
    for name, text in _read(folder):
        if name != own:
            total += metrics.Counts(**json.loads(text))
    return total


def publish() -> None:
    """Keep the counts of this process where the job's first process looks for them, if it does."""
    global _published  # noqa: PLW0603 - of the process
    folder = os.environ.get(_FOLDER) or RuntimeValueProvider.get_value(OPTION, str, None)
    with _lock:
        if folder is None or folder == _published:
            return
        _published = folder
    threading.Thread(target=_keep, args=(folder,), name="live counts", daemon=True).start()


def _keep(folder: str) -> None:
    """Write the counts whenever they have changed, until the folder is removed or is another."""
    before = metrics.Counts()
    interval = _STORE_INTERVAL if is_uri(folder) else _INTERVAL
    with contextlib.suppress(Exception):  # of any store: nothing but the display needs it
        while folder == _published and (is_uri(folder) or os.path.isdir(folder)):
            now = metrics.Counts(**asdict(metrics.counts()))
            if now != before:
                _write(folder, json.dumps(asdict(now)))
                before = now
            time.sleep(interval)


def _file_name() -> str:
    """The file of this process: those of several containers may have the same process id."""
    return _name_of(os.getpid())


@functools.cache
def _name_of(pid: int) -> str:
    return f"{socket.gethostname()}-{pid}-{uuid.uuid4().hex[:8]}.json"


def _write(folder: str, text: str) -> None:
    """Write the file of this process: whoever reads it sees the old or the new text."""
    if is_uri(folder):
        files, path = fsspec.core.url_to_fs(folder)
        files.pipe_file(f"{path}/{_file_name()}", text.encode())
        return
    write_whole(Path(folder) / _file_name(), text)


def _read(folder: str) -> Iterator[tuple[str, bytes]]:
    """The names and contents of the files."""
    if not is_uri(folder):
        yield from ((path.name, path.read_bytes()) for path in Path(folder).glob("*.json"))
        return
    files, path = fsspec.core.url_to_fs(folder)
    files.invalidate_cache()
    for each in files.glob(f"{path}/*.json"):
        yield each.rpartition("/")[2], files.cat_file(each)
