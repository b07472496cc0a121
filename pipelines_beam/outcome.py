"""What a job of Beam YAML did: how many rows failed, where and why, and which files it wrote."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import MetricsFilter
from apache_beam.runners.runner import PipelineResult

from transforms.media import suspects as suspects_module
from transforms.options import metrics_namespace
from transforms.stages import metrics
from transforms.tasks import TASKS

from . import failure_files
from .failure_files import KINDS
from .io import in_yaml
from .io.job import Job
from .io.recorder import Followed
from .job_counters import FAILURES, FILES, CollectFileNames, CountFailures, local_reasons
from .yaml_steps import YamlStep, check_distinct, yaml_steps

#: Types of Beam YAML that run a model.
_MODEL_STEPS = {task.transform for task in TASKS.values()} | {"CustomPipeline", in_yaml.TYPE}
#: Folders that Beam writes files in before it moves them to where they belong.
_TEMPORARY = re.compile(r"\.temp[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass
class Failures:
    """The failed rows of one transform."""

    count: int = 0
    #: How often each reason occurred, in this process or in the files of failed rows on this
    #: machine. Where there are none: the names of the error classes, each with 0.
    reasons: Counter[str] = field(default_factory=Counter)


class Outcome:
    """Adds counting steps to a pipeline before it runs, and reads their metrics afterwards."""

    #: Whether a step of the pipeline runs a model.
    runs_model = False
    #: The jobs over files, as they were before the pipeline ran; and what their records need.
    jobs: Sequence[Job] = ()
    followed: Sequence[Followed] = ()
    #: All transforms of the file, and those that run a model on what they are given.
    steps: Sequence[YamlStep] = ()
    models: Sequence[YamlStep] = ()
    #: The columns of their predictions.
    predicted: Collection[str] = ()

    def __init__(self, pipeline: beam.Pipeline) -> None:
        self.steps = steps = list(yaml_steps(pipeline))
        self.models = [step for step in steps if step.kind in _MODEL_STEPS - {in_yaml.TYPE}]
        self.predicted = {name for step in steps for name in step.predicted}
        failed = {id(pcoll): step.name for step in steps for pcoll in step.errors()}
        writing = [step for step in steps if step.writes]
        check_distinct(writing)
        self.runs_model = any(step.kind in _MODEL_STEPS for step in steps)
        #: Those of ProcessFiles are in its output.
        self._with_failures = [
            step.name for step in steps if step.errors() and step.kind != in_yaml.TYPE
        ]
        over_files = [(s.name, s.node.transform) for s in steps if s.kind == in_yaml.TYPE]
        self.jobs = [transform.job for _, transform in over_files]
        self.followed = [Followed(name, t.settings, t.job) for name, t in over_files]
        self.sinks = [step.sink(failed) for step in writing]
        for step in steps:
            for pcoll in step.errors() if step.kind != in_yaml.TYPE else ():
                _ = pcoll | f"Failures of {step.name}" >> beam.ParDo(CountFailures(step.name))
        for step in writing:
            for i, pcoll in enumerate(step.results()):
                _ = pcoll | f"Files of {step.name} {i}" >> beam.ParDo(CollectFileNames(step.name))
        local_reasons.clear()

    def failures(self, result: PipelineResult) -> dict[str, Failures]:
        """The failed rows of each transform that had any."""
        failures = {name: Failures() for name in self._with_failures}
        query = result.metrics().query(MetricsFilter().with_namespace(FAILURES))
        for metric in query["counters"]:
            if metric.key.metric.name in failures:
                failures[metric.key.metric.name].count += metric.result
        for name, reasons in local_reasons.items():
            failures[name].reasons.update(reasons)
        files = self.files(result)
        for sink in self.sinks:
            for name in sink.failed:
                if name in failures and not failures[name].reasons and sink.kind in KINDS:
                    failures[name].reasons = failure_files.reasons(sink.kind, files[sink.name])
        for metric in query["string_sets"]:
            name = metric.key.metric.name
            if name in failures and not failures[name].reasons:
                failures[name].reasons.update(dict.fromkeys(metric.result, 0))
        return {name: failed for name, failed in failures.items() if failed.count}

    def inferences(self, result: PipelineResult) -> dict[str, int]:
        """How many inferences the model of each transform has made, if there are several."""
        names = [step.name for step in self.steps if step.kind in _MODEL_STEPS]
        if len(names) < 2:
            return {}
        query = result.metrics().query(MetricsFilter().with_name("num_inferences"))["counters"]
        return {
            name: sum(each.result for each in query if f"{each.key.step}/".startswith(f"{name}/"))
            for name in names
        }

    def suspects(self, result: PipelineResult) -> dict[str, int]:
        """The numbers of suspect media (see media/suspects.py), by the name of their counter."""
        counts = totals(result)
        suspect = suspects_module.suspect_name("")
        return {n: count for n, count in sorted(counts.items()) if count and n.startswith(suspect)}

    def misfits(self, result: PipelineResult) -> int:
        """How many values did not fit the type of their column in a file."""
        return totals(result)[metrics.MISFITS]

    def files(self, result: PipelineResult) -> dict[str, list[str]]:
        """The files that each sink wrote in this job, sorted."""
        query = result.metrics().query(MetricsFilter().with_namespace(FILES))["string_sets"]
        names: dict[str, set[str]] = {sink.name: set() for sink in self.sinks}
        for each in query:
            names[each.key.metric.name].update(each.result)
        return {
            sink.name: sorted(_full_path(name, sink.folder) for name in names[sink.name])
            for sink in self.sinks
        }

    def remove_temporary_folders(self) -> None:
        """Remove the empty folders that Beam leaves beside files, of sinks on this machine."""
        for folder in {sink.folder for sink in self.sinks}:
            with contextlib.suppress(OSError):
                for each in os.scandir(folder or "."):
                    if _TEMPORARY.fullmatch(each.name):
                        with contextlib.suppress(OSError):  # it is not empty
                            os.rmdir(each.path)


def totals(result: PipelineResult) -> Counter[str]:
    """The counters of this project, each summed over the steps of the pipeline."""
    query = result.metrics().query(MetricsFilter().with_namespace(metrics_namespace.NAMESPACE))
    counts: Counter[str] = Counter()
    for counter in query["counters"]:
        counts[counter.key.metric.name] += counter.result
    return counts


def _full_path(name: str, folder: str) -> str:
    """The path of a file: some sinks give the name without the folder."""
    if FileSystems.get_scheme(name) is not None or os.path.isabs(name) or not folder:
        return name
    return name if os.path.dirname(name) else FileSystems.join(folder, name)
