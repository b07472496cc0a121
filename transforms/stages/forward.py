"""The stage with the model: elements handed to an engine, and what it answers."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.utils.windowed_value import WindowedValue

from ..engine.errors import contained
from ..engine.tickets import AnyEngine, Parameters, Ticket
from ..options.sizes import nbytes
from . import metrics
from .base import StageFn, with_own_windows
from .model_updates import ModelVersions, model_of
from .record import Record
from .window import InFlightWindow


class EngineFn(StageFn):
    """A stage that hands elements to an engine and gives what it answers.

    Elements are accepted while earlier ones are computed: as many as the window holds. Answers
    come in the order in which the engine finds them, each with its own timestamp and windows.
    """

    stage = "forward"

    def _acquire(self) -> tuple[AnyEngine, Callable[[], None]]:
        """The engine, and what to call when it is no longer needed."""
        raise NotImplementedError

    def _flight_of(self, engine: AnyEngine, answer_bytes: float | None) -> InFlightWindow:
        """A bundle's access to the engine."""
        raise NotImplementedError

    def _chunks(self, element: Any) -> tuple[list[Any], int]:
        """What the engine computes for an element, and the bytes that it keeps in memory.

        What it raises is a failure of the element's in a stage "preprocess"; what `_answer` raises,
        in "postprocess".
        """
        raise NotImplementedError

    def _waiting(self, element: Any) -> Any:
        """What of an element waits for its answer."""
        return element

    def _answer(self, element: Any, chunks: list[Any]) -> Any:
        """What the stage gives for an element whose chunks are answered."""
        raise NotImplementedError

    def _original(self, element: Any) -> Any:
        """What a failure row shows of an element."""
        return element

    def setup(self) -> None:
        """Take a share in the engine; it loads its model meanwhile."""
        self._flight: InFlightWindow | None = None
        self._metrics = metrics.StageMetrics()
        self._engine: AnyEngine
        self._engine, self._release = self._acquire()

    def teardown(self) -> None:
        """Give the share back: the last one closes the engine."""
        self._cancel()
        self._release()

    def _cancel(self) -> None:
        if self._flight is not None:
            self._flight.cancel()

    def start_bundle(self) -> None:
        """Forget an earlier bundle that failed, and its engine if that did."""
        self._cancel()
        if self._engine.dead:
            self._release()
            self._engine, self._release = self._acquire()
        known = None if self._flight is None else self._flight.answer_bytes
        self._flight = self._flight_of(self._engine, known)

    def process(
        self, element: Any, windowed: WindowedValue = beam.DoFn.WindowedValueParam
    ) -> Iterable[Any]:
        """Hand the chunks to the engine; give what it has answered by now."""
        assert self._flight is not None
        flight, found = self._flight, []
        try:
            with contained:
                chunks, size = self._chunks(element)
        except Exception as error:
            found.append(self._failed(element, windowed, error, stage="preprocess"))
        else:
            # Features are the engine's from here: it may keep them elsewhere.
            flight.submit(windowed.with_value(self._waiting(element)), chunks, size)
        while flight.ready:
            found.append(self._collect(flight.take()))
        return with_own_windows(found, windowed) if found else ()

    def finish_bundle(self) -> Iterator[Any]:
        """Give the rest."""
        assert self._flight is not None
        while self._flight.count:
            yield self._collect(self._flight.take())

    def _collect(self, ticket: Ticket) -> Any:
        windowed = ticket.token
        self._metrics.add(ticket.reports)
        if ticket.error is not None:
            element = self._original(windowed.value)
            return self._failed(element, windowed, ticket.error, ticket.attempts)
        try:
            with contained:
                answer = self._answer(windowed.value, ticket.outputs)
            return windowed if answer is windowed.value else windowed.with_value(answer)
        except Exception as error:
            return self._failed(windowed.value, windowed, error, stage="postprocess")


class ForwardFn(EngineFn):
    """Records with features to Records with outputs, through an engine.

    A side input may name another version of the model: it is loaded while this one answers, and
    takes over between two batches.
    """

    def setup(self) -> None:
        """Take a share in the engine; it loads its model meanwhile."""
        self._versions = ModelVersions(self._spec)
        self._parameters = Parameters(self._spec.parameters)
        super().setup()

    def _acquire(self) -> tuple[AnyEngine, Callable[[], None]]:
        self._versions.revive()
        return self._versions.engine, lambda: None

    def teardown(self) -> None:
        """Give the share back: the last one closes the engine."""
        super().teardown()
        self._versions.close()

    def process(
        self,
        element: Any,
        windowed: WindowedValue = beam.DoFn.WindowedValueParam,
        update: Any = None,
    ) -> Iterable[Any]:
        """Hand the chunks to the engine; give what it has answered by now."""
        self._versions.ask(model_of(update))
        if not self._versions.due:
            return super().process(element, windowed)
        assert self._flight is not None
        found = []
        while self._flight.count:
            found.append(self._collect(self._flight.take()))
        self._versions.swap()
        self.start_bundle()
        return [*with_own_windows(found, windowed), *super().process(element, windowed)]

    def start_bundle(self) -> None:
        """Forget an earlier bundle that failed, and its engine if that did."""
        self._engine = self._versions.engine
        super().start_bundle()

    def _flight_of(self, engine: AnyEngine, answer_bytes: float | None) -> InFlightWindow:
        return InFlightWindow(engine.session(self._parameters), self._spec.limits, answer_bytes)

    def _chunks(self, element: Record) -> tuple[list[Any], int]:
        return list(element.chunks), element.nbytes + nbytes(element.element)

    def _waiting(self, element: Record) -> Record:
        model = self._versions.spec.model.source
        return Record(element.element, element.example, [], element.counts, model)

    def _answer(self, element: Record, chunks: list[Any]) -> Record:
        element.chunks = chunks
        return element

    def _original(self, element: Record) -> Any:
        return element.element
