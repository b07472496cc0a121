"""What all kinds of engines do with tickets, however they compute: accept, refuse, hand back."""

from __future__ import annotations

import contextlib
import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .allocator import clear_frames, free_model
from .errors import EngineError
from .reports import Report
from .tickets import BundleSession, Ticket

#: Takes the tickets that the device works on, and those behind them, by the batches' numbers.
OnLaunch = Callable[[Mapping[int, Sequence[Ticket]]], None]

CANCELLED = Exception("the session was cancelled: nobody waits for the answer any more")


class CoreBase:
    """One replica: tickets go in by `admit`, and are handed back by `step`.

    Args:
      hand_back: called with each ticket that is answered or has failed.
      on_launch: called with the tickets that the device works on, whenever they are about to be
        others.
      on_broken: called with an error that says that the process cannot compute any more.

    """

    def __init__(
        self,
        hand_back: Callable[[Ticket], None],
        on_launch: OnLaunch,
        on_broken: Callable[[BaseException], None],
    ) -> None:
        self._hand_back = hand_back
        self._on_launch = on_launch
        self._on_broken = on_broken
        self._model: Any = None
        self._programs: dict[str, Any] = {}
        self._reports: list[Report] = []
        #: When the batch, or step, that is computed began, on time.monotonic; None between them.
        self.running_since: float | None = None
        #: Tickets that came before the model was there.
        self._early: list[Ticket] = []
        #: Tickets that are neither answered nor failed.
        self._live: set[Ticket] = set()
        #: Why nothing will be answered any more.
        self._refusal: EngineError | None = None

    @property
    def dead(self) -> bool:
        """Whether it will answer nothing any more."""
        return self._refusal is not None

    @property
    def has_model(self) -> bool:
        """Whether its model is loaded."""
        return self._model is not None

    @property
    def is_busy(self) -> bool:
        """Whether any ticket is not answered."""
        return bool(self._live or self._early)

    @property
    def waiting(self) -> int:
        """About how many tickets and chunks wait."""
        raise NotImplementedError

    def loaded(self, model: Any, seconds: float) -> None:
        """Begin with a model that took `seconds` to load."""
        raise NotImplementedError

    def unload(self) -> None:
        """Let go of the model: what waits, and comes, stays until another is loaded."""
        raise NotImplementedError

    def wait_seconds(self) -> float | None:
        """For how long more tickets may be waited for before `step`; None: it has nothing to do."""
        raise NotImplementedError

    def step(self) -> None:
        """Compute, and hand back what is answered. Raises what ends the engine."""
        raise NotImplementedError

    def admit(self, tickets: Sequence[Ticket]) -> None:
        """Accept tickets; some may be handed back at once."""
        if self._model is None and self._refusal is None:
            self._early += tickets
            return
        # All of them, before anything can go wrong: so that each is answered then, too.
        self._live.update(tickets)
        self._arrived(tickets)
        for session, group in itertools.groupby(tickets, operator.attrgetter("session")):
            reason = self._refusal or (CANCELLED if session.cancelled else None)
            if reason is None:
                self._place(list(group))
                continue
            for ticket in group:
                self._fail(ticket, reason)

    def refuse(self, error: BaseException) -> None:
        """Answer whatever waits, and comes, with the reason why nothing is computed."""
        reason = self._refusal = EngineError.of(error)
        self._forget_running()
        self.running_since = None
        early, self._early = self._early, []
        for ticket in tuple(self._live):
            self._fail(ticket, reason)
        self.admit(early)
        clear_frames(error)  # they may hold the model
        with contextlib.suppress(Exception):  # of a device that is broken
            self._drop_model()

    def _place(self, tickets: Sequence[Ticket]) -> None:
        """Let a session's tickets wait for the model."""
        raise NotImplementedError

    def _arrived(self, tickets: Sequence[Ticket]) -> None:
        """Tickets have come."""

    def _left(self, ticket: Ticket) -> None:
        """A ticket is about to be handed back."""

    def _forget_running(self) -> None:
        """Nothing will come of what is computed."""

    def _admit_early(self) -> None:
        """Accept the tickets that came before the model was there."""
        early, self._early = self._early, []
        self.admit(early)

    def _drop_model(self) -> None:
        self._model = None
        self._programs.clear()
        free_model()

    def _program(self, session: BundleSession) -> Any:
        """The model with the parameters of a session's stage. Raises EngineError for bad ones."""
        program = self._programs.get(session.key)
        if program is None:
            assert self._model is not None
            try:
                program = self._model.program(session.parameters)
            except Exception as error:  # the same for every element
                raise EngineError(f"{type(error).__name__}: {error}") from error
            self._programs[session.key] = program
        return program

    def _fail(self, ticket: Ticket, error: BaseException) -> None:
        if ticket.error is None:
            ticket.error = error
            self._done(ticket)

    def _done(self, ticket: Ticket) -> None:
        self._live.discard(ticket)
        if self._reports and not ticket.session.cancelled:
            ticket.reports, self._reports = self._reports, []
        self._left(ticket)
        self._hand_back(ticket)
