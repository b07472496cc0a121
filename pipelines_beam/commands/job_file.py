"""Commands that look at a job over files and do not run it: their options, and the job."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from .assignments import Assign
from .messages import quiet, unknown

if TYPE_CHECKING:
    from transforms import TaskTransform

    from ..io.job import Job


def add_file(parser: argparse.ArgumentParser) -> None:
    """Add the file and the options that say what is in it."""
    parser.add_argument("file", help="a Beam YAML file with one ProcessFiles")
    parser.add_argument(
        "--set",
        action=Assign,
        default={},
        metavar="NAME=VALUE",
        help="a jinja variable of the file; one that the file does not read is refused",
    )
    existing = parser.add_mutually_exclusive_group()
    for name, text in (("resume", "what is missing in"), ("overwrite", "all of")):
        existing.add_argument(
            f"--{name}",
            dest="existing",
            action="store_const",
            const=name,
            help=f"the output exists: look at {text} it, as `run --{name}` computes",
        )
    parser.add_argument("--verbose", action="store_true", help="show what Beam and models log")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")


def seconds(text: str) -> float:
    """A positive number, of an option."""
    return number(text, "seconds")


def number(text: str, what: str) -> float:
    """A positive number. Raises ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number of {what}, got {text!r:.80}")
    return value


class JobFile:
    """The job of a command's file, built, but not run."""

    def __init__(self, job: Job, task: TaskTransform, build_seconds: float, exists: bool) -> None:
        self.job = job
        self.task = task
        #: What imports and checks took.
        self.build_seconds = build_seconds
        #: Whether the output exists, and the command does not say what is to become of it.
        self.output_exists = exists


def built(options: argparse.Namespace, rest: list[str], parser: argparse.ArgumentParser) -> JobFile:
    """The job of the file. Raises what is wrong with it; exits for an unknown argument."""
    if rest:
        parser.error(unknown(rest[0], parser))
    start = time.perf_counter()
    quiet(options.verbose, options.traceback)
    from transforms.options.causes import is_caused_by

    from .. import io

    asked = {} if options.existing is None else _asked(options.existing)
    try:
        transform, exists = _transform(options, asked), False
    except Exception as error:
        if options.existing is not None or not is_caused_by(error, io.OutputExistsError):
            raise
        transform, exists = _transform(options, _asked("overwrite")), True
    print(f"{options.file}: loading the model, and looking at a sample …", file=sys.stderr)
    return JobFile(transform.job, transform.task, time.perf_counter() - start, exists)


def _asked(existing: str) -> dict[str, bool]:
    return {name: name == existing for name in ("resume", "overwrite")}


def _transform(options: argparse.Namespace, asked: dict[str, bool]) -> Any:
    """The only ProcessFiles of the file, as it would be applied."""
    from .. import specification, yaml_job
    from ..io import in_yaml

    job = yaml_job.built(options.file, options.set, [], {}, asked, runs=False)
    steps = [each for each in job.outcome.steps if each.kind == in_yaml.TYPE]
    if len(steps) != 1:
        raise specification.SpecificationError(
            f"the file has {len(steps) or 'no'} {in_yaml.TYPE}: this command needs exactly one, "
            "whose files it takes a sample of"
        )
    return steps[0].node.transform
