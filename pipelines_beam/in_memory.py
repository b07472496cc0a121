"""A pipeline in this process over elements in memory: they are neither copied nor pickled."""

from __future__ import annotations

import functools
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
from tqdm.auto import tqdm

from transforms import TaskTransform

from .beam_options import DEFAULT_RUNNER


@dataclass
class _Job:
    """What a pipeline reads, and what it has given so far."""

    elements: Sequence[Any]
    rows_in: Callable[[Any], int]
    refuse: Callable[[Any], Exception] | None
    bar: Any
    good: list[Any] = field(default_factory=list)
    bad: list[Any] = field(default_factory=list)
    error: Exception | None = None

    def keep(self, kept: list[Any], output: Any) -> None:
        """Keep an output."""
        kept.append(output)
        self.bar.update(self.rows_in(output))

    def fail(self, output: Any) -> None:
        """Keep a failure, or end the job with the error that it is."""
        if self.refuse is not None:
            self.error = self.refuse(output)
            raise self.error
        self.keep(self.bad, output)


#: The jobs that run now, by names: Beam pickles what its steps refer to.
_jobs: dict[str, _Job] = {}


def outputs_of(
    elements: Sequence[Any],
    task: TaskTransform,
    element_type: Any,
    *,
    rows_in: Callable[[Any], int],
    count: int,
    refuse: Callable[[Any], Exception] | None,
) -> tuple[list[Any], list[Any]]:
    """What a task makes of elements: its results and its failures, in any order.

    A progress bar shows how far it is, if standard error is a terminal.

    Args:
      elements: the elements.
      task: the task's transform.
      element_type: the type of the elements.
      rows_in: how many rows an output is.
      count: how many rows the elements are.
      refuse: what makes an error of a failure, which ends the job. None: failures are kept.

    Raises what `refuse` makes, and what the pipeline raises.

    """
    name = uuid.uuid4().hex
    with tqdm(total=count, unit=" rows", file=sys.stderr, disable=not sys.stderr.isatty()) as bar:
        job = _jobs[name] = _Job(elements, rows_in, refuse, bar)
        try:
            _run(name, task, element_type)
        except Exception:
            if job.error is not None:  # Beam makes another error of it
                raise job.error from None
            raise
        finally:
            del _jobs[name]
    return job.good, job.bad


def _run(name: str, task: TaskTransform, element_type: Any) -> None:
    count = len(_jobs[name].elements)
    with beam.Pipeline(DEFAULT_RUNNER) as pipeline:
        numbers = pipeline | beam.Create(range(count), reshuffle=False).with_output_types(int)
        read = beam.Map(functools.partial(_element, name)).with_output_types(element_type)
        good, bad = numbers | "Read" >> read | task.with_exception_handling()
        _ = good | "Keep" >> beam.Map(functools.partial(_keep, name))
        _ = bad | "Fail" >> beam.Map(functools.partial(_fail, name))


def _element(name: str, i: int) -> Any:
    return _jobs[name].elements[i]


def _keep(name: str, output: Any) -> None:
    _jobs[name].keep(_jobs[name].good, output)


def _fail(name: str, output: Any) -> None:
    _jobs[name].fail(output)
