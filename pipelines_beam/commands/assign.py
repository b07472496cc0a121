"""Variables that a command gives to a file, as NAME=VALUE."""

from __future__ import annotations

import argparse
from typing import Any


class Assign(argparse.Action):
    """Stores NAME=VALUE in a dict; a name may be given only once."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        """Store one."""
        name, equals, value = str(values).partition("=")
        if not equals or not name.isidentifier():
            parser.error(f"--set: must be NAME=VALUE, got {values!r:.200}")
        given = getattr(namespace, self.dest)
        if name in given:
            parser.error(f"--set: {name} is given twice: {given[name]!r:.80} and {value!r:.80}")
        setattr(namespace, self.dest, {**given, name: value})
