"""Beam's options in a command or a file: unknown options and invalid values are errors."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

from apache_beam.options.pipeline_options import (
    PipelineOptions,
    PortableOptions,
    StandardOptions,
    TestOptions,
    WorkerOptions,
    _BeamArgumentParser,
)
from apache_beam.runners.runner import create_runner

from transforms.options.shown import shown
from transforms.options.suggest import did_you_mean, likely

from .runners.names import runner_name

#: Beam's in-process runner. Beam's default would first try to download a Go binary (Prism).
DEFAULT_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


class OptionsError(ValueError):
    """An option is unknown, or its value is not valid."""


class _Parser(_BeamArgumentParser):  # type: ignore[misc]
    """Beam's parser; raises OptionsError instead of exiting."""

    def error(self, message: str) -> NoReturn:
        raise OptionsError(message)


def parsed(
    arguments: Sequence[str], own_names: Sequence[str], unchecked: Sequence[str]
) -> tuple[str, list[str], dict[str, Any]]:
    """Split a command into its file and Beam's options, as flags and as values by name.

    Args:
      arguments: the file and Beam's options, without the command's own options.
      own_names: the names of the command's own options, for suggestions.
      unchecked: options that only a runner's job server knows, as name or name=value; they become
        flags, and are not checked.

    Raises OptionsError.

    """
    parser = _parser(arguments)
    parser.add_argument("file")
    given, rest = parser.parse_known_args(list(arguments))
    for option in rest:
        _refuse(option, given.file, own_names, _flags(parser))
    flags = [each for each in arguments if each is not given.file and each != "--"]
    values = {name: value for name, value in vars(given).items() if name != "file"}
    return given.file, [*flags, *(f"--{each}" for each in unchecked)], values


def settings(
    flags: list[str],
    given: Mapping[str, Any],
    own: Mapping[str, Any],
    on: Mapping[str, Any] = MappingProxyType({}),
) -> PipelineOptions:
    """The options of a job.

    Those of the command override those of the file that --on names, and these override those in
    the job's file, `options`.

    Raises OptionsError for an unknown option in a file, or a value that is not valid.
    """
    runner = given.get("runner") or on.get("runner") or own.get("runner")
    parser = _parser([f"--runner={runner}"] if runner else [])
    read = {**_read(parser, own, "options"), **_read(parser, on, "--on")}
    settled = {"pickle_library": "cloudpickle", **read}
    # Options given by keyword would override the command's.
    rest = {name: value for name, value in settled.items() if name not in given}
    options = PipelineOptions(flags, **rest)
    standard = options.view_as(StandardOptions)
    standard.runner = runner or DEFAULT_RUNNER
    with _as_options_error("runner"):
        create_runner(standard.runner)
    _name_image(options)
    return options


def _name_image(options: PipelineOptions) -> None:
    """Have runners that start containers read `sdk_container_image`, which Dataflow alone does."""
    image = options.view_as(WorkerOptions).sdk_container_image
    portable = options.view_as(PortableOptions)
    named = portable.environment_config or portable.lookup_environment_option(
        "docker_container_image"
    )
    starts = runner_name(options) in ("FlinkRunner", "PortableRunner", "SparkRunner")
    if image and starts and not named and portable.environment_type in (None, "DOCKER"):
        portable.environment_config = image


def described() -> str:
    """Beam's options with their help, as text."""
    parser = _parser(())
    return parser.format_help().partition("\n\n")[2]


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """A parser of every option that Beam knows after its runner and plugins are imported.

    Options that are not given are missing from its namespace.
    """
    early = _Parser(add_help=False, allow_abbrev=False)
    early.add_argument("--runner")
    early.add_argument("--beam_plugin", "--beam_plugins", action="append", default=[])
    known, _ = early.parse_known_args(list(arguments))
    _load(known.runner, known.beam_plugin)
    parser = _Parser(
        prog="pipelines-beam run",
        add_help=False,
        allow_abbrev=False,
        conflict_handler="resolve",
    )
    # A class is listed twice if its module was loaded twice.
    for cls in {str(cls): cls for cls in PipelineOptions.__subclasses__()}.values():
        if cls is not TestOptions:  # only Beam's own tests read them
            cls._add_argparse_args(parser)
    for action in parser._actions:
        action.default = argparse.SUPPRESS
    return parser


def _load(runner: str | None, plugins: Sequence[str]) -> None:
    """Import a runner and plugins, which may add options. Raises OptionsError."""
    for name in plugins:
        with contextlib.suppress(ImportError):  # it may be installed on the workers only
            importlib.import_module(name)
    if runner is not None:
        with _as_options_error("runner"):
            create_runner(runner)


@contextlib.contextmanager
def _as_options_error(name: str) -> Any:
    try:
        yield
    except (ImportError, AttributeError, ValueError) as error:
        raise OptionsError(f"{name}: {error}") from error


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    return [flag for action in parser._actions for flag in action.option_strings]


def _refuse(option: str, file: str, own_names: Sequence[str], beams: Sequence[str]) -> NoReturn:
    """Raise an OptionsError for an argument that is not an option of Beam."""
    if not option.startswith("-"):
        raise OptionsError(f"one file is run at a time: got {file!r:.200} and {option!r:.200}")
    name = option.partition("=")[0]
    raise OptionsError(
        f"{_unknown(name, (*own_names, *beams))} Valid: {', '.join(own_names)}, and Beam's "
        "options, which --help-beam lists. One that only the runner's job server knows is given "
        "as --beam-option NAME=VALUE"
    )


def _unknown(name: str, valid: Iterable[str]) -> str:
    hint = did_you_mean(likely(name, valid))
    return f"unknown option {shown(name, 80)}.{hint and ' ' + hint}"


def _read(parser: argparse.ArgumentParser, own: Mapping[str, Any], place: str) -> dict[str, Any]:
    """A file's options, checked, and of the types that Beam gives them in a command."""
    actions = {action.dest: action for action in parser._actions}
    found: dict[str, Any] = {}
    for name, value in own.items():
        if name not in actions:
            raise OptionsError(
                f"{place}: {_unknown(name, actions)} Valid are Beam's options, which "
                "pipelines-beam run --help-beam lists"
            )
        values = [_value(parser, actions[name], each, place) for each in _each(value)]
        found[name] = values if isinstance(value, list) else values[0]
    return found


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _value(parser: argparse.ArgumentParser, action: argparse.Action, value: Any, place: str) -> Any:
    """A value as Beam has it. Raises OptionsError for one that the option cannot have."""
    if value is None:
        return value
    if action.nargs == 0:  # a switch
        if not isinstance(value, bool):
            raise OptionsError(f"{place}: {action.dest} must be true or false, got {shown(value)}")
        return value
    text = json.dumps(value) if isinstance(value, dict) else value
    try:
        found = parser.parse_args([f"{action.option_strings[0]}={text}"])
    except (OptionsError, ValueError) as error:
        raise OptionsError(f"{place}: {action.dest}: {error}") from error
    parsed = getattr(found, action.dest)
    return parsed[0] if isinstance(parsed, list) and len(parsed) == 1 else parsed
