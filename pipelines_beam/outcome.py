"""What a job of Beam YAML did: how many rows failed where and why, and which files it wrote.

Whoever runs it: the rows of error outputs and the names that sinks give are counted by steps of
the pipeline, whose metrics come back from any worker.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.runners.runner import PipelineResult

from transforms.media import suspects as suspects_module
from transforms.options import metrics_namespace
from transforms.options.shown import shown
from transforms.stages import metrics
from transforms.tasks import TASKS

from .specification import SpecificationError

_FAILURES = f"{metrics_namespace.NAMESPACE}.failures"
_FILES = f"{metrics_namespace.NAMESPACE}.files"
#: Bounds of what is kept: messages of one process, characters of one, file names of one bundle.
_MOST_REASONS, _LONGEST_REASON, _MOST_FILES = 8, 300, 1000
#: The name of an error's class, alone and where the error's repr begins.
_NAME, _NAME_OF_REPR = re.compile(r"[A-Za-z_]\w{0,99}"), re.compile(r"([A-Za-z_]\w{0,99})\(")
_TASKS = {task.transform for task in TASKS.values()} | {"CustomPipeline"}
_UNKNOWN = "an error of an unknown class"


@dataclass
class Failures:
    """The failed rows of one transform."""

    count: int = 0
    #: How often each reason was counted in this process; of other processes, the names of the
    #: errors' classes, with 0.
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, kw_only=True)
class Sink:
    """A transform that writes files."""

    name: str
    #: Its type in Beam YAML: WriteToParquet, …
    kind: str
    #: Whether what it writes are failed rows.
    takes_failures: bool
    #: The folder that the names of its files may be relative to.
    folder: str


class Outcome:
    """Watches a pipeline that is built but not run; says what happened after it has run."""

    #: Whether a step of it asks a model.
    answers = False

    def __init__(self, pipeline: beam.Pipeline) -> None:
        steps = list(_yaml_steps(pipeline))
        failed = {id(pcoll) for step in steps for pcoll in step.errors()}
        writing = [step for step in steps if step.kind.startswith("Write")]
        _check_apart(writing)
        self.answers = any(step.kind in _TASKS for step in steps)
        self._failing = [step.name for step in steps if step.errors()]
        self.sinks = [step.sink(failed) for step in writing]
        for step in steps:
            for pcoll in step.errors():
                _ = pcoll | f"Failures of {step.name}" >> beam.ParDo(_CountFailures(step.name))
        for step in writing:
            for i, pcoll in enumerate(step.results()):
                _ = pcoll | f"Files of {step.name} {i}" >> beam.ParDo(_Files(step.name))
        _reasons.clear()

    def failures(self, result: PipelineResult) -> dict[str, Failures]:
        """The failed rows of each transform that had any."""
        found = {name: Failures() for name in self._failing}
        query = result.metrics().query(MetricsFilter().with_namespace(_FAILURES))
        for each in query["counters"]:
            if each.key.metric.name in found:
                found[each.key.metric.name].count += each.result
        for name, reasons in _reasons.items():
            found[name].reasons.update(reasons)
        for each in query["string_sets"]:
            name = each.key.metric.name
            if name in found and name not in _reasons:
                found[name].reasons.update(dict.fromkeys(each.result, 0))
        return {name: each for name, each in found.items() if each.count}

    def suspects(self, result: PipelineResult) -> dict[str, int]:
        """How many media were answered though hardly as they are meant, by the counter's name."""
        found = totals(result)
        suspect = suspects_module.suspect_name("")
        return {n: count for n, count in sorted(found.items()) if count and n.startswith(suspect)}

    def misfits(self, result: PipelineResult) -> int:
        """How many values did not fit the types of their columns in files."""
        return totals(result)[metrics.MISFITS]

    def files(self, result: PipelineResult) -> dict[str, list[str]]:
        """The files that each sink wrote in this job, sorted."""
        query = result.metrics().query(MetricsFilter().with_namespace(_FILES))["string_sets"]
        names: dict[str, set[str]] = {sink.name: set() for sink in self.sinks}
        for each in query:
            names[each.key.metric.name].update(each.result)
        return {
            sink.name: sorted(_whole(name, sink.folder) for name in names[sink.name])
            for sink in self.sinks
        }


def totals(result: PipelineResult) -> Counter[str]:
    """The counters of this project, each added up over the steps of the pipeline."""
    query = result.metrics().query(MetricsFilter().with_namespace(metrics_namespace.NAMESPACE))
    found: Counter[str] = Counter()
    for each in query["counters"]:
        found[each.key.metric.name] += each.result
    return found


