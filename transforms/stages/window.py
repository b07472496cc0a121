"""What one bundle has in the engine: no more elements, and no more bytes, than a window holds."""

from __future__ import annotations

from typing import Any

from ..engine.tickets import BundleSession, Ticket
from ..options.sizes import nbytes
from ..options.spec import Limits

_UNSEEN_ANSWERS = 256  # elements in flight while nobody knows yet how large an answer is


class InFlightWindow:
    """Hands elements to the engine and gives them back answered, in the order of the answers.

    `answer_bytes` is how large answers are expected to be, as an earlier flight has learned it.
    """

    def __init__(
        self, session: BundleSession, limits: Limits, answer_bytes: float | None = None
    ) -> None:
        self.answer_bytes = answer_bytes
        self._session = session
        self._limits = limits
        #: Elements that are out.
        self.count = 0
        self._bytes = 0

    def submit(self, token: Any, chunks: list[Any], size: int) -> None:
        """Hand over an element's chunks; `size` is the bytes that it keeps in memory."""
        self._session.submit((token, size), chunks)
        self.count += 1
        self._bytes += size

    @property
    def ready(self) -> bool:
        """Whether a ticket is answered by now, or has to be waited for: the window is full."""
        return (self.count > 0 and not self._session.answered.empty()) or self._full()

    def cancel(self) -> None:
        """Drop what is still waiting: nobody will collect it."""
        self._session.cancel()

    def _full(self) -> bool:
        if self.answer_bytes is None:
            expected, most = 0.0, min(self._limits.window, _UNSEEN_ANSWERS)
        else:
            expected, most = self.count * self.answer_bytes, self._limits.window
        over = self._bytes + expected > self._limits.window_bytes
        return self.count > most or (over and self.count > 1)

    def take(self) -> Ticket:
        """A ticket, answered; waits for one."""
        ticket: Ticket = self._session.answered.get()
        ticket.token, size = ticket.token
        self.count -= 1
        self._bytes -= size
        if ticket.error is None and (self.answer_bytes is None or self.count % 16 == 0):
            self._learn(nbytes(ticket.outputs))
        return ticket

    def _learn(self, size: int) -> None:
        """Expect answers as large as the larger ones were."""
        known = self.answer_bytes or 0.0
        self.answer_bytes = max(size, 0.9 * known + 0.1 * size)
