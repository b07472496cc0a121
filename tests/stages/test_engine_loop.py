"""The loop over an engine: results in their places, failures of each stage, features let go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from support.manual_engine import ManualEngine, window
from support.runs import windowed

from transforms.engine.reports import Report
from transforms.stages.engine_loop import EngineLoop


class Loop(EngineLoop):
    """Numbers to the texts of their doubles; 7 has no features, and 8 no result."""

    def __init__(self, engine: ManualEngine, **limits: int) -> None:
        self._in_flight = window(engine, **limits)
        self.reports: list[Report] = []

    def _features(self, element: Any) -> tuple[Any, list[Any], int]:
        if element == 7:
            raise ValueError("no features")
        return ("kept", element), [element], 1

    def _result(self, kept: Any, outputs: list[Any]) -> Any:
        if kept[1] == 8:
            raise ValueError("no result")
        return str(2 * kept[1])

    def _element(self, kept: Any) -> Any:
        return kept[1]

    def _failed(
        self,
        element: Any,
        place: Any,
        error: BaseException,
        attempts: int = 1,
        stage: str | None = None,
    ) -> Any:
        return place.with_value((element, stage, str(error), attempts))

    def _add_reports(self, reports: Sequence[Report]) -> None:
        self.reports += reports


def test_results_come_as_the_engine_answers() -> None:
    engine = ManualEngine()
    loop = Loop(engine)
    assert loop._submit(windowed(1)) == []
    assert loop._submit(windowed(2)) == []
    engine.answer()
    assert [each.value for each in loop._submit(windowed(3))] == ["4"]
    engine.answer()
    engine.answer()
    assert [each.value for each in loop._drain()] == ["6", "2"]


def test_a_full_window_waits_for_an_answer() -> None:
    engine = ManualEngine()
    loop = Loop(engine, window=2)
    submit = engine.submit

    def answering(ticket: Any) -> None:
        submit(ticket)
        if len(engine.waiting) > 2:
            engine.answer()

    engine.submit = answering  # type: ignore[method-assign]
    found = [each.value for i in range(6) for each in loop._submit(windowed(i))]
    assert found == ["4", "6", "8", "10"]


def test_a_failure_names_its_element_and_stage() -> None:
    engine = ManualEngine()
    loop = Loop(engine)
    (unprepared,) = loop._submit(windowed(7))
    assert unprepared.value == (7, "preprocess", "no features", 1)
    loop._submit(windowed(8))
    engine.answer()
    assert [x.value for x in loop._drain()] == [(8, "postprocess", "no result", 1)]
    loop._submit(windowed(9))
    engine.waiting[0].attempts = 3
    engine.answer(error=ValueError("bad"))
    assert [x.value for x in loop._drain()] == [(9, None, "bad", 3)]
