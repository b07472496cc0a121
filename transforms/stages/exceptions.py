"""Failure rows beside results, for every transform of this package."""

from __future__ import annotations

import collections
import copy
import functools
import types
from collections.abc import Mapping
from typing import Any, Self

import apache_beam as beam

from .base import FAILED
from .failure_rows import failure_type

_NONE: Mapping[str, Any] = types.MappingProxyType({})


class WithFailures(beam.PTransform):  # type: ignore[misc]
    """A transform that can give failure rows beside its results."""

    _tags: tuple[str, str] | None = None

    def with_exception_handling(self, main_tag: str = "good", dead_letter_tag: str = "bad") -> Self:
        """The same transform giving (good, bad): results, and a row for each failed element.

        Rows have the columns element, stage, kind (data, memory, timeout or crash), error (the
        exception's type), message, traceback and attempts.
        """
        copied = copy.copy(self)
        copied._tags = (main_tag, dead_letter_tag)
        return copied

    def _outputs(self, good: Any, bad: list[Any], failures: Any = None) -> Any:
        """The outputs of `expand`: the results alone, or results and failures.

        `failures` is the type of the latter; None: failure rows.
        """
        if self._tags is None:
            return good
        failures = failure_type() if failures is None else failures
        for rows in bad:
            rows.element_type = failures
        all_bad = bad[0] if len(bad) == 1 else tuple(bad) | "Failures" >> beam.Flatten()
        all_bad.element_type = failures
        results: Any = collections.namedtuple  # its fields are known only here
        return results("Results", self._tags)(good, all_bad)

    def _apply(
        self,
        fn: beam.DoFn,
        pcoll: Any,
        result_type: Any,
        hints: Mapping[str, Any] = _NONE,
        sides: Mapping[str, Any] = _NONE,
        *,
        into_stage: bool = False,
        isolate: bool = False,
    ) -> tuple[Any, list[Any]]:
        """Apply a stage's DoFn: its results, and its failures if they are handled.

        `into_stage` says whether another stage takes the results, `isolate` whether no other step
        is fused with this one.
        """
        hand_on = functools.partial(_hand_on, hints)
        if isolate:
            pcoll = _shuffled("Isolate", pcoll, pcoll.element_type)
        step = beam.ParDo(fn, **sides).with_resource_hints(**hints)
        if self._tags is None:
            good, bad = pcoll | "Run" >> step.with_output_types(result_type), []
        else:
            outputs = pcoll | "Run" >> step.with_outputs(FAILED, main="main")
            good, bad = outputs["main"], [outputs[FAILED] | "Failed" >> hand_on()]
            good.element_type = result_type
        if isolate:
            good = _shuffled("Results", good, result_type)
            return good, [_shuffled("Failures", each, each.element_type) for each in bad]
        if not into_stage:
            good = good | "Answered" >> hand_on()
            good.element_type = result_type
        return good, bad


def _shuffled(label: str, pcoll: Any, kind: Any) -> Any:
    """The same elements with their times and windows: what comes next is a stage of its own."""
    pcoll = pcoll | label >> beam.Reshuffle()
    pcoll.element_type = kind
    return pcoll


def _hand_on(hints: Mapping[str, Any]) -> beam.PTransform:
    """A step behind a stage.

    Beam loses what is yielded at the end of a bundle where the next step takes batches of
    elements, as WriteToParquet may.
    """
    return beam.Map(_itself).with_resource_hints(**hints)


def _itself(element: Any) -> Any:
    return element
