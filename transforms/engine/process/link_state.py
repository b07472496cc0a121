"""How far a worker is with an engine's process."""

from __future__ import annotations

import enum


class LinkState(enum.Enum):
    """How far a worker is with an engine's process.

    ```
                  joined            a batch begins           it takes too long
    CONNECTING ──────────► JOINED ──────────────► SERVING ─────────────────────► KILLED
        ▲                    │                       │                              │
        └────────────────────┴── the process ended ──┴──────────────────────────────┘
    ```

    Each may become FAILED, when no other process is tried, and CLOSED. FAILED may become CLOSED.
    """

    #: No process, or one that has not yet accepted this worker.
    CONNECTING = enum.auto()
    #: The process knows this worker and its tickets; none of them was in a batch.
    JOINED = enum.auto()
    #: A batch with tickets of this worker's has begun.
    SERVING = enum.auto()
    #: A batch took too long: the process was killed, and its end is not yet seen.
    KILLED = enum.auto()
    #: Nothing will be answered any more.
    FAILED = enum.auto()
    #: It is not used any more.
    CLOSED = enum.auto()


ENDED = frozenset({LinkState.FAILED, LinkState.CLOSED})
CONNECTED = frozenset({LinkState.JOINED, LinkState.SERVING, LinkState.KILLED})
NEXT = {
    LinkState.CONNECTING: {LinkState.JOINED, *ENDED},
    LinkState.JOINED: {LinkState.SERVING, LinkState.CONNECTING, *ENDED},
    LinkState.SERVING: {LinkState.KILLED, LinkState.CONNECTING, *ENDED},
    LinkState.KILLED: {LinkState.CONNECTING, *ENDED},
    LinkState.FAILED: {LinkState.CLOSED},
    LinkState.CLOSED: set[LinkState](),
}
