"""Running transforms and stages in this process."""

from __future__ import annotations

import os
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from support import sink

#: Prism where the variable PRISM names its program, else Beam's runner in this process.
RUNNER = (
    "support.prism.PrismRunner"
    if "PRISM" in os.environ
    else "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
)


def answers_and_failures(elements: list[Any], transform: Any) -> tuple[list[Any], list[Any]]:
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        made = beam.Create(elements, reshuffle=False)
        good, bad = p | made | transform.with_exception_handling()
        (good, bad) | beam.Flatten() | beam.Map(sink.collect)
    found = list(sink.collected)
    sink.collected.clear()
    failed = [row for row in found if hasattr(row, "stage")]
    return [row for row in found if not hasattr(row, "stage")], failed


def windowed(value: Any) -> WindowedValue:
    return WindowedValue(value, 0, (GlobalWindow(),))


def bundle(fn: Any, values: list[Any]) -> list[Any]:
    """One bundle through a DoFn, as a runner calls it."""
    fn.start_bundle()
    out: list[Any] = []
    for value in values:
        out += fn.process(value, windowed(value))
    return [x.value for x in [*out, *fn.finish_bundle()]]
