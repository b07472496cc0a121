"""The summary of a finished job: numbers of rows, throughput, failures, and the files it wrote."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from apache_beam.runners.runner import PipelineResult

from transforms.media import suspects
from transforms.stages import metrics

from . import samples
from .io import in_yaml
from .io.job import Job
from .io.output import FAILURES, is_shard
from .outcome import Failures, Outcome, totals
from .samples import clean, printable
from .yaml_steps import Sink

_MAX_REASONS = 3
_MAX_ERROR_CHARACTERS = 300


def show(outcome: Outcome, seconds: float, result: PipelineResult) -> bool:
    """Print the summary of a finished Beam YAML job; returns whether rows failed.

    An error while the summary is made is a line on stderr: the job itself has succeeded.
    """
    failures: Mapping[str, Failures] | None = None
    try:
        failures = outcome.failures(result)
        _show_counts(failures, seconds, result, outcome.runs_model)
        for name, count in outcome.suspects(result).items():
            print(_suspect(name, count))
        if misfits := outcome.misfits(result):
            print(
                f"{misfits:,} values did not fit the types of their columns: those cells are empty"
            )
        for job in outcome.jobs:
            _show_job(job)
        files = outcome.files(result)
        for sink in outcome.sinks:
            if files[sink.name]:
                _show_files(sink, files[sink.name])
    except Exception as error:
        unknown = "it is unknown whether rows of it failed"
        _note(unknown if failures is None else "what it did cannot be shown", error)
    # A resumed job ends as one that was never stopped: failures of its first part count.
    failed_before = any(job.output.names(FAILURES) for job in outcome.jobs)
    return bool(failures) or metrics.counts().failed > 0 or failed_before


def _show_counts(
    failures: Mapping[str, Failures], seconds: float, result: PipelineResult, runs_model: bool
) -> None:
    done, failed, unit = _counts(result)
    if runs_model and not done:
        print("0 rows: no model was asked anything")
    if done:
        print(f"{done:,} {unit} in {seconds:.1f} s: {done / seconds:.0f} {unit}/s", end="")
        print(f", {failed:,} of them failed" if failed else ", none failed")
    for name, each in failures.items():
        print(f"failed in {clean(name)}: {each.count:,}")
        for reason, count in each.reasons.most_common(_MAX_REASONS):
            print(f"  {f'{count:,} x ' if count else ''}{clean(reason)}")


def _show_job(job: Job) -> None:
    """Print what a job over files had to do, and where its failed rows are."""
    before = f", {job.done:,} of them from before" if job.done else ""
    print(f"{_are_there(job)}{before}")
    if job.output.names(FAILURES):
        print(f"rows that failed: {printable(job.output.path(FAILURES))}")


def show_resume(outcome: Outcome, file: str) -> None:
    """Say what jobs over files have written before they ended early, and how to go on."""
    for job in outcome.jobs:
        more = f"go on with pipelines-beam run {printable(file)} --resume"
        print(f"{_are_there(job)}: {more}", file=sys.stderr)


def _are_there(job: Job) -> str:
    """How many files of a job are written; metrics of several processes may lack some."""
    written = sum(map(is_shard, job.output.names()))
    return f"{written:,} of {job.shards:,} files of {printable(job.output.uri)} are there"


def _suspect(name: str, count: int) -> str:
    """A line about suspect media (see media/suspects.py)."""
    kind = name.removeprefix(suspects.suspect_name("")).replace("_", " ")
    return f"{count:,} {kind}: the answers are likely not what you mean, see {name} in the README"


def _counts(result: PipelineResult) -> tuple[int, int, str]:
    """(answered or failed, failed, the unit that is counted)."""
    counts = metrics.counts()
    if counts.answered or counts.failed:
        return counts.answered + counts.failed, counts.failed, "rows"
    # The job ran in other processes: the runner collects the metrics of them all.
    total = totals(result)
    failed = sum(count for name, count in total.items() if name.startswith("failures_"))
    return total["num_inferences"] + failed, failed, "inferences"


def _show_files(sink: Sink, files: Sequence[str]) -> None:
    """Print the names of a sink's files, and a sample of those on this machine."""
    try:
        local = [path for path in files if os.path.isfile(path)]
        size = f" ({sum(map(os.path.getsize, local)) / 1e6:,.1f} MB)" if local else ""
        more = f" and {len(files) - 1} more" if files[1:] else ""
        print(f"wrote {printable(files[0])}{more}{size}")
        if sink.kind in ("WriteToParquet", in_yaml.TYPE) and not sink.takes_failures:
            for line in samples.lines(local):
                print(line)
    except Exception as error:
        _note(f"{printable(files[0])} cannot be shown", error)


def _note(what: str, error: Exception) -> None:
    reason = clean(f"{type(error).__name__}: {error}"[:_MAX_ERROR_CHARACTERS])
    print(f"the job is done, but {what}: {reason}", file=sys.stderr)
