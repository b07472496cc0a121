"""A Beam YAML file as a job: built, so that all that can be checked before it runs is checked."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineResult
from apache_beam.yaml.yaml_transform import SafeLineLoader

from transforms import ModelLoadError
from transforms.stages import preflight

from . import (
    beam_options,
    progress,
    provider,
    quiet_workers,
    specification,
    template,
    workers,
    writable,
)
from .io import in_yaml
from .io.recorder import Recorder
from .outcome import Outcome
from .progress import known_rows
from .runners import checks, job_server, model_directories, runner_file, stopping
from .runners.names import runner_name

#: Runners whose workers are on this machine.
_LOCAL = ("FnApiRunner", "DirectRunner", "SwitchingDirectRunner", "PrismRunner")


@dataclass(frozen=True)
class YamlJob:
    """A file whose pipeline is built."""

    file: str
    settings: PipelineOptions
    pipeline: beam.Pipeline
    outcome: Outcome

    @property
    def waits(self) -> bool:
        """Whether the job is waited for."""
        return not self.settings.view_as(StandardOptions).no_wait_until_finish

    @property
    def is_local(self) -> bool:
        """Whether its workers are on this machine."""
        return runner_name(self.settings) in _LOCAL

    def excess(self) -> Exception | None:
        """The error to show if more rows have failed than may."""
        return next(filter(None, (job.excess() for job in self.outcome.jobs)), None)

    def run(self, style: str, *, verbose: bool = False) -> tuple[PipelineResult, str]:
        """Run it and show its progress in a style; its result, and the state that it ended in.

        What worker processes print is not shown unless `verbose`.
        """
        models, steps = self.outcome.models, self.outcome.steps
        shown = progress.shown(
            self.outcome.jobs,
            style if self.waits else "none",
            self.pipeline.options,
            reads=known_rows.reads(models, steps),
            unit="rows" if len(models) + len(self.outcome.jobs) < 2 else "answers",
            is_local=self.is_local,
        )
        quiet = contextlib.nullcontext() if verbose else quiet_workers.silent(self.settings)
        with quiet, shown, Recorder(self.outcome.followed) as recorder:
            recorder.goes_on = not self.waits
            others = stopping.others(self.settings)
            with self._stoppable(others) as started:
                result = recorder.result = self.pipeline.run()
                started.append(result)
                job_server.guard()
                if self.waits:
                    return result, result.wait_until_finish()
                stopping.wait_until_sent(self.settings, result, others)
                return result, result.state

    @contextlib.contextmanager
    def _stoppable(self, others: frozenset[str]) -> Iterator[list[PipelineResult]]:
        """Where it is stopped, say what becomes of the job on its cluster.

        The results of jobs that are started are put into the list. `others` are jobs that have its
        name.
        """
        started: list[PipelineResult] = []
        try:
            yield started
        except KeyboardInterrupt:
            if not self.is_local:
                # Beam's threads that read from a job server would end with tracebacks.
                threading.excepthook = lambda _: None
            if (said := stopping.stop(self.settings, others, *started[:1])) is not None:
                print(said, file=sys.stderr)
            raise


def built(
    file: str,
    variables: Mapping[str, str],
    flags: Sequence[str],
    given: Mapping[str, Any],
    asked: Mapping[str, Any],
    *,
    on: str | None = None,
    runs: bool = True,
    checks_runner: bool = True,
) -> YamlJob:
    """The job of a file.

    Args:
      file: its path.
      variables: jinja's.
      flags: Beam's options, as flags.
      given: the same, as values by name.
      asked: options of ProcessFiles that the command gives, in place of those of the file.
      on: the name or path of a runner file: where it runs.
      runs: whether it is to run: else nothing is written.
      checks_runner: whether what the runner needs must be there.

    Raises whatever is wrong with the file, its variables, its options or its transforms.

    """
    spec = template.load(file, variables)
    specification.check_top(spec)
    own = SafeLineLoader.strip_metadata(spec.get("options", {}))
    where = {} if on is None else runner_file.load(on)
    settings = beam_options.settings(list(flags), given, own, where)
    is_of_outputs = stopping.name_job(settings, file, in_yaml.outputs(spec))
    goes_on = runs and is_of_outputs and (asked.get("resume") or asked.get("overwrite"))
    left = stopping.left_over(settings) if goes_on else []
    if checks_runner:
        checks.check(settings, needs_free_slots=not left)
    _check_asked(spec, asked)
    provider.importable(os.path.dirname(os.path.abspath(file)))
    if left:
        # Nothing that is wrong with this job may end the one that runs.
        provider.expand(beam.Pipeline(options=settings), spec, file, asked, writes=False)
        print(*stopping.take_over(settings, left), sep="\n", file=sys.stderr)
        if checks_runner:
            checks.check(settings)
    pipeline = beam.Pipeline(options=settings)
    preflight.unreached.clear()
    provider.expand(pipeline, spec, file, asked, writes=runs)
    job = YamlJob(file, settings, pipeline, Outcome(pipeline))
    if job.is_local and preflight.unreached:
        model, reason = preflight.unreached.popitem()
        raise ModelLoadError(f"the model {model!r} {reason}")
    writable.check(job.outcome.steps)
    workers.use_cores(pipeline)
    if (said := model_directories.note(settings, workers.models(pipeline))) is not None:
        print(said, file=sys.stderr)
    return job


def _check_asked(spec: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raises SpecificationError for what the command asks, and nothing in the file can do."""
    for name, option in in_yaml.OPTIONS.items():
        # Of --resume and --overwrite, the one that is not given is asked not to be.
        if (name == "reuse" and name in asked) or asked.get(name):
            specification.check_has(spec, option, in_yaml.TYPE)
    if asked.get("limit"):
        specification.check_limited(spec, in_yaml.TYPE)
