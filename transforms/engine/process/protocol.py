"""The messages between a worker and an engine's process: who sends what, and when.

A worker connects; both prove that they know the job's key; the process sends its process id, and
the worker hands over the file descriptor of its arena (see transport.py). From then on the worker
sends

- `OpenSession` before the first ticket of a bundle,
- `SubmitTickets` for tickets of one bundle,
- `CancelSession` when the tickets of a bundle will not be collected any more;

and the process, in any order,

- `ModelLoaded` when the model is there, or at once if it is,
- `BatchesLaunched` before each batch that has some of the worker's tickets, and before the first
  one after it that has none, if there is one,
- `TicketsAnswered` for tickets whose outputs are together, `TicketAnswered` for one whose outputs
  are its own or that has failed: each ticket, those of a cancelled session included, has one,
- `EngineBroken` before it ends because it cannot compute any more.

Either side may end at any time: then the connection ends, too, without a message. The
worker then sends what was not answered to another process, under the same numbers.

A message is pickled as a plain tuple behind the number of its kind, which takes fewer bytes than
the name of its class, and less time.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, get_args

from ..errors import PicklableError
from ..reports import Report
from . import pickling
from .arena import Span


class OpenSession(NamedTuple):
    """From a worker: a bundle's tickets follow, with these parameters."""

    session: int
    #: Equal for equal parameters.
    key: str
    #: Pickled, as a mapping.
    parameters: bytes


class SubmitTickets(NamedTuple):
    """From a worker: the features of elements' chunks."""

    #: The number of each ticket, and where in the features its chunks are: the first, how many.
    tickets: Sequence[tuple[int, int, int]]
    session: int
    #: Whether its chunks run in batches of their own.
    run_isolated: bool
    #: Where in the arena the large arrays are.
    spans: Sequence[Span]
    #: What else `pickling.dumps` gave for a Block, or for a list with the features of each chunk.
    #: None: that is in the arena, too, where the last span says.
    features: bytes | None
    #: Whether more follow before somebody waits for an answer.
    brings_more: bool = False


class CancelSession(NamedTuple):
    """From a worker: the session's tickets are not to be computed any more."""

    session: int


class ModelLoaded(NamedTuple):
    """From the process: the model is there."""


class BatchesLaunched(NamedTuple):
    """From the process: which of the worker's tickets are in the batches that were launched."""

    #: Which one is computed now: another number for each batch of the process.
    number: int
    #: In that one.
    running: Sequence[int]
    #: In the one behind it.
    following: Sequence[int] = ()


class Progress(NamedTuple):
    """How an engine's process is doing."""

    #: What the engine has done since its last reports.
    reports: Sequence[Report] = ()
    #: About how many tickets and chunks wait, of all workers.
    waiting: int = 0
    #: Whether the engine will answer nothing any more but with an error.
    dead: bool = False


class TicketAnswered(NamedTuple):
    """From the process: a ticket failed; or, with an error of None, its outputs are behind this."""

    ticket: int
    error: PicklableError | None
    progress: Progress


class TicketsAnswered(NamedTuple):
    """From the process: the outputs of these tickets are behind this, as blocks.Outputs.

    Of each ticket: its number, and how many rows of the outputs are its own.
    """

    tickets: Sequence[tuple[int, int]]
    progress: Progress


class EngineBroken(NamedTuple):
    """From the process: why it ends."""

    reason: str


Message = (
    SubmitTickets
    | TicketsAnswered
    | TicketAnswered
    | BatchesLaunched
    | OpenSession
    | CancelSession
    | ModelLoaded
    | EngineBroken
)
_KINDS: tuple[type[Message], ...] = get_args(Message)
_NUMBERS = {kind: number for number, kind in enumerate(_KINDS)}


def pack(message: Message) -> bytes:
    """A message as it is sent."""
    return pickle.dumps((_NUMBERS[type(message)], *message))


def pack_with(message: Message, outputs: Any) -> bytes:
    """A message and outputs as they are sent. Raises what pickling the outputs raises."""
    return pickling.dump_each((_NUMBERS[type(message)], *message), outputs)


def unpack(data: bytes) -> tuple[Message, Iterator[Any]]:
    """The message in what was received, and the outputs behind it, if any.

    They are unpickled when they are asked for: that fails if a class is not known here.
    """
    values = pickling.load_each(data)
    number, *fields = next(values)
    return _KINDS[number](*fields), values
