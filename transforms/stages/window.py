"""The elements of one bundle that are in the engine: bounded in number and in bytes."""

from __future__ import annotations

import time
from typing import Any

from ..engine.tickets import BundleSession, Ticket
from ..options.sizes import expected_nbytes, nbytes
from ..options.spec import Limits

_MOST_UNSEEN = 256  # elements in flight before the first outputs show how large they are


class InFlightWindow:
    """Hands elements to the engine and gives them back with their outputs, first come first.

    Args:
      session: the bundle's access to the engine.
      limits: how many elements, and bytes, may be in flight.
      output_bytes: how large an element's outputs are expected to be, as an earlier window has
        learned it. None: not known yet.

    """

    def __init__(
        self, session: BundleSession, limits: Limits, output_bytes: float | None = None
    ) -> None:
        self.output_bytes = output_bytes
        self._session = session
        self._limits = limits
        #: Elements in flight.
        self.count = 0
        self._bytes = 0
        #: Seconds that `take` has waited for the engine, so far.
        self.waited = 0.0

    def submit(self, token: Any, chunks: list[Any], size: int) -> None:
        """Hand over an element's chunks; `size` is the number of bytes that it keeps in memory."""
        self._session.submit((token, size), chunks)
        self.count += 1
        self._bytes += size

    @property
    def must_take(self) -> bool:
        """Whether to take a ticket now: one is answered, or the window is full."""
        return self.any_answered or self._full()

    @property
    def any_answered(self) -> bool:
        """Whether `take` need not wait."""
        return self.count > 0 and not self._session.answered.empty()

    def cancel(self) -> None:
        """Drop the elements in flight: they will not be collected."""
        self._session.cancel()

    def _full(self) -> bool:
        if self.output_bytes is None:
            expected, most = 0.0, min(self._limits.window, _MOST_UNSEEN)
        else:
            expected, most = self.count * self.output_bytes, self._limits.window
        over = self._bytes + expected > self._limits.window_bytes
        return self.count > most or (over and self.count > 1)

    def take(self) -> Ticket:
        """The next answered ticket; waits for one."""
        if self._session.answered.empty():
            self._session.flush()
            start = time.perf_counter()
            ticket: Ticket = self._session.answered.get()
            self.waited += time.perf_counter() - start
        else:
            ticket = self._session.answered.get()
        ticket.token, size = ticket.token
        self.count -= 1
        self._bytes -= size
        if ticket.error is None and (self.output_bytes is None or self.count % 16 == 0):
            self.output_bytes = expected_nbytes(self.output_bytes, nbytes(ticket.outputs))
        return ticket
