"""`pipelines-beam new TASK`: a job file to begin with."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .messages import quiet
from .options import refuse
from .statuses import DONE, REFUSED


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command; returns its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "new",
        help="print a job file for a task",
        description="Print a Beam YAML file that runs a task over files, with a comment on each of "
        "its options: pipelines-beam new TASK > job.yaml",
        allow_abbrev=False,
    )
    parser.add_argument("task", help="a task's name or alias; `pipelines-beam tasks` lists them")
    parser.add_argument("--model", help="the model of the file; without it, the task's default")
    return parser


def run(options: argparse.Namespace, rest: list[str], parser: argparse.ArgumentParser) -> int:
    """Print a file; returns the exit status."""
    refuse(rest, parser)
    quiet(verbose=False)
    from .. import new_job

    try:
        print(new_job.text(options.task, options.model), end="")
    except ValueError as error:
        print(error, file=sys.stderr)
        return REFUSED
    return DONE
