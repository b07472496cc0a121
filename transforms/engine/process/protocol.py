"""The messages between a worker and an engine's process: who sends what, and when.

A worker connects; both prove that they know the job's key; the process sends its process id, and
the worker hands over the file descriptor of its arena. From then on the worker sends

- `OpenSession` before the first ticket of a bundle,
- `SubmitTicket` for each ticket,
- `CancelSession` when the tickets of a bundle will not be collected any more;

and the process, in any order,

- `ModelLoaded` when the model is there, or at once if it is,
- `BatchBegun` before each batch that has some of the worker's tickets, and before the first one
  after it that has none,
- `TicketAnswered` for each ticket, those of a cancelled session included, with the outputs,
- `EngineBroken` before it ends because it cannot compute any more.

Either side may end at any time: then the connection ends, too, without a message. The
worker then sends what was not answered to another process, under the same numbers.

A message is pickled as a plain tuple behind the number of its kind, which takes fewer bytes than
the name of its class, and less time.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
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


class SubmitTicket(NamedTuple):
    """From a worker: the features of an element's chunks."""

    ticket: int
    session: int
    #: Whether its chunks run in batches of their own.
    run_isolated: bool
    #: Where in the arena the large tensors are.
    spans: Sequence[Span]
    #: What else `pickling.dumps` gave.
    features: bytes


class CancelSession(NamedTuple):
    """From a worker: the session's tickets are not to be computed any more."""

    session: int


class ModelLoaded(NamedTuple):
    """From the process: the model is there."""


class BatchBegun(NamedTuple):
    """From the process: which of the worker's tickets are in the batch that runs now."""

    tickets: Sequence[int]


class TicketAnswered(NamedTuple):
    """From the process: a ticket failed; or, with an error of None, its outputs are behind this."""

    ticket: int
    error: PicklableError | None
    #: What the engine has done since its last reports.
    reports: Sequence[Report]
    #: About how many tickets and chunks wait, of all workers.
    waiting: int
    #: Whether the engine will answer nothing any more but with this error.
    dead: bool


class EngineBroken(NamedTuple):
    """From the process: why it ends."""

    reason: str


Message = (
    SubmitTicket
    | TicketAnswered
    | BatchBegun
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


def unpack(data: bytes) -> Message:
    """The message in what was received."""
    number, *fields = pickle.loads(data)  # noqa: S301 - from a process of the same job
    message: Message = _KINDS[number](*fields)
    return message


def pack_with(message: Message, outputs: Any) -> bytes:
    """A message and outputs as they are sent. Raises what pickling the outputs raises."""
    return pickling.dump_each((_NUMBERS[type(message)], *message), outputs)


def unpack_with_outputs(data: bytes) -> tuple[Message, Iterator[Any]]:
    """The message in what was received, and the outputs behind it, if any.

    They are unpickled when they are asked for: that fails if a class is not known here.
    """
    values = pickling.load_each(data)
    number, *fields = next(values)
    return _KINDS[number](*fields), values


def shut(connection: Connection) -> None:
    """End a connection that another thread is waiting at."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as sock:
        sock.shutdown(socket.SHUT_RDWR)
