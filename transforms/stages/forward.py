"""The stage with the model: elements handed to an engine, and what it answers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.utils.windowed_value import WindowedValue

from ..engine.reports import Report
from ..engine.tickets import AnyEngine, Parameters
from ..options.sizes import nbytes
from . import metrics
from .base import StageFn, with_own_windows
from .engine_loop import EngineLoop
from .model_updates import ModelVersions, model_of
from .record import Record
from .window import InFlightWindow


class EngineFn(StageFn, EngineLoop):
    """A stage that hands elements to an engine and gives what it answers.

    Results have the timestamps and windows of their own elements.
    """

    stage = "forward"

    def _acquire(self) -> tuple[AnyEngine, Callable[[], None]]:
        """The engine, and what to call when it is no longer needed."""
        raise NotImplementedError

    def _window(self, engine: AnyEngine, answer_bytes: float | None) -> InFlightWindow:
        """A bundle's access to the engine."""
        raise NotImplementedError

    def setup(self) -> None:
        """Take a share in the engine; it loads its model meanwhile."""
        self._in_flight = None
        self._metrics = metrics.StageMetrics()
        self._engine: AnyEngine
        self._engine, self._release = self._acquire()

    def teardown(self) -> None:
        """Give the share back: the last one closes the engine."""
        self._cancel()
        self._release()

    def _cancel(self) -> None:
        if self._in_flight is not None:
            self._in_flight.cancel()

    def start_bundle(self) -> None:
        """Forget an earlier bundle that failed, and its engine if that did."""
        self._cancel()
        if self._engine.dead:
            self._release()
            self._engine, self._release = self._acquire()
        known = None if self._in_flight is None else self._in_flight.answer_bytes
        self._in_flight = self._window(self._engine, known)

    def process(
        self, element: Any, windowed: WindowedValue = beam.DoFn.WindowedValueParam
    ) -> Iterable[Any]:
        """Hand the chunks to the engine; give what it has answered by now."""
        results = self._submit(windowed)
        return with_own_windows(results, windowed) if results else ()

    def finish_bundle(self) -> Iterator[Any]:
        """Give the rest."""
        return self._drain()

    def _add_reports(self, reports: Sequence[Report]) -> None:
        self._metrics.add(reports)


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
        results = list(self._drain())
        self._versions.swap()
        self.start_bundle()
        return [*with_own_windows(results, windowed), *super().process(element, windowed)]

    def start_bundle(self) -> None:
        """Forget an earlier bundle that failed, and its engine if that did."""
        self._engine = self._versions.engine
        super().start_bundle()

    def _window(self, engine: AnyEngine, answer_bytes: float | None) -> InFlightWindow:
        return InFlightWindow(engine.client(self._parameters), self._spec.limits, answer_bytes)

    def _features(self, element: Record) -> tuple[Record, list[Any], int]:
        model = self._versions.spec.model.source
        waiting = Record(element.element, element.example, [], element.counts, model)
        return waiting, list(element.chunks), element.nbytes + nbytes(element.element)

    def _answer(self, waiting: Record, outputs: list[Any]) -> Record:
        waiting.chunks = outputs
        return waiting

    def _original(self, waiting: Record) -> Any:
        return waiting.element
