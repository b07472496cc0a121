"""What a person wants to see when a job is done: how many, how fast, where, and what."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from apache_beam.runners.runner import PipelineResult

from transforms.media import suspects
from transforms.stages import metrics

from . import samples
from .outcome import Failures, Outcome, Sink, totals
from .samples import clean, printable

_SHOWN = 3
_LONGEST = 300


def show(outcome: Outcome, seconds: float, result: PipelineResult) -> bool:
    """Print the report of a finished Beam YAML job; returns whether rows of it failed.

    What cannot be found out is a line on stderr: the job has succeeded.
    """
    failures: Mapping[str, Failures] | None = None
    try:
        failures = outcome.failures(result)
        _show_counts(failures, seconds, result, outcome.answers)
        for name, count in outcome.suspects(result).items():
            print(_suspect(name, count))
        if misfits := outcome.misfits(result):
            print(
                f"{misfits:,} values did not fit the types of their columns: those cells are empty"
            )
        files = outcome.files(result)
        for sink in outcome.sinks:
            if files[sink.name]:
                _show_files(sink, files[sink.name])
    except Exception as error:
        unknown = "it is unknown whether rows of it failed"
        _note(unknown if failures is None else "what it did cannot be shown", error)
    return bool(failures) or metrics.counts().failed > 0


def _show_counts(
    failures: Mapping[str, Failures], seconds: float, result: PipelineResult, answers: bool
) -> None:
    done, failed, unit = _counts(result)
    if answers and not done:
        print("0 rows: no model was asked anything")
    if done:
        print(f"{done:,} {unit} in {seconds:.1f} s: {done / seconds:.0f} {unit}/s", end="")
        print(f", {failed:,} of them failed" if failed else ", none failed")
    for name, each in failures.items():
        print(f"failed in {clean(name)}: {each.count:,}")
        for reason, count in each.reasons.most_common(_SHOWN):
            print(f"  {f'{count:,} x ' if count else ''}{clean(reason)}")


def _suspect(name: str, count: int) -> str:
    """What is said of media that were answered, though hardly as they are meant."""
    kind = name.removeprefix(suspects.suspect_name("")).replace("_", " ")
    return f"{count:,} {kind}: the answers are likely not what you mean, see {name} in the README"


def _counts(result: PipelineResult) -> tuple[int, int, str]:
    """How many were answered, or failed; how many of them failed; and what they are."""
    counts = metrics.counts()
    if counts.answered or counts.failed:
        return counts.answered + counts.failed, counts.failed, "rows"
    # The job ran in other processes: what the runner has gathered from them.
    total = totals(result)
    failed = sum(count for name, count in total.items() if name.startswith("failures_"))
    return total["num_inferences"] + failed, failed, "inferences"


def _show_files(sink: Sink, files: Sequence[str]) -> None:
    """Say which files a sink wrote, and show some of it; of files that are out of reach, names."""
    try:
        local = [path for path in files if os.path.isfile(path)]
        size = f" ({sum(map(os.path.getsize, local)) / 1e6:,.1f} MB)" if local else ""
        more = f" and {len(files) - 1} more" if files[1:] else ""
        print(f"wrote {printable(files[0])}{more}{size}")
        if sink.kind == "WriteToParquet" and not sink.takes_failures:
            for line in samples.lines(local):
                print(line)
    except Exception as error:
        _note(f"{printable(files[0])} cannot be shown", error)


def _note(what: str, error: Exception) -> None:
    reason = clean(f"{type(error).__name__}: {error}"[:_LONGEST])
    print(f"the job is done, but {what}: {reason}", file=sys.stderr)
