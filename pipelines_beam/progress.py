"""A progress bar for a job that runs in this process."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

from transforms.stages import metrics

_INTERVAL = 0.2  # seconds between updates
_LINE_INTERVAL = 30  # seconds between lines if stderr is not a terminal


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """Show the number of finished elements, out of those read so far, while the body runs."""
    metrics.reset()
    done = threading.Event()
    thread = threading.Thread(target=_draw, args=(done,), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _draw(done: threading.Event) -> None:
    interval = _INTERVAL if sys.stderr.isatty() else _LINE_INTERVAL
    with tqdm(unit=" rows", file=sys.stderr, mininterval=interval, dynamic_ncols=True) as bar:
        while not done.wait(_INTERVAL):
            _update(bar)
        _update(bar)


def _update(bar: Any) -> None:
    counts = metrics.counts()
    bar.total = counts.read or None
    if counts.failed:
        bar.set_postfix(failed=counts.failed, refresh=False)
    bar.update(counts.answered + counts.failed - bar.n)
