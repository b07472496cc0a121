"""The command line: `pipelines-beam run FILE`, `pipelines-beam tasks [TASK]`."""

from __future__ import annotations

import argparse
import difflib
import importlib.metadata
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

#: Exit statuses, explained in _STATUSES.
DONE, FAILED, REFUSED, ROWS_FAILED, STOPPED = 0, 1, 2, 3, 130
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
_LONGEST_MESSAGE = 4000
#: Beam's messages about a transform that could not be created or applied.
_WRAPPER = re.compile(
    r'(?:Invalid transform specification|Error applying transform) (?:at )?(".*?" at line \w+)'
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status, as `run --help` lists them."""
    for stream in (
        sys.stdout,
        sys.stderr,
    ):  # data may not be printable
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    parser, run, tasks = _parsers()
    options, rest = parser.parse_known_args(argv)
    if options.command == "tasks":
        if rest:
            tasks.error(_unknown(rest[0], tasks))
        if options.markdown and options.task is not None:
            tasks.error("--markdown is the table of all tasks: it takes no task")
    try:
        status = _tasks(options) if options.command == "tasks" else _run(options, rest, run)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:  # who read it has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return status


def _parsers() -> tuple[argparse.ArgumentParser, ...]:
    """The parser of the command, and those of `run` and `tasks`."""
    parser = argparse.ArgumentParser(prog="pipelines-beam", allow_abbrev=False)
    version = importlib.metadata.version("pipelines-beam")
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(dest="command", required=True)
    return parser, _add_run(commands), _add_tasks(commands)


def _add_run(commands: Any) -> argparse.ArgumentParser:
    run: argparse.ArgumentParser = commands.add_parser(
        "run",
        help="run a Beam YAML file",
        usage="pipelines-beam run FILE [options] [Beam's options]",
        description=_RUN,
        epilog=_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    run.add_argument(
        "--set",
        action=_Assign,
        default={},
        metavar="NAME=VALUE",
        help="a jinja variable of the file; one that the file does not read is refused",
    )
    run.add_argument(
        "--beam-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        type=_beam_option,
        help="an option that the runner's job server knows: passed on unchecked",
    )
    existing = run.add_mutually_exclusive_group()
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
    run.add_argument("--verbose", action="store_true", help="show what Beam and models log")
    run.add_argument("--traceback", action="store_true", help="show where an error came from")
    run.add_argument("--help-beam", action="store_true", help="list Beam's options")
    return run


def _add_tasks(commands: Any) -> argparse.ArgumentParser:
    tasks: argparse.ArgumentParser = commands.add_parser(
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
    return tasks


class _Assign(argparse.Action):
    """Stores NAME=VALUE in a dict; a name may be given only once."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        name, equals, value = str(values).partition("=")
        if not equals or not name.isidentifier():
            parser.error(f"--set: must be NAME=VALUE, got {values!r:.200}")
        given = getattr(namespace, self.dest)
        if name in given:
            parser.error(f"--set: {name} is given twice: {given[name]!r:.80} and {value!r:.80}")
        setattr(namespace, self.dest, {**given, name: value})


def _beam_option(text: str) -> str:
    if text.startswith(("-", "=")) or not text:
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE without dashes, got {text!r:.80}")
    return text


def _own_names(parser: argparse.ArgumentParser) -> list[str]:
    return [
        flag for action in parser._actions for flag in action.option_strings if flag[:2] == "--"
    ]


def _unknown(argument: str, parser: argparse.ArgumentParser) -> str:
    """The error message for an argument that a command does not have."""
    names = _own_names(parser)
    close = difflib.get_close_matches(argument.partition("=")[0], names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"unknown argument {argument!r:.80}.{hint} Valid: {', '.join(names)}"


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


def _run(options: argparse.Namespace, rest: list[str], parser: argparse.ArgumentParser) -> int:
    _quiet(options.verbose)
    from . import beam_options

    if options.help_beam:
        print(beam_options.described())
        return DONE
    if not any(not each.startswith("-") for each in rest):
        parser.error("the Beam YAML file to run is missing")
    try:
        file, flags, given = beam_options.parsed(rest, _own_names(parser), options.beam_option)
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

    from . import beam_options, progress, provider, specification, summary, template
    from .io import in_yaml
    from .outcome import Outcome

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
    except Exception as error:
        return _failed(options, file, error, REFUSED)
    start = time.monotonic()
    try:
        with progress.shown():
            result = pipeline.run()
            waits = not settings.view_as(StandardOptions).no_wait_until_finish
            state = result.wait_until_finish() if waits else result.state
    except KeyboardInterrupt:
        summary.show_resume(outcome, file)
        raise
    except Exception as error:
        is_stopped = any(isinstance(each, KeyboardInterrupt) for each in _chain(error))
        if not is_stopped:  # within a step: Beam makes an error of it
            _failed(options, file, error, FAILED)
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


def _failed(options: argparse.Namespace, file: str, error: Exception, status: int) -> int:
    if options.traceback:
        traceback.print_exception(error)
    print(f"{file}: {_message(error)[:_LONGEST_MESSAGE]}", file=sys.stderr)
    return status


def _message(error: BaseException) -> str:
    """One message for a chain of errors: this project's own error, else the first cause."""
    import transforms
    from transforms.engine.errors import EngineError

    chain = _chain(error)
    places = [match[1] for each in chain if (match := _WRAPPER.match(str(each)))]
    known = (transforms.ElementError, transforms.ModelLoadError, EngineError)
    shown: Any = next((each for each in chain if isinstance(each, known)), None)
    if shown is None and places:  # Beam wraps any error that a transform raises while it is built
        shown = next((each for each in chain if not _WRAPPER.match(str(each))), error)
    if shown is None:
        shown = error if isinstance(error, _our_errors()) else chain[-1]
    name = "" if isinstance(shown, (*known, *_our_errors())) else f"{type(shown).__name__}: "
    text = getattr(shown, "message", None) or str(shown)  # str of a schema error is the whole file
    return f"{places[-1] + ': ' if places else ''}{name}{text}"


def _chain(error: BaseException) -> list[Any]:
    """An error, and what caused it."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    return chain


def _our_errors() -> tuple[type[Exception], ...]:
    from . import beam_options, io, specification, template

    return (
        io.InputChangedError,
        io.InputError,
        io.JobChangedError,
        io.OutputExistsError,
        io.PlanError,
        beam_options.OptionsError,
        specification.SpecificationError,
        template.TemplateError,
    )


def _quiet(verbose: bool) -> None:
    if verbose:
        logging.basicConfig(level=logging.INFO)
        return
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logging.disable(logging.WARNING)
