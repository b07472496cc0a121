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
        #: When the device was last asked whether it has finished, if nothing was done since.
        self._looked: float | None = None

    def lap(self) -> float:
        """Seconds of work since the last lap."""
        self.works()
        now = time.thread_time()
        seconds, self._since = now - self._since, now
        return seconds

    def looks(self) -> None:
        """The device is at work: what happens until the next look is left out.

        Unless it is work: see `works`.
        """
        now = time.thread_time()
        if self._looked is not None:
            self._since += now - self._looked
        self._looked = now

    def works(self) -> None:
        """There is something to do."""
        self._looked = None

    def wait(self, wait: Callable[[], T]) -> T:
        """Wait for the device: what that takes is left out."""
        start = time.thread_time()
        try:
            return wait()
        finally:
            self._since += time.thread_time() - start
