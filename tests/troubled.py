"""A model that doubles numbers, and what can go wrong with it, for processes of their own."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from transforms.collate import Place

#: Numbers that are more than numbers.
RAISES, HANGS, DIES, BREAKS, UNPICKLABLE, STRANGE_ERROR = -1, -2, -3, -4, -5, -6


class Troubled:
    accelerated = False
    generates = False
    nbytes = 8

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds

    def program(self, parameters: Any) -> Troubled:
        return self

    def place(self, number: int) -> Place:
        return Place("all", 1)

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
        return [(lambda: 0) if n == UNPICKLABLE else (2 * n, os.getpid()) for n in numbers]


def fails_to_load() -> Troubled:
    raise OSError("no such weights")


def dies_while_loading() -> Troubled:
    os._exit(9)
