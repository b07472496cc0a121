"""Replicas of one model on several accelerators, each in a process of its own, as one engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..tickets import BundleSession, Ticket
from .remote import RemoteEngine


class ReplicaGroup:
    """Each ticket goes to the replica with the fewest waiting."""

    def __init__(self, engines: Sequence[RemoteEngine]) -> None:
        self._engines = engines

    @property
    def dead(self) -> bool:
        """Whether one of them will answer nothing any more."""
        return any(engine.dead for engine in self._engines)

    @property
    def ready(self) -> bool:
        """Whether all have their model loaded."""
        return all(engine.ready for engine in self._engines)

    def session(self, parameters: Mapping[str, Any]) -> BundleSession:
        """Access for one bundle."""
        return BundleSession.remote(self, parameters)

    def submit(self, ticket: Ticket) -> None:
        """Accept a ticket."""
        min(self._engines, key=lambda engine: engine.load).submit(ticket)

    def flush(self) -> None:
        """Keep no ticket back until there are more."""
        for engine in self._engines:
            engine.flush()

    def forget(self, session: BundleSession) -> None:
        """Have a cancelled session's tickets passed over."""
        for engine in self._engines:
            engine.forget(session)

    def close(self) -> None:
        """Stop using all of them."""
        for engine in self._engines:
            engine.close()
