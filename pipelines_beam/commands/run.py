"""`pipelines-beam run FILE`: a Beam YAML file as a job."""

from __future__ import annotations

import argparse
import functools
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .messages import failed, own_names, quiet
from .options import add_existing, add_set, add_talk, asked_of_existing, count, given, number
from .statuses import DONE, FAILED, REFUSED, ROWS_FAILED

if TYPE_CHECKING:
    from ..yaml_job import YamlJob

_STATUSES = """\
exit status:
  0    the job is done and no row failed; or it was submitted without waiting for it
       (--no_wait_until_finish)
  1    the job failed
  2    nothing has run: the command or the file has an error
  3    the job is done, but rows failed: the report says how many, and why
  130  stopped

The folder of the file is added to the end of Python's import path, here and in worker processes on
this machine: `postprocess: my_module.function` finds my_module.py next to the file. Workers on
other machines need it installed.
"""
_RUN = """\
Run a Beam YAML file. Options that are not listed here are Beam's (--runner=…): see --help-beam.
Unknown options are refused before anything runs. Options that only the job server of a runner
knows, such as Flink's, are given as --beam-option NAME=VALUE. An option of the command overrides
the same option in the file.
"""


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command; returns its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "run",
        help="run a Beam YAML file",
        usage="pipelines-beam run FILE [options] [Beam's options]",
        description=_RUN,
        epilog=_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_set(parser)
    parser.add_argument(
        "--on",
        metavar="RUNNER",
        help="where it runs: local, flink, dataflow, prism, or a YAML file of Beam's options",
    )
    parser.add_argument(
        "--beam-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        type=_beam_option,
        help="an option that the runner's job server knows: passed on unchecked",
    )
    _add_of_files(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check everything and say what would run; nothing is written",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="progress and summary on stdout as JSON, an object on each line",
    )
    add_talk(parser)
    parser.add_argument("--help-beam", action="store_true", help="list Beam's options")
    return parser


def _add_of_files(parser: argparse.ArgumentParser) -> None:
    """Add the options that ProcessFiles has."""
    add_existing(
        parser,
        resume="compute what is missing in the output of ProcessFiles",
        overwrite="replace the output of ProcessFiles",
    )
    parser.add_argument(
        "--limit",
        type=functools.partial(count, what="rows"),
        metavar="N",
        help="ProcessFiles reads only the first N rows; its output is that of another job",
    )
    parser.add_argument(
        "--max-failures",
        metavar="N|P%",
        help="ProcessFiles stops when more rows than that have failed: 100, or 1%% of those done",
    )
    parser.add_argument(
        "--no-reuse",
        action="store_true",
        help="ProcessFiles computes equal rows each on its own",
    )
    parser.add_argument(
        "--audit",
        type=functools.partial(number, what="rows: the part of them, such as 0.01"),
        metavar="SHARE",
        help="ProcessFiles computes this part of the rows once more, alone and in float32, and "
        "says how far its answers are from that: 0.01",
    )


def _beam_option(text: str) -> str:
    if text.startswith(("-", "=")) or not text:
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE without dashes, got {text!r:.80}")
    return text


def run(options: argparse.Namespace, rest: list[str], parser: argparse.ArgumentParser) -> int:
    """Run a file; returns the exit status."""
    quiet(options.verbose, options.traceback)
    from .. import beam_options

    if options.help_beam:
        print(beam_options.described())
        return DONE
    if not any(not each.startswith("-") for each in rest):
        parser.error("the Beam YAML file to run is missing")
    try:
        file, flags, values = beam_options.parsed(rest, own_names(parser), options.beam_option)
    except beam_options.OptionsError as error:
        parser.error(str(error))
    job = _built(options, file, flags, values)
    if isinstance(job, int):
        return job
    if options.dry_run:
        return _show_dry(options, job)
    return _started(options, job, _resuming(options, parser, file, flags))


def _built(
    options: argparse.Namespace, file: str, flags: list[str], values: Mapping[str, Any]
) -> YamlJob | int:
    """The job of a file; the exit status of a file that has an error."""
    from .. import yaml_job

    asked, runs = _asked(options), not options.dry_run
    try:
        return yaml_job.built(file, options.set, flags, values, asked, on=options.on, runs=runs)
    except Exception as error:
        return failed(options, file, error, REFUSED)


def _asked(options: argparse.Namespace) -> dict[str, Any]:
    """What the command asks of ProcessFiles."""
    found = {
        "limit": options.limit,
        "max_failures": options.max_failures,
        "audit": options.audit,
    }
    return {
        **asked_of_existing(options.existing),
        **{name: value for name, value in found.items() if value is not None},
        **({"reuse": False} if options.no_reuse else {}),
    }


def _show_dry(options: argparse.Namespace, job: YamlJob) -> int:
    """Say what a job would do."""
    from .. import dry_run
    from ..progress.show import say_json

    if options.json:
        say_json(dry_run.as_data(job))
    else:
        print(*dry_run.as_text(job), sep="\n")
    return DONE


def _started(options: argparse.Namespace, job: YamlJob, command: str) -> int:
    """Run a job that is built; returns the exit status. `command` is the one that resumes it."""
    from apache_beam.runners.runner import PipelineState

    from .. import progress, summary

    start = time.monotonic()
    try:
        result, state = job.run(
            progress.style_for(options.json), verbose=options.verbose or options.traceback
        )
    except KeyboardInterrupt:
        summary.show_resume(job.outcome, command)
        raise
    except Exception as error:
        return _failed_while_running(options, job, command, error)
    if state in (PipelineState.FAILED, PipelineState.CANCELLED):
        return _failed_while_running(options, job, command, RuntimeError(f"it is {state.lower()}"))
    if not job.waits and state != PipelineState.DONE:
        print(f"the job is submitted: {state}", file=sys.stderr if options.json else sys.stdout)
        return DONE
    return _finished(options, job, time.monotonic() - start, result)


def _failed_while_running(
    options: argparse.Namespace, job: YamlJob, command: str, error: Exception
) -> int:
    """Say why a job has failed, and how to go on."""
    from transforms.options.causes import is_caused_by

    from .. import summary

    is_stopped = is_caused_by(error, KeyboardInterrupt)
    if not is_stopped:  # within a step: Beam makes an error of it
        excess = job.excess()
        failed(options, job.file, excess or error, FAILED)
        if excess is not None:
            print("a resumed job stops again unless more rows may fail", file=sys.stderr)
    summary.show_resume(job.outcome, command)
    if is_stopped:
        raise KeyboardInterrupt from error
    return FAILED


def _finished(options: argparse.Namespace, job: YamlJob, seconds: float, result: Any) -> int:
    """Show what a job has done; returns the exit status."""
    from .. import summary
    from ..progress.show import say_json

    job.outcome.remove_temporary_folders()
    if options.json:
        data = summary.as_data(job.outcome, seconds, result)
        say_json(data)
        rows_failed = data["rows_failed"]
    else:
        rows_failed = summary.show(job.outcome, seconds, result)
    if (excess := job.excess()) is not None:
        return failed(options, job.file, excess, FAILED)
    return ROWS_FAILED if rows_failed else DONE


def _resuming(
    options: argparse.Namespace, parser: argparse.ArgumentParser, file: str, flags: Sequence[str]
) -> str:
    """The command that goes on with a job that has ended early: with the same options."""
    unchecked = {f"--{each}" for each in options.beam_option}
    words = [file, *(each for each in flags if each not in unchecked), *given(options, parser)]
    return shlex.join(["pipelines-beam", "run", *words, "--resume"])
