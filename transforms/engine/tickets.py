"""What bundles hand to an engine and get back from it, wherever it runs."""

from __future__ import annotations

import functools
import queue
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from ..options import content_hash
from .reports import Report


class Parameters(dict[str, Any]):
    """A stage's parameters, which are not changed: their key and their pickle are made once."""

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """These parameters; the same object if they are of this class already."""
        return parameters if isinstance(parameters, cls) else cls(parameters)

    @functools.cached_property
    def key(self) -> str:
        """Equal for equal parameters."""
        return content_hash.of_keywords(self)

    @functools.cached_property
    def pickled(self) -> bytes:
        """As they cross to an engine's process: by Beam's pickler, which also pickles functions."""
        from apache_beam.internal.cloudpickle import cloudpickle

        pickled: bytes = cloudpickle.dumps(dict(self))
        return pickled


class AnyEngine(Protocol):
    """An engine, in this process or in another."""

    @property
    def dead(self) -> bool:
        """Whether it will answer nothing any more."""

    @property
    def ready(self) -> bool:
        """Whether its model is loaded."""

    def session(self, parameters: Mapping[str, Any]) -> BundleSession:
        """Access for one bundle."""

    def submit(self, ticket: Ticket) -> None:
        """Accept a ticket; it comes back in its session's `answered`."""

    def flush(self) -> None:
        """Keep no ticket back until there are more."""

    def forget(self, session: BundleSession) -> None:
        """Nobody will collect this session's tickets any more."""


def each_unpacked(outputs: Sequence[Any]) -> list[Any]:
    """The outputs of chunks, apart from those of their batches."""
    from .blocks import unpacked  # and torch, which the stages need no sooner

    return list(map(unpacked, outputs))


@dataclass(slots=True, eq=False)
class Ticket:
    """One element's chunks on their way through the engine."""

    session: BundleSession
    #: What the submitter knows it by.
    token: Any
    #: What the model takes, of each chunk; empty once the engine keeps them elsewhere.
    features: list[Any]
    #: Whether it runs in batches of its own: it was in one that broke an engine.
    run_isolated: bool = False
    #: How many engines have begun with it.
    attempts: int = 1
    #: What the model answered, for each chunk, perhaps as a row of its batch; incomplete where
    #: there is an `error`.
    outputs: list[Any] = field(default_factory=list)
    #: Chunks without outputs.
    remaining: int = 0
    #: Why it failed.
    error: BaseException | None = None
    #: What the engine has done since its last reports: they come with the next ticket.
    reports: Sequence[Report] = ()

    def fail(self, error: BaseException) -> None:
        """Hand it back to its session with an error."""
        self.error = error
        self.hand_back()

    def hand_back(self) -> None:
        """Give it back to its session, answered or failed."""
        self.session.answered.put(self)


@dataclass(eq=False)
class BundleSession:
    """One bundle's access to an engine, with the parameters of its stage."""

    #: An AnyEngine, to which its tickets go; in an engine's process, the client they come from.
    engine: Any
    parameters: Mapping[str, Any]
    #: Equal for equal parameters: their chunks may share a batch.
    key: str
    #: Tickets that are answered, in the order in which they were.
    answered: queue.SimpleQueue[Any] = field(default_factory=queue.SimpleQueue)
    cancelled: bool = False
    #: Whether more tickets follow before somebody waits for an answer.
    brings_more: bool = False
    #: The parameters as they cross to an engine's process.
    pickled: bytes = b""
    #: Tickets that the engine has accepted and not answered.
    in_flight: int = 0

    @classmethod
    def remote(cls, engine: AnyEngine, parameters: Mapping[str, Any]) -> Self:
        """Access to an engine in another process: with the parameters as they cross."""
        known = Parameters.of(parameters)
        return cls(engine, known, known.key, pickled=known.pickled)

    def submit(self, token: Any, features: list[Any]) -> None:
        """Hand over the features of an element's chunks; its ticket comes back in `answered`."""
        self.brings_more = True
        self.engine.submit(Ticket(self, token, features))

    def flush(self) -> None:
        """Have the engine begin with what was submitted: somebody waits for it."""
        self.brings_more = False
        self.engine.flush()

    def cancel(self) -> None:
        """Drop the tickets that still wait: nobody will collect them."""
        self.cancelled = True
        self.engine.forget(self)
