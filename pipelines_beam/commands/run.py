"""`pipelines-beam run FILE`: a Beam YAML file as a job."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from .assignments import Assign
from .messages import chain, failed, own_names, quiet
from .statuses import DONE, FAILED, REFUSED, ROWS_FAILED

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
    parser.add_argument(
        "--set",
        action=Assign,
        default={},
        metavar="NAME=VALUE",
        help="a jinja variable of the file; one that the file does not read is refused",
    )
    parser.add_argument(
        "--beam-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        type=_beam_option,
        help="an option that the runner's job server knows: passed on unchecked",
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument(
        "--resume",
        dest="existing",
        action="store_const",
        const="resume",
        help="compute what is missing in the output of ProcessFiles",
    )
    existing.add_argument(
        "--overwrite",
        dest="existing",
        action="store_const",
        const="overwrite",
        help="replace the output of ProcessFiles",
    )
    parser.add_argument("--verbose", action="store_true", help="show what Beam and models log")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    parser.add_argument("--help-beam", action="store_true", help="list Beam's options")
    return parser


def _beam_option(text: str) -> str:
    if text.startswith(("-", "=")) or not text:
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE without dashes, got {text!r:.80}")
    return text


def run(options: argparse.Namespace, rest: list[str], parser: argparse.ArgumentParser) -> int:
    """Run a file; returns the exit status."""
    quiet(options.verbose)
    from .. import beam_options

    if options.help_beam:
        print(beam_options.described())
        return DONE
    if not any(not each.startswith("-") for each in rest):
        parser.error("the Beam YAML file to run is missing")
    try:
        file, flags, given = beam_options.parsed(rest, own_names(parser), options.beam_option)
    except beam_options.OptionsError as error:
        parser.error(str(error))
    return _run_file(options, file, flags, given)


def _run_file(
    options: argparse.Namespace, file: str, flags: list[str], given: Mapping[str, Any]
) -> int:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import StandardOptions
    from apache_beam.runners.runner import PipelineState
    from apache_beam.yaml.yaml_transform import SafeLineLoader

    from .. import beam_options, progress, provider, specification, summary, template, workers
    from ..io import in_yaml
    from ..io.recorder import Recorder
    from ..outcome import Outcome

    try:
        spec = template.load(file, options.set)
        specification.check_top(spec)
        own = SafeLineLoader.strip_metadata(spec.get("options", {}))
        settings = beam_options.settings(flags, given, own)
        provider.importable(os.path.dirname(os.path.abspath(file)))
        pipeline = beam.Pipeline(options=settings)
        if options.existing is not None:
            specification.check_resumable(spec, f"--{options.existing}", in_yaml.TYPE)
        provider.expand(pipeline, spec, file, options.existing)
        outcome = Outcome(pipeline)
        workers.use_cores(pipeline)
    except Exception as error:
        return failed(options, file, error, REFUSED)
    start = time.monotonic()
    try:
        waits = not settings.view_as(StandardOptions).no_wait_until_finish
        with progress.shown(), Recorder(outcome.followed) as recorder:
            recorder.goes_on = not waits
            result = recorder.result = pipeline.run()
            state = result.wait_until_finish() if waits else result.state
    except KeyboardInterrupt:
        summary.show_resume(outcome, file)
        raise
    except Exception as error:
        is_stopped = any(isinstance(each, KeyboardInterrupt) for each in chain(error))
        if not is_stopped:  # within a step: Beam makes an error of it
            failed(options, file, error, FAILED)
        summary.show_resume(outcome, file)
        if is_stopped:
            raise KeyboardInterrupt from error
        return FAILED
    if state in (PipelineState.FAILED, PipelineState.CANCELLED):
        summary.show_resume(outcome, file)
        print(f"{file}: the job is {state.lower()}", file=sys.stderr)
        return FAILED
    if not waits and state != PipelineState.DONE:
        print(f"the job is submitted: {state}")
        return DONE
    rows_failed = summary.show(outcome, time.monotonic() - start, result)
    return ROWS_FAILED if rows_failed else DONE
