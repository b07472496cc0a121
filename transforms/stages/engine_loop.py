"""The loop that hands elements to an engine and collects results, in stages and RunInference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, Self

from ..engine.errors import contained
from ..engine.reports import Report
from ..engine.tickets import Ticket
from .window import InFlightWindow


class Placed(Protocol):
    """An element and where its result belongs, such as Beam's WindowedValue."""

    @property
    def value(self) -> Any:
        """The element, or what is kept of it until its outputs are there."""

    def with_value(self, value: Any) -> Self:
        """The same place with another value."""


class EngineLoop:
    """Hands elements to an engine and gives results in the order in which it answers.

    Elements are accepted while earlier ones are computed: as many as the window holds.
    """

    _in_flight: InFlightWindow | None
    #: Results that are passed on together, and kept until the last of them is.
    _most_together = 1

    def _features(self, element: Any) -> tuple[Any, list[Any], int]:
        """What is kept of an element, the features of its chunks, and the bytes of both.

        An error becomes a failure of the element in the stage "preprocess".
        """
        raise NotImplementedError

    def _result(self, kept: Any, outputs: list[Any]) -> Any:
        """The result for an element, given what was kept of it and the outputs of its chunks.

        An error becomes a failure of the element in the stage "postprocess".
        """
        raise NotImplementedError

    def _element(self, kept: Any) -> Any:
        """The element that a failure row shows, given what was kept of it."""
        return kept

    def _failed(
        self,
        element: Any,
        place: Any,
        error: BaseException,
        attempts: int = 1,
        stage: str | None = None,
    ) -> Any:
        """The result for an element that failed in a stage; None: in "forward"."""
        raise NotImplementedError

    def _add_reports(self, reports: Sequence[Report]) -> None:
        """Count what the engine has done since its last reports."""
        raise NotImplementedError

    def _submit(self, placed: Placed) -> Iterable[Any]:
        """Hand an element to the engine; the results that are there by now."""
        assert self._in_flight is not None
        in_flight, results = self._in_flight, []
        try:
            with contained:
                kept, chunks, size = self._features(placed.value)
        except Exception as error:
            results.append(self._failed(placed.value, placed, error, stage="preprocess"))
        else:
            # Features are the engine's from here: it may keep them elsewhere.
            in_flight.submit(placed.with_value(kept), chunks, size)
        while in_flight.must_take:
            results += self._results()
        return results

    def _drain(self) -> Iterator[Any]:
        """The results of all elements in flight; waits for them."""
        assert self._in_flight is not None
        while self._in_flight.count:
            yield from self._results()

    def _results(self) -> list[Any]:
        """The results of some elements that are answered; waits for the first."""
        assert self._in_flight is not None
        in_flight = self._in_flight
        results = [self._collect(in_flight.take())]
        while in_flight.any_answered and len(results) < self._most_together:
            results.append(self._collect(in_flight.take()))
        return results

    def _collect(self, ticket: Ticket) -> Any:
        placed = ticket.token
        self._add_reports(ticket.reports)
        if ticket.error is not None:
            element = self._element(placed.value)
            return self._failed(element, placed, ticket.error, ticket.attempts)
        try:
            with contained:
                result = self._result(placed.value, ticket.outputs)
            return placed if result is placed.value else placed.with_value(result)
        except Exception as error:
            element = self._element(placed.value)
            return self._failed(element, placed, error, stage="postprocess")
