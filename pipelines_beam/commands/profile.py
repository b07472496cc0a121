"""`pipelines-beam profile FILE`: what this machine takes for the rows of a job, as a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .job_file import add_file, add_seconds, built
from .messages import failed
from .statuses import DONE, REFUSED

_DESCRIPTION = """\
Measure what this machine takes for the rows of a job with ProcessFiles, and write it to a file:
`pipelines-beam plan --profile` uses it on another machine. Rows from all over the inputs are
computed for at most a minute. Nothing is written to the output.
"""


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command; returns its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "profile",
        help="measure this machine, for `pipelines-beam plan` on another",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_file(parser)
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="where the profile is written"
    )
    add_seconds(parser)
    return parser


def run(options: argparse.Namespace, rest: list[str], parser: argparse.ArgumentParser) -> int:
    """Measure, and write the profile; returns the exit status."""
    path = Path(options.output)
    try:
        path.parent.resolve(strict=True)  # else the measurement would be lost
        job = built(options, rest, parser)
        from ..forecast import planned

        found = planned.profile(job.job, job.task, options.seconds)
        path.write_text(found.as_json(), encoding="utf-8")
    except Exception as error:
        return failed(options, options.file, error, REFUSED)
    print(f"{path}: {found.measured_rows:,} rows of {found.task} on {found.device}")
    return DONE
