"""`pipelines-beam tasks [NAME]`: what there is, and what one task takes and gives."""

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
        "tasks",
        help="list the tasks, or show one",
        description="List the tasks with their inputs (optional ones in brackets) and columns; or "
        "show one: its inputs, its parameters with their defaults, the types of its columns and "
        "its default model.",
        allow_abbrev=False,
    )
    parser.add_argument("task", nargs="?", help="a task's name or alias: show all of it")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="all of it, or of every task, as JSON")
    form.add_argument("--markdown", action="store_true", help="the README's table of all tasks")
    return parser


def run(options: argparse.Namespace, rest: list[str], parser: argparse.ArgumentParser) -> int:
    """List the tasks, or show one; returns the exit status."""
    refuse(rest, parser)
    if options.markdown and options.task is not None:
        parser.error("--markdown is the table of all tasks: it takes no task")
    quiet(verbose=False)
    from .. import tasks

    if options.task is not None:
        return _show(options)
    if options.json:
        print(tasks.as_json())
    else:
        print(tasks.as_markdown().rstrip() if options.markdown else tasks.as_text())
    return DONE


def _show(options: argparse.Namespace) -> int:
    from .. import tasks

    try:
        print((tasks.one_as_json if options.json else tasks.one_as_text)(options.task))
    except ValueError as error:
        print(error, file=sys.stderr)
        return REFUSED
    return DONE
