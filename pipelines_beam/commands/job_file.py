"""Commands that look at a job over files and do not run it: their options, and the job."""

from __future__ import annotations

import argparse
import functools
import sys
import time
from typing import TYPE_CHECKING, Any

from .messages import quiet
from .options import (
    add_existing,
    add_set,
    add_talk,
    asked_of_existing,
    number,
    refuse,
)

if TYPE_CHECKING:
    from transforms import TaskTransform

    from ..io.job import Job


def add_file(parser: argparse.ArgumentParser) -> None:
    """Add the file and the options that say what is in it."""
    parser.add_argument("file", help="a Beam YAML file with one ProcessFiles")
    add_set(parser)
    text = "the output exists: look at {} it, as `run --{}` computes"
    add_existing(
        parser, text.format("what is missing in", "resume"), text.format("all of", "overwrite")
    )
    add_talk(parser)


def add_seconds(parser: argparse.ArgumentParser) -> None:
    """Add how long is measured."""
    parser.add_argument(
        "--seconds",
        type=functools.partial(number, what="seconds"),
        default=60.0,
        metavar="N",
        help="measure for N seconds at most (60), beside loading the model",
    )


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
    refuse(rest, parser)
    start = time.perf_counter()
    quiet(options.verbose, options.traceback)
    from transforms.options.causes import is_caused_by

    from .. import io

    asked = asked_of_existing(options.existing)
    try:
        transform, exists = _transform(options, asked), False
    except Exception as error:
        if options.existing is not None or not is_caused_by(error, io.OutputExistsError):
            raise
        transform, exists = _transform(options, asked_of_existing("overwrite")), True
    print(f"{options.file}: loading the model, and looking at a sample …", file=sys.stderr)
    return JobFile(transform.job, transform.task, time.perf_counter() - start, exists)


def _transform(options: argparse.Namespace, asked: dict[str, bool]) -> Any:
    """The only ProcessFiles of the file, as it would be applied."""
    from .. import specification, yaml_job
    from ..io import in_yaml

    job = yaml_job.built(options.file, options.set, [], {}, asked, runs=False, checks_runner=False)
    steps = [each for each in job.outcome.steps if each.kind == in_yaml.TYPE]
    if len(steps) != 1:
        raise specification.SpecificationError(
            f"the file has {len(steps) or 'no'} {in_yaml.TYPE}: this command needs exactly one, "
            "whose files it takes a sample of"
        )
    return steps[0].node.transform
