"""`pipelines-beam report OUTPUT`: what a job over files did, as one HTML file."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .messages import message, quiet
from .options import refuse
from .statuses import DONE, REFUSED


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command; returns its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "report",
        help="show what a job over files did, as one HTML file",
        description="Write one HTML file that shows a job over files: where its time went, and "
        "what to change; throughput, batches and failures; and examples of its results. Works for "
        "every output of ProcessFiles, also while the job runs. Needs the extra `report`.",
        allow_abbrev=False,
    )
    parser.add_argument("output", help="the path or URI of the job's output")
    parser.add_argument(
        "-o", "--to", default="report.html", metavar="FILE", help="default: report.html"
    )
    return parser


def run(options: argparse.Namespace, rest: list[str], parser: argparse.ArgumentParser) -> int:
    """Write the report; returns the exit status."""
    refuse(rest, parser)
    quiet(verbose=False)
    from ..report import Report

    try:
        path = Report(options.output).write(options.to)
    except (ImportError, OSError, ValueError) as error:
        print(message(error), file=sys.stderr)
        return REFUSED
    print(path)
    return DONE
