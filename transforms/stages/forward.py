"""The stage with the model: elements go to an engine and come back with their outputs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue

from ..engine.reports import Report
from ..engine.tickets import AnyEngine, Parameters, each_unpacked
from ..options.sizes import nbytes
from ..options.spec import Spec
from . import live_counts, lost_runner, metrics, versions
from .base import StageFn, with_own_windows
from .engine_loop import EngineLoop
from .model_updates import ModelVersions, requested_model
from .record import Group, Record
from .window import InFlightWindow

_MOST_TOGETHER = 64  # results: more gain little


class EngineFn(StageFn, EngineLoop):
    """A stage that hands elements to an engine and yields results as the engine answers.

    Each result has the timestamp and the windows of its own element.
    """

    stage = "forward"

    def _acquire(self) -> tuple[AnyEngine, Callable[[], None]]:
        """The engine, and the function that releases it."""
        raise NotImplementedError

    def _new_window(self, output_bytes: float | None) -> InFlightWindow:
        """The window of a bundle; `output_bytes` is what the last one has learned."""
        raise NotImplementedError

    def setup(self) -> None:
        """Acquire the engine, which loads its model meanwhile."""
        live_counts.publish()
        lost_runner.watch()
        self._in_flight = None
        self._metrics = metrics.StageMetrics()
        self._engine: AnyEngine
        self._engine, self._release = self._acquire()

    def teardown(self) -> None:
        """Release the engine: the last user closes it."""
        self._cancel()
        self._release()

    def _cancel(self) -> None:
        if self._in_flight is not None:
            self._in_flight.cancel()

    def start_bundle(self) -> None:
        """Drop what a failed bundle has left, and replace an engine that has failed."""
        self._cancel()
        if self._engine.dead:
            self._release()
            self._engine, self._release = self._acquire()
        output_bytes = None if self._in_flight is None else self._in_flight.output_bytes
        self._in_flight = self._new_window(output_bytes)

    def process(
        self, element: Any, windowed: WindowedValue = beam.DoFn.WindowedValueParam
    ) -> Iterable[Any]:
        """Hand the element to the engine; yield the results that are there by now."""
        results = self._submit(windowed)
        return with_own_windows(results, windowed) if results else ()

    def finish_bundle(self) -> Iterator[Any]:
        """Yield the other results."""
        return self._drain()

    def _add_reports(self, reports: Sequence[Report]) -> None:
        self._metrics.add(reports)


class ForwardFn(EngineFn):
    """Records with features to Records with outputs, through an engine.

    A side input may name another version of the model: it is loaded while this one answers, and
    takes over between two batches.

    Args:
      spec: the model and its parameters.
      handles_failures: whether failures go to an output of their own.
      groups: whether Postprocess follows at once, and may take many Records together.

    """

    def __init__(self, spec: Spec, handles_failures: bool, groups: bool = False) -> None:
        super().__init__(spec, handles_failures)
        self._built_with = versions.here()
        self._groups = groups
        if groups:
            self._most_together = _MOST_TOGETHER

    def setup(self) -> None:
        """Acquire the engine, which loads its model meanwhile."""
        versions.check(self._built_with)
        self._versions = ModelVersions(self._spec)
        self._parameters = Parameters(self._spec.parameters)
        super().setup()

    def _acquire(self) -> tuple[AnyEngine, Callable[[], None]]:
        self._versions.revive()
        return self._versions.engine, lambda: None

    def teardown(self) -> None:
        """Release the engine: the last user closes it."""
        super().teardown()
        self._versions.close()

    def process(
        self,
        element: Any,
        windowed: WindowedValue = beam.DoFn.WindowedValueParam,
        update: Any = None,
    ) -> Iterable[Any]:
        """Hand the element to the engine; yield the results that are there by now."""
        self._versions.request(requested_model(update))
        if not self._versions.due:
            return super().process(element, windowed)
        results = list(self._drain())
        self._versions.swap()
        self.start_bundle()
        return [*with_own_windows(results, windowed), *super().process(element, windowed)]

    def start_bundle(self) -> None:
        """Drop what a failed bundle has left, and replace an engine that has failed."""
        self._engine = self._versions.engine
        super().start_bundle()

    def _new_window(self, output_bytes: float | None) -> InFlightWindow:
        session = self._engine.session(self._parameters)
        return InFlightWindow(session, self._spec.limits, output_bytes)

    def _features(self, element: Record) -> tuple[Record, list[Any], int]:
        model = self._versions.spec.model.source
        kept = Record(element.element, element.example, [], element.counts, model)
        return kept, list(element.chunks), element.nbytes + nbytes(element.element)

    def _result(self, kept: Record, outputs: list[Any]) -> Record:
        # Postprocess may take them together, where nothing else can come in between.
        kept.chunks = outputs if self._groups else each_unpacked(outputs)
        return kept

    def _results(self) -> list[Any]:
        results = super()._results()
        if len(results) > 1:
            Group([each.value for each in results if not isinstance(each, TaggedOutput)])
        return results

    def _element(self, kept: Record) -> Any:
        return kept.element
