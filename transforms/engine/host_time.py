"""How long an engine's thread works for each batch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class HostTime:
    """Processor time of this thread between launches, without what it waits for its device.

    A driver may wait in a busy loop, which is no work.
    """

    def __init__(self) -> None:
        self._since = time.thread_time()

    def lap(self) -> float:
        """Seconds of work since the last lap."""
        now = time.thread_time()
        seconds, self._since = now - self._since, now
        return seconds

    def wait(self, wait: Callable[[], T]) -> T:
        """Wait for the device: what that takes is left out."""
        start = time.thread_time()
        try:
            return wait()
        finally:
            self._since += time.thread_time() - start
