"""The command line, `pipelines-beam COMMAND`: what each does is in `commands`."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import sys
from collections.abc import Sequence

from .commands import image, new, plan, profile, report, retry, run, tasks
from .commands.statuses import FAILED, STOPPED

_COMMANDS = {
    "new": new,
    "plan": plan,
    "run": run,
    "retry": retry,
    "report": report,
    "profile": profile,
    "tasks": tasks,
    "image": image,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status, as `run --help` lists them."""
    for stream in (sys.stdout, sys.stderr):  # data may not be printable
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    parser, parsers = _parsers()
    options, rest = parser.parse_known_args(argv)
    try:
        status: int = _COMMANDS[options.command].run(options, rest, parsers[options.command])
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:  # who read it has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return status


def _parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser of the command line, and those of its commands."""
    parser = argparse.ArgumentParser(prog="pipelines-beam", allow_abbrev=False)
    version = importlib.metadata.version("pipelines-beam")
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(dest="command", required=True)
    return parser, {name: command.add(commands) for name, command in _COMMANDS.items()}