def _check_apart(sinks: Sequence[_Step]) -> None:
    """Raises SpecificationError for two sinks whose files have the same names."""
    known: dict[str, _Step] = {}
    for sink in sinks:
        if not sink.prefix:
            continue
        other = known.setdefault(sink.prefix, sink)
        if other is not sink:
            raise SpecificationError(
                f"{other.name} and {sink.name} both write to {shown(sink.prefix, 200)}: the files "
                "of one would replace those of the other"
            )


def _whole(name: str, folder: str) -> str:
    """The path of a file that a sink named, some of them without its folder."""
    if FileSystems.get_scheme(name) is not None or os.path.isabs(name) or not folder:
        return name
    return name if os.path.dirname(name) else FileSystems.join(folder, name)


@dataclass(frozen=True)
class _Step:
    """A transform of the file, as it was applied."""

    node: AppliedPTransform
    kind: str
    config: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.node.full_label)

    @property
    def prefix(self) -> str:
        """What the names of a sink's files begin with."""
        return str(self.config.get("path") or self.config.get("file_path_prefix") or "")

    def errors(self) -> list[beam.PCollection]:
        """The output of its failed rows, if it has one."""
        handling = self.config.get("error_handling")
        name = handling.get("output") if isinstance(handling, Mapping) else None
        found = None if name is None else self.node.outputs.get(name)
        return [] if found is None else [found]

    def results(self) -> list[beam.PCollection]:
        """Its outputs without the failed rows; a PDone says only that it is done."""
        errors = {id(pcoll) for pcoll in self.errors()}
        return [
            each
            for each in self.node.outputs.values()
            if isinstance(each, beam.PCollection) and id(each) not in errors
        ]

    def sink(self, failed: set[int]) -> Sink:
        return Sink(
            name=self.name,
            kind=self.kind,
            takes_failures=any(id(pcoll) in failed for pcoll in self.node.inputs),
            folder=FileSystems.split(self.prefix)[0] if self.prefix else "",
        )


def _yaml_steps(pipeline: beam.Pipeline) -> Iterator[_Step]:
    """The transforms that a Beam YAML file named, which Beam annotates."""
    nodes: list[AppliedPTransform] = []

    class Visitor(PipelineVisitor):  # type: ignore[misc]
        def enter_composite_transform(self, node: AppliedPTransform) -> None:
            nodes.append(node)

        visit_transform = enter_composite_transform

    pipeline.visit(Visitor())
    for node in nodes:
        annotations = {} if node.transform is None else node.transform.annotations()
        if "yaml_type" in annotations:
            config = json.loads(annotations["yaml_args"])
            yield _Step(node, annotations["yaml_type"], config)


#: Reasons of failed rows in this process, by the transform's name.
_reasons: dict[str, Counter[str]] = {}
_lock = threading.Lock()


class _CountFailures(beam.DoFn):  # type: ignore[misc]
    """Counts failed rows, and keeps their first reasons.

    Messages quote the data, and stay in this process. Metrics, which a runner may store and show
    to others, get the names of the errors' classes.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = Metrics.counter(_FAILURES, name)
        self._classes = Metrics.string_set(_FAILURES, name)

    def process(self, row: Any) -> None:
        """Count one row."""
        self._count.inc()
        reason = reason_of(row)
        with _lock:
            reasons = _reasons.setdefault(self._name, Counter())
            if reason not in reasons and len(reasons) >= _MOST_REASONS:
                reason = "other reasons"
            reasons[reason] += 1
        self._classes.add(class_of(row))


def reason_of(row: Any) -> str:
    """Why a row failed: of our failure rows, and of those of Beam's own transforms."""
    error, message = getattr(row, "error", None), getattr(row, "message", None)
    reason = f"{error}: {message}" if error is not None else str(getattr(row, "msg", "no reason"))
    return reason[:_LONGEST_REASON]


def class_of(row: Any) -> str:
    """The name of the class of the error that a row failed with: nothing of the row itself.

    Ours have it as their `error`; those of Beam's own transforms begin `msg` with it, as a repr.
    """
    error = getattr(row, "error", None)
    if error is not None:
        return str(error) if _NAME.fullmatch(str(error)) else _UNKNOWN
    found = _NAME_OF_REPR.match(str(getattr(row, "msg", "")))
    return found[1] if found else _UNKNOWN


class _Files(beam.DoFn):  # type: ignore[misc]
    """Keeps the names of the files that a sink has written."""

    def __init__(self, name: str) -> None:
        self._names = Metrics.string_set(_FILES, name)

    def start_bundle(self) -> None:
        """Count names from the start."""
        self._left = _MOST_FILES

    def process(self, written: Any) -> None:
        """Keep one name: a sink gives it alone, or as the file_name of a FileResult."""
        name = getattr(written, "file_name", written)
        if isinstance(name, str) and self._left:
            self._left -= 1
            self._names.add(name)
