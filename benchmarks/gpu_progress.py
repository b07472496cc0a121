"""When rows were answered and batches computed: a file for each process, and rates of them all."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Shares of the rows between which a rate is taken: after the start, before processes run dry.
FROM, TO = 0.2, 0.95
_FEWEST = 5  # times between them at which rows were answered: fewer make no rate


class Record:
    """Appends to a file of its own in a folder; the clock is that of the whole machine."""

    def __init__(self, folder: str) -> None:
        path = Path(folder) / f"{time.monotonic_ns()}-{id(self)}"
        self._file = path.open("a", buffering=1)
        self._count = 0

    def _write(self, *values: object) -> None:
        print(time.monotonic(), *values, file=self._file)

    def start(self) -> None:
        """From here counts all: for what is measured as a whole."""
        self._write("start")

    def answered(self, rows: int, often: int = 1) -> None:
        self._count += rows
        if self._count >= often:
            self._write("rows", self._count)
            self._count = 0

    def batch(self, report: Any) -> None:
        """A batch of an engine, by its BatchReport."""
        padded = report.padded, report.tokens
        self._write("batch", report.rows, *padded, report.seconds, report.idle)


@dataclass(frozen=True)
class Figures:
    """What the files say."""

    rows: int
    #: Rows per second; None: too few were answered to say.
    rate: float | None = None
    #: Shares of the padded tokens and of the time; None: no engine's batches.
    padding: float | None = None
    busy: float | None = None
    rows_in_batch: float | None = None


def figures(folder: Path) -> Figures:
    """What the files of a folder say together; it may be that of a way that was ended."""
    lines = [line.split() for path in folder.iterdir() for line in path.read_text().splitlines()]
    events = sorted((float(when), kind, list(map(float, rest))) for when, kind, *rest in lines)
    answers = [(when, int(rest[0])) for when, kind, rest in events if kind == "rows"]
    total = sum(rows for _, rows in answers)
    starts = [when for when, kind, _ in events if kind == "start"]
    if not total:
        return Figures(0)
    if starts:
        end = answers[-1][0]
        return Figures(total, total / (end - starts[0]))
    sums = list(itertools.accumulate(rows for _, rows in answers))
    first = next(i for i, done in enumerate(sums) if done >= FROM * total)
    last = next(i for i, done in enumerate(sums) if done >= TO * total)
    begin, end = answers[first][0], answers[last][0]
    if last - first < _FEWEST or begin == end:
        return Figures(total)
    rate = (sums[last] - sums[first]) / (end - begin)
    batches = [rest for when, kind, rest in events if kind == "batch" and begin < when <= end]
    if not batches:
        return Figures(total, rate)
    rows, padded, tokens, seconds, idle = map(sum, zip(*batches, strict=True))
    return Figures(
        total, rate, 1 - tokens / padded, seconds / (seconds + idle), rows / len(batches)
    )
