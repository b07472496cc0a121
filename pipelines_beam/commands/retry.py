"""`pipelines-beam retry FILE or OUTPUT`: the failed rows of a job over files, once more."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .messages import failed, own_names, quiet
from .options import add_set, add_talk
from .statuses import DONE, FAILED, REFUSED, ROWS_FAILED

if TYPE_CHECKING:
    from transforms import TaskTransform

_MOST_REASONS = 10  # that are printed
_RETRY = """\
Compute the failed rows of a job over files (ProcessFiles) again, and no others. Rows that are
answered now are written to where they belong in the files of results.

The job is named by its output folder, or by its Beam YAML file. The model, the input and the
columns of the results must be those of the job; other options may change, and what has changed is
kept in the folder _job of the output. Options that are not listed here are Beam's.
"""
_STATUSES = """\
exit status:
  0    no row is failed any more
  1    the retry failed
  2    nothing has run: the command, the file or a changed option has an error
  3    rows failed again
  130  stopped: the same command goes on
"""


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command; returns its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "retry",
        help="compute the failed rows of a job over files again",
        usage="pipelines-beam retry FILE|OUTPUT [options] [Beam's options]",
        description=_RETRY,
        epilog=_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_set(
        parser,
        "of a file: a jinja variable; of an output: an option of its task, such as "
        "truncation=true (the value is YAML)",
    )
    add_talk(parser)
    return parser


def run(options: argparse.Namespace, rest: list[str], parser: argparse.ArgumentParser) -> int:
    """Compute failed rows again; returns the exit status."""
    quiet(options.verbose)
    from .. import beam_options

    if not any(not each.startswith("-") for each in rest):
        parser.error("the Beam YAML file or the output of the job is missing")
    try:
        target, flags, given = beam_options.parsed(rest, own_names(parser), [])
    except beam_options.OptionsError as error:
        parser.error(str(error))
    try:
        load = _of_file if os.path.isfile(target) else _of_output
        jobs, own = load(target, options.set)
        settings = beam_options.settings(flags, given, own)
    except Exception as error:
        return failed(options, target, error, REFUSED)
    statuses = [_retry(options, task, output, settings) for task, output in jobs]
    return next((each for each in (FAILED, REFUSED, ROWS_FAILED) if each in statuses), DONE)


def _of_file(file: str, variables: Mapping[str, str]) -> tuple[list[Any], Mapping[str, Any]]:
    """The tasks and outputs of the jobs over files in a Beam YAML file; and Beam's options in it.

    Raises SpecificationError for a file without such a job, and NoJobError for an output that no
    job has begun.
    """
    from apache_beam.yaml.yaml_transform import SafeLineLoader

    from .. import provider, specification, template
    from ..io import in_yaml

    spec = template.load(file, variables)
    specification.check_top(spec)
    specification.check_has(spec, "retry", in_yaml.TYPE)
    provider.importable(os.path.dirname(os.path.abspath(file)))
    steps = [step.settings for step in in_yaml.steps_in(spec["pipeline"])]
    for step in steps:
        _about(step.output)
    own = SafeLineLoader.strip_metadata(spec.get("options", {}))
    return [(step.task, step.output) for step in steps], own


def _of_output(output: str, changes: Mapping[str, str]) -> tuple[list[Any], Mapping[str, Any]]:
    """The task that an output keeps, with changed options, and the output.

    Raises NoJobError if no job has begun it, and ValueError for a task of which the output
    does not keep all options.
    """
    import yaml

    from ..io.task_config import rebuilt

    values = {name: yaml.safe_load(value) for name, value in changes.items()}
    return [(rebuilt(_about(output)["task"], values, output), output)], {}


def _about(output: str) -> dict[str, Any]:
    from ..io.job import about_job
    from ..io.output import Output

    return about_job(Output(output))


def _retry(options: argparse.Namespace, task: TaskTransform, output: str, settings: Any) -> int:
    """Compute the failed rows of one job again; returns the exit status."""
    from transforms.options.causes import is_caused_by

    from .. import progress
    from ..io import JobChangedError, retry_failures
    from ..samples import printable

    try:
        with progress.shown([], progress.style_for()):
            done = retry_failures(task, output, options=settings)
    except JobChangedError as error:
        return failed(options, output, error, REFUSED)
    except Exception as error:
        if is_caused_by(error, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        return failed(options, output, error, FAILED)
    again = done.failed - done.answered
    for name, change in done.changed.items():
        print(f"changed: {printable(f'{name}: {change}')}")
    print(f"{done.failed:,} rows had failed: {done.answered:,} are answered now, {again:,} are not")
    if again:
        print(f"rows that failed: {printable(os.path.dirname(done.failures[0]))}")
        _show_reasons(output)
    return ROWS_FAILED if again else DONE


def _show_reasons(output: str) -> None:
    """Print why rows of an output are still failed, the commonest reasons first."""
    from ..io.failure_counts import FailureCounts
    from ..io.output import Output
    from ..samples import clean, printable

    reasons = FailureCounts(Output(output)).with_examples()
    for each in reasons[:_MOST_REASONS]:
        print(f"  {each.count:,} x {clean(each.text)}")
        print(f"    such as {printable(str(each.file))}, row {each.row}")
    if reasons[_MOST_REASONS:]:
        print(f"  and {len(reasons) - _MOST_REASONS:,} more reasons")
