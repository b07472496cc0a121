"""The loop over elements on their way through an engine, of the stages and of RunInference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, Self

from ..engine.errors import contained
from ..engine.reports import Report
from ..engine.tickets import Ticket
from .window import InFlightWindow


class Placed(Protocol):
    """A value and where its result goes: Beam's WindowedValue is one."""

    @property
    def value(self) -> Any:
        """The element, or what waits for its answer."""

    def with_value(self, value: Any) -> Self:
        """Another value in the same place."""


class EngineLoop:
    """Hands elements to an engine and gives results in the order in which it answers.

    Elements are accepted while earlier ones are computed: as many as the window holds.
    """

    _in_flight: InFlightWindow | None

    def _features(self, element: Any) -> tuple[Any, list[Any], int]:
        """What waits for the element's answer, its chunks, and the bytes that they take.

        An error is a failure of the element in the stage "preprocess".
        """
        raise NotImplementedError

    def _answer(self, waiting: Any, outputs: list[Any]) -> Any:
        """The result for an element whose chunks are answered.

        An error is a failure of the element in the stage "postprocess".
        """
        raise NotImplementedError

    def _original(self, waiting: Any) -> Any:
        """The element that a failure row shows, given what waits for its answer."""
        return waiting

    def _failed(
        self,
        element: Any,
        place: Any,
        error: BaseException,
        attempts: int = 1,
        stage: str | None = None,
    ) -> Any:
        """The result for an element that failed. `stage`: None for "forward"."""
        raise NotImplementedError

    def _add_reports(self, reports: Sequence[Report]) -> None:
        """Take what the engine has done since it last told."""
        raise NotImplementedError

    def _submit(self, placed: Placed) -> list[Any]:
        """Hand an element to the engine; the results that are there by now."""
        assert self._in_flight is not None
        in_flight, results = self._in_flight, []
        try:
            with contained:
                waiting, chunks, size = self._features(placed.value)
        except Exception as error:
            results.append(self._failed(placed.value, placed, error, stage="preprocess"))
        else:
            # Features are the engine's from here: it may keep them elsewhere.
            in_flight.submit(placed.with_value(waiting), chunks, size)
        while in_flight.ready:
            results.append(self._collect(in_flight.take()))
        return results

    def _drain(self) -> Iterator[Any]:
        """The results of all that is in flight; waits for them."""
        assert self._in_flight is not None
        while self._in_flight.count:
            yield self._collect(self._in_flight.take())

    def _collect(self, ticket: Ticket) -> Any:
        placed = ticket.token
        self._add_reports(ticket.reports)
        original = self._original(placed.value)
        if ticket.error is not None:
            return self._failed(original, placed, ticket.error, ticket.attempts)
        try:
            with contained:
                result = self._answer(placed.value, ticket.chunks)
            return placed if result is placed.value else placed.with_value(result)
        except Exception as error:
            return self._failed(original, placed, error, stage="postprocess")
