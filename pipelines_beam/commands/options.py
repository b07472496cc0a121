"""Options that several commands have."""

from __future__ import annotations

import argparse
from typing import Any

from .messages import unknown

_EXISTING = "existing"


class Assign(argparse.Action):
    """Stores NAME=VALUE in a dict; a name may be given only once."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        """Store one; an error of the parser if it is not of the form."""
        name, equals, value = str(values).partition("=")
        if not equals or not name.isidentifier():
            parser.error(f"--set: must be NAME=VALUE, got {values!r:.200}")
        given = getattr(namespace, self.dest)
        if name in given:
            parser.error(f"--set: {name} is given twice: {given[name]!r:.80} and {value!r:.80}")
        setattr(namespace, self.dest, {**given, name: value})


def add_set(
    parser: argparse.ArgumentParser,
    text: str = "a jinja variable of the file; one that the file does not read is refused",
) -> None:
    """Add --set, with its help."""
    parser.add_argument("--set", action=Assign, default={}, metavar="NAME=VALUE", help=text)


def add_existing(parser: argparse.ArgumentParser, resume: str, overwrite: str) -> None:
    """Add --resume and --overwrite, with their help; see `asked_of_existing`."""
    existing = parser.add_mutually_exclusive_group()
    for name, text in (("resume", resume), ("overwrite", overwrite)):
        existing.add_argument(
            f"--{name}", dest=_EXISTING, action="store_const", const=name, help=text
        )


def asked_of_existing(existing: str | None) -> dict[str, bool]:
    """What is asked of an output that exists, as options of ProcessFiles; empty for None."""
    return {} if existing is None else {each: each == existing for each in ("resume", "overwrite")}


def given(options: argparse.Namespace, parser: argparse.ArgumentParser) -> list[str]:
    """The options that a command was given, as words; without --resume and --overwrite."""
    words = []
    for action in parser._actions:
        value = getattr(options, action.dest, action.default)
        if value == action.default or action.dest == _EXISTING:
            continue
        flag = action.option_strings[-1]
        if action.nargs == 0:
            words.append(flag)
        elif isinstance(value, dict):
            words += [f"{flag}={name}={each}" for name, each in value.items()]
        else:
            words += [f"{flag}={each}" for each in (value if isinstance(value, list) else [value])]
    return words


def add_talk(parser: argparse.ArgumentParser) -> None:
    """Add the options of what a command says beside its results."""
    parser.add_argument("--verbose", action="store_true", help="show what Beam and models log")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")


def count(text: str, what: str) -> int:
    """A positive number of something, of an option. Raises ArgumentTypeError."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive number of {what}, got {text!r:.80}")
    return int(text)


def number(text: str, what: str) -> float:
    """The same for one that need not be whole."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number of {what}, got {text!r:.80}")
    return value


def refuse(rest: list[str], parser: argparse.ArgumentParser) -> None:
    """Exit with an error for arguments that a command does not have."""
    if rest:
        parser.error(unknown(rest[0], parser))
