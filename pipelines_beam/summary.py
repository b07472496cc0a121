"""The summary of a finished job: numbers of rows, throughput, failures, and the files it wrote."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from apache_beam.runners.runner import PipelineResult

from transforms.media import suspects
from transforms.stages import metrics

from . import samples
from .io import in_yaml
from .io.audit.results import audit_result
from .io.failure_counts import FailureCounts
from .io.job import Job
from .io.output import AUDIT, FAILURES
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
        _show_counts(failures, seconds, result, outcome)
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
                _show_files(sink, files[sink.name], outcome)
    except Exception as error:
        unknown = "it is unknown whether rows of it failed"
        _note(unknown if failures is None else "what it did cannot be shown", error)
    return _has_failures(outcome, failures)


def as_data(outcome: Outcome, seconds: float, result: PipelineResult) -> dict[str, Any]:
    """The summary for programs; `rows_failed` says whether the job ends with status 3.

    An error while it is made is in it: the job itself has succeeded.
    """
    failures: Mapping[str, Failures] | None = None
    try:
        failures = outcome.failures(result)
        return _data(outcome, failures, seconds, result)
    except Exception as error:
        failed = _has_failures(outcome, failures)
        return {"event": "summary", "error": _said(error), "rows_failed": failed}


def _data(
    outcome: Outcome, failures: Mapping[str, Failures], seconds: float, result: PipelineResult
) -> dict[str, Any]:
    done, failed, unit = _counts(result, outcome)
    return {
        "event": "summary",
        "seconds": round(seconds, 1),
        unit: done,
        "failed": failed,
        "rows_failed": _has_failures(outcome, failures),
        "inferences": outcome.inferences(result),
        "failures": {name: _failures_as_data(each) for name, each in failures.items()},
        "jobs": [_job_as_data(job) for job in outcome.jobs],
        "files": outcome.files(result),
    }


def _has_failures(outcome: Outcome, failures: Mapping[str, Failures] | None) -> bool:
    """Whether rows failed. A resumed job ends as one that was never stopped."""
    failed_before = any(job.output.names(FAILURES) for job in outcome.jobs)
    return bool(failures) or metrics.counts().failed > 0 or failed_before


def _failures_as_data(failures: Failures) -> dict[str, Any]:
    common = failures.reasons.most_common(_MAX_REASONS)
    return {
        "rows": failures.count,
        "reasons": [{"reason": reason, "rows": count or None} for reason, count in common],
    }


def _job_as_data(job: Job) -> dict[str, Any]:
    found = FailureCounts(job.output)
    failures = Failures(found.count(), found.reasons())
    written = job.written()
    return {
        "output": job.output.uri,
        "files": job.shards,
        "files_written": written.shards,
        "files_from_before": job.done,
        "failed_rows": job.output.path(FAILURES) if failures.count else None,
        "failures": _failures_as_data(failures),
        "audit": _audit_as_data(job),
    }


def _show_counts(
    failures: Mapping[str, Failures], seconds: float, result: PipelineResult, outcome: Outcome
) -> None:
    done, failed, unit = _counts(result, outcome)
    if outcome.runs_model and not done:
        print("0 rows: no model was asked anything")
    if done:
        print(f"{done:,} {unit} in {seconds:.1f} s: {done / seconds:.0f} {unit}/s", end="")
        print(f", {failed:,} of them failed" if failed else ", none failed")
    for name, count in outcome.inferences(result).items():
        print(f"  {clean(name)}: {count:,} inferences")
    for name, each in failures.items():
        print(f"failed in {clean(name)}: {each.count:,}")
        _show_reasons(each.reasons)


def _show_reasons(reasons: Counter[str]) -> None:
    for reason, count in reasons.most_common(_MAX_REASONS):
        print(f"  {f'{count:,} x ' if count else ''}{clean(reason)}")


def _show_job(job: Job) -> None:
    """Print what a job over files had to do, how many of its rows failed, where they are and why.

    The failure rows are those of all its starts, and of all processes.
    """
    before = f", {job.done:,} of them from before" if job.done else ""
    print(f"{_are_there(job)}{before}")
    found = FailureCounts(job.output)
    if count := found.count():
        print(f"failed rows: {count:,} in {printable(job.output.path(FAILURES))}")
        _show_reasons(found.reasons())
    if job.audit is not None:
        result = audit_result(job.output)
        print(result)
        for excess in result.excesses(job.audit):
            print(f"warning: {excess}: see {printable(job.output.path(AUDIT))}", file=sys.stderr)


def _audit_as_data(job: Job) -> dict[str, Any] | None:
    """What the audit of a job has found; None for a job without one."""
    if job.audit is None:
        return None
    result = audit_result(job.output)
    return {
        **asdict(result),
        "files": job.output.path(AUDIT),
        "warnings": result.excesses(job.audit),
    }


def show_resume(outcome: Outcome, command: str) -> None:
    """Say what jobs over files have written before they ended early, and how to go on."""
    for job in outcome.jobs:
        print(f"{_are_there(job)}: go on with {printable(command)}", file=sys.stderr)


def _are_there(job: Job) -> str:
    """How many files of a job are written; metrics of several processes may lack some."""
    written = job.written().shards
    return f"{written:,} of {job.shards:,} files of {printable(job.output.uri)} are there"


def _suspect(name: str, count: int) -> str:
    """A line about suspect media (see media/suspects.py)."""
    kind = name.removeprefix(suspects.suspect_name("")).replace("_", " ")
    return f"{count:,} {kind}: the answers are likely not what you mean, see {name} in the README"


def _counts(result: PipelineResult, outcome: Outcome) -> tuple[int, int, str]:
    """(answered or failed, failed, the unit that is counted)."""
    counts = metrics.counts()
    if counts.answered or counts.failed:
        unit = "rows" if len(outcome.models) + len(outcome.jobs) < 2 else "answers"
        return counts.answered + counts.failed, counts.failed, unit
    # The job ran in other processes: the runner collects the metrics of them all.
    total = totals(result)
    failed = sum(count for name, count in total.items() if name.startswith("failures_"))
    return total["num_inferences"] + failed, failed, "inferences"


def _show_files(sink: Sink, files: Sequence[str], outcome: Outcome) -> None:
    """Print the names of a sink's files, and a sample of those on this machine."""
    try:
        local = [path for path in files if os.path.isfile(path)]
        size = f" ({sum(map(os.path.getsize, local)) / 1e6:,.1f} MB)" if local else ""
        more = f" and {len(files) - 1} more" if files[1:] else ""
        print(f"wrote {printable(files[0])}{more}{size}")
        if sink.kind in ("WriteToParquet", in_yaml.TYPE) and not sink.failed:
            for line in samples.lines(local, outcome.predicted):
                print(line)
    except Exception as error:
        _note(f"{printable(files[0])} cannot be shown", error)


def _note(what: str, error: Exception) -> None:
    print(f"the job is done, but {what}: {_said(error)}", file=sys.stderr)


def _said(error: Exception) -> str:
    return clean(f"{type(error).__name__}: {error}"[:_MAX_ERROR_CHARACTERS])
