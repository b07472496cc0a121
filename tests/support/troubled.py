"""A model that doubles numbers, and what can go wrong with it, for processes of their own."""

from __future__ import annotations

import os
import sys
import time
import types
from collections.abc import Sequence
from typing import Any

from transforms.engine.interface import BatchSlot, SynchronousProgram

#: Numbers that are more than numbers.
RAISES, HANGS, DIES, BREAKS, UNPICKLABLE, STRANGE_ERROR, UNKNOWN = -1, -2, -3, -4, -5, -6, -7


class Troubled(SynchronousProgram):
    accelerated = False
    generates = False
    overlaps = False
    nbytes = 8

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds

    def program(self, parameters: Any) -> Troubled:
        return self

    def batch_slots(self, numbers: Sequence[int]) -> list[BatchSlot]:
        return [BatchSlot("all", 1)] * len(numbers)

    def run(self, numbers: Sequence[int]) -> list[Any]:
        if DIES in numbers:
            os._exit(7)
        if HANGS in numbers:
            time.sleep(600)
        if BREAKS in numbers:
            raise RuntimeError("CUDA error: device-side assert triggered")
        if RAISES in numbers:
            raise ValueError("not this one")
        if STRANGE_ERROR in numbers:

            class StrangeError(Exception):
                pass

            raise StrangeError("odd")
        time.sleep(self._seconds)
        odd = {UNPICKLABLE: lambda: 0, UNKNOWN: _known_here()}
        return [odd.get(n, (2 * n, os.getpid())) for n in numbers]


def _known_here() -> Any:
    """An answer of a class of a module that no other process has."""
    here = sys.modules["only_here"] = types.ModuleType("only_here")
    here.Answer = type("Answer", (), {"__module__": "only_here"})  # type: ignore[attr-defined]
    return here.Answer()


def fails_to_load() -> Troubled:
    raise OSError("no such weights")


def dies_while_loading() -> Troubled:
    os._exit(9)
