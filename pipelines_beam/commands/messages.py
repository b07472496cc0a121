"""What commands say of errors, and how quiet they are."""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import re
import sys
import traceback
from typing import Any

_LONGEST_MESSAGE = 4000
_TRACEBACK = "Traceback (most recent call last):"
#: Where the class of this project's own error is, in a traceback.
_OF_CLASS = re.compile(r"^(?:transforms|pipelines_beam)(?:\.\w+)+\.(?=\w+: )")
#: Beam's messages about a transform that could not be created or applied.
_WRAPPER = re.compile(
    r'(?:Invalid transform specification|Error applying transform) (?:at )?(".*?" at line \w+)'
)


def failed(options: argparse.Namespace, file: str, error: Exception, status: int) -> int:
    """Say on stderr what is wrong with a file or its job; returns the status."""
    if options.traceback:
        traceback.print_exception(error)
    print(f"{file}: {message(error)[:_LONGEST_MESSAGE]}", file=sys.stderr)
    return status


def message(error: BaseException) -> str:
    """One message for a chain of errors: this project's own error, else the first cause."""
    import transforms
    from transforms.engine.errors import EngineError
    from transforms.options.causes import causes

    found = list(causes(error))
    places = [match[1] for each in found if (match := _WRAPPER.match(str(each)))]
    known = (transforms.ElementError, transforms.ModelLoadError, EngineError)
    shown: Any = next((each for each in found if isinstance(each, known)), None)
    if shown is None and places:  # Beam wraps any error that a transform raises while it is built
        shown = next((each for each in found if not _WRAPPER.match(str(each))), error)
    if shown is None:
        shown = error if isinstance(error, _our_errors()) else found[-1]
    name = "" if isinstance(shown, (*known, *_our_errors())) else f"{type(shown).__name__}: "
    text = getattr(shown, "message", None) or str(shown)  # str of a schema error is the whole file
    if _TRACEBACK in text:  # of a worker process: Beam's error has its traceback as text
        return _last_error(text)
    return f"{places[-1] + ': ' if places else ''}{name}{text}"


def _last_error(text: str) -> str:
    """The error at the end of a traceback, in which other processes quote each other."""
    lines = text.rpartition(_TRACEBACK)[2].splitlines()
    said = [line for line in lines if line and not line.startswith(" ")]
    return _OF_CLASS.sub("", "\n".join(said[:1] or lines[-1:]))


def _our_errors() -> tuple[type[Exception], ...]:
    from .. import beam_options, io, report, specification, template
    from ..forecast.profile import EmptyJobError, ProfileError
    from ..runners.errors import RunnerError

    return (
        EmptyJobError,
        ProfileError,
        RunnerError,
        io.InputChangedError,
        io.InputError,
        io.JobChangedError,
        io.NoJobError,
        io.OutputError,
        io.OutputExistsError,
        io.PlanError,
        io.StoreError,
        io.TooManyFailuresError,
        report.ChartsError,
        beam_options.OptionsError,
        specification.SpecificationError,
        template.TemplateError,
    )


def own_names(parser: argparse.ArgumentParser) -> list[str]:
    """The long options of a command."""
    return [
        flag for action in parser._actions for flag in action.option_strings if flag[:2] == "--"
    ]


def unknown(argument: str, parser: argparse.ArgumentParser) -> str:
    """The error message for an argument that a command does not have."""
    names = own_names(parser)
    close = difflib.get_close_matches(argument.partition("=")[0], names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"unknown argument {argument!r:.80}.{hint} Valid: {', '.join(names)}"


def quiet(verbose: bool, traceback: bool = False) -> None:
    """Keep what Beam and models log off the screen, unless it is asked for.

    Beam logs each error of a worker with its traceback, and raises it afterwards: the command says
    it, once.
    """
    if verbose:
        logging.basicConfig(level=logging.INFO)
        return
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logging.disable(logging.WARNING)
    if not traceback:
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
