"""Work that an engine may expect: for how long a batch waits for it."""

from __future__ import annotations

import time

from .scheduler import BatchCostModel, ReturningCallers
from .tickets import BundleSession


class ExpectedWork:
    """Who brought tickets, and may soon bring more.

    Waiting may cost as much as it saves, which is the start of another batch, and no more than
    `longest` seconds.
    """

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._callers = ReturningCallers(longest)
        #: Sessions that said that more follows.
        self._bringing: set[BundleSession] = set()

    def arrived(self, session: BundleSession) -> None:
        """A session brought a ticket."""
        if not session.in_flight:
            self._callers.arrived()
        elif session.brings_more:  # not with the first: it may be the only one
            self._bringing.add(session)
        session.in_flight += 1

    def answered(self, session: BundleSession) -> None:
        """One of its tickets is answered."""
        session.in_flight -= 1
        if not session.in_flight:
            self._callers.answered(time.perf_counter())
            self._bringing.discard(session)

    def wait_seconds(self, cost: BatchCostModel) -> float:
        """How many seconds are worth waiting for more than what is there."""
        seconds = 0.0
        if self._callers:
            seconds = self._callers.wait_seconds(time.perf_counter(), cost.start_seconds)
        if any(each.brings_more and not each.cancelled for each in self._bringing):
            # Where the device works by itself, a batch costs this thread that long.
            seconds = max(seconds, min(cost.host_seconds, self._longest))
        return seconds
