"""`pipelines-beam plan FILE`: what a job over files will take, before it runs."""

from __future__ import annotations

import argparse
import functools
import sys
from typing import TYPE_CHECKING, Any

from .job_file import add_file, add_seconds, built
from .messages import failed
from .options import count, number
from .statuses import DONE, REFUSED

if TYPE_CHECKING:
    from ..forecast.forecast import Forecast

_DESCRIPTION = """\
Say what a job with ProcessFiles will take: time, memory, the size of the output, rows that will
fail, and a price if one is given. Rows from all over the inputs are computed on this machine for at
most a minute. Nothing is written to the output.
"""
_STATUSES = """\
exit status:
  0    the forecast is made
  2    the command or the file has an error, or the job may take longer than --max-hours
"""


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command; returns its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "plan",
        help="say what a job over files will take, before it runs",
        description=_DESCRIPTION,
        epilog=_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_file(parser)
    add_seconds(parser)
    parser.add_argument(
        "--workers",
        type=functools.partial(count, what="workers"),
        default=1,
        metavar="N",
        help="say what N machines like this one take (1)",
    )
    parser.add_argument(
        "--price-per-hour",
        type=functools.partial(number, what="a currency"),
        metavar="X",
        help="of one worker: say what the job will cost",
    )
    parser.add_argument(
        "--max-hours",
        type=functools.partial(number, what="hours"),
        metavar="H",
        help="end with status 2 if the job may take longer than that",
    )
    parser.add_argument(
        "--profile",
        metavar="FILE",
        help="the speed of another machine, measured there by `pipelines-beam profile`",
    )
    parser.add_argument("--json", action="store_true", help="the forecast as one JSON object")
    return parser


def run(options: argparse.Namespace, rest: list[str], parser: argparse.ArgumentParser) -> int:
    """Show the forecast of a file's job; returns the exit status."""
    try:
        forecast = _forecast(options, rest, parser)
    except Exception as error:
        return failed(options, options.file, error, REFUSED)
    _show(forecast, options.json)
    if options.max_hours is None or not forecast.exceeds(options.max_hours):
        return DONE
    print(f"{options.file}: {_too_long(forecast, options.max_hours)}", file=sys.stderr)
    return REFUSED


def _forecast(
    options: argparse.Namespace, rest: list[str], parser: argparse.ArgumentParser
) -> Forecast:
    job = built(options, rest, parser)
    from dataclasses import replace

    from ..forecast import planned
    from ..forecast.profile import Profile

    found = planned.forecast(
        job.job,
        job.task,
        planned.Options(
            seconds=options.seconds,
            workers=options.workers,
            price_per_hour=options.price_per_hour,
            profile=None if options.profile is None else Profile.read(options.profile),
            build_seconds=job.build_seconds,
        ),
    )
    if not job.output_exists:
        return found
    exists = (
        f"{job.job.output.uri} exists already: this is what --overwrite takes; --resume computes "
        "what is missing"
    )
    return replace(found, warnings=[exists, *found.warnings])


def _show(forecast: Forecast, as_json: bool) -> None:
    if as_json:
        import json

        print(json.dumps(forecast.as_dict()))
    else:
        print(forecast)


def _too_long(forecast: Forecast, most: float) -> str:
    hours = forecast.seconds_of_workers.high / 3600
    workers = "" if forecast.workers == 1 else f" with {forecast.workers} workers"
    return f"the job may take {hours:.3g} hours{workers}, and --max-hours is {most:g}"
