"""An engine without a model, for tests of what stands before it."""

from __future__ import annotations

import torch

from transforms.engine.tickets import BundleSession, Ticket
from transforms.options.spec import Limits
from transforms.stages.window import InFlightWindow


class ManualEngine:
    """An engine that answers when a test tells it to."""

    dead = False
    ready = True

    def __init__(self) -> None:
        self.waiting: list[Ticket] = []
        self.forgotten: list[BundleSession] = []

    def session(self, parameters: object = None) -> BundleSession:
        return BundleSession(self, {}, "")

    def submit(self, ticket: Ticket) -> None:
        self.waiting.append(ticket)

    def flush(self) -> None:
        pass

    def forget(self, session: BundleSession) -> None:
        self.forgotten.append(session)

    def answer(self, outputs: int = 1, error: Exception | None = None) -> None:
        """Answer the newest ticket, with outputs of so many bytes."""
        ticket = self.waiting.pop()
        ticket.outputs = [torch.zeros(outputs, dtype=torch.uint8)]
        ticket.error = error
        ticket.session.answered.put(ticket)


def window(engine: ManualEngine, output_bytes: float | None = 1.0, **limits: int) -> InFlightWindow:
    return InFlightWindow(engine.session(), Limits(**limits), output_bytes)
