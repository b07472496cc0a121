"""The command line: `pipelines-beam run FILE`, `pipelines-beam tasks [TASK]`."""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import os
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any

#: Beam's in-process runner. Beam's default would first try to download a Go binary (Prism).
DEFAULT_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 1 for a failed job, 2 for bad input."""
    parser = _parser()
    options, beam_options = parser.parse_known_args(argv)
    if options.command == "tasks" and beam_options:
        parser.error(f"tasks takes no {' '.join(beam_options)}")
    if options.command == "tasks" and options.markdown and options.task is not None:
        parser.error("--markdown is the table of all tasks: it takes no task")
    try:
        return _tasks(options) if options.command == "tasks" else _run(options, beam_options)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pipelines-beam", allow_abbrev=False)
    version = importlib.metadata.version("pipelines-beam")
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "run",
        help="run a Beam YAML file",
        description="Run a Beam YAML file. Options not listed here go to Beam: --runner=…",
        allow_abbrev=False,
    )
    run.add_argument("file", help="the Beam YAML file")
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        type=_assignment,
        help="a jinja variable of the file",
    )
    run.add_argument("--verbose", action="store_true", help="show what Beam and models log")
    run.add_argument("--traceback", action="store_true", help="show where an error came from")
    tasks = commands.add_parser(
        "tasks",
        help="list the tasks, or show one",
        description="List the tasks with their inputs (optional ones in brackets) and columns; or "
        "show one: its inputs, its parameters with their defaults, the types of its columns and "
        "its default model.",
        allow_abbrev=False,
    )
    tasks.add_argument("task", nargs="?", help="a task's name or alias: show all of it")
    form = tasks.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="all of it, or of every task, as JSON")
    form.add_argument("--markdown", action="store_true", help="the README's table of all tasks")
    return parser


def _tasks(options: argparse.Namespace) -> int:
    _quiet(verbose=False)
    from . import tasks

    if options.task is not None:
        return _task(options)
    if options.json:
        print(tasks.as_json())
    else:
        print(tasks.as_markdown().rstrip() if options.markdown else tasks.as_text())
    return 0


def _task(options: argparse.Namespace) -> int:
    from . import tasks

    try:
        print((tasks.one_as_json if options.json else tasks.one_as_text)(options.task))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, got {text!r}")
    return name, value


def _run(options: argparse.Namespace, beam_options: list[str]) -> int:
    _quiet(options.verbose)
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.yaml.yaml_transform import SafeLineLoader

    from . import progress, provider, report

    try:
        _, spec = provider.load(options.file, dict(options.set))
        own = SafeLineLoader.strip_metadata(spec.get("options", {}))
        settings = PipelineOptions(beam_options, pickle_library="cloudpickle", **own)
        if not any(option.startswith("--runner") for option in beam_options):
            settings.view_as(beam.options.pipeline_options.StandardOptions).runner = (
                own.get("runner") or DEFAULT_RUNNER
            )
        pipeline = beam.Pipeline(options=settings)
        provider.expand(pipeline, spec, options.file)
    except Exception as error:
        return _failed(options, error, 2)
    start = time.monotonic()
    try:
        with progress.shown():
            pipeline.run().wait_until_finish()
    except Exception as error:
        return _failed(options, error, 1)
    report.show(SafeLineLoader.strip_metadata(spec), time.monotonic() - start)
    return 0


def _failed(options: argparse.Namespace, error: Exception, status: int) -> int:
    if options.traceback:
        traceback.print_exception(error)
    print(f"{options.file}: {_message(error)}", file=sys.stderr)
    return status


def _message(error: BaseException) -> str:
    """What went wrong, once: ours where it is one of ours, else the first cause."""
    import transforms

    chain: list[Any] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    known = (transforms.ElementError, transforms.ModelLoadError)
    found = next((each for each in chain if isinstance(each, known)), chain[-1])
    name = "" if isinstance(found, known) else f"{type(found).__name__}: "
    return f"{name}{found}"


def _quiet(verbose: bool) -> None:
    if verbose:
        logging.basicConfig(level=logging.INFO)
        return
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logging.disable(logging.WARNING)
    import transformers

    transformers.utils.logging.disable_progress_bar()
