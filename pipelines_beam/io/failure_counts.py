"""The failure rows of an output: how many there are, and their commonest reasons."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass

import pyarrow.parquet as pq

from .output import FAILURES, Output, is_shard

_MOST_FILES = 1000  # that reasons are read from
_MOST_CHARACTERS = 300  # of a reason


@dataclass
class Reason:
    """Why rows failed, and the first of them."""

    #: "error: message".
    text: str
    file: str | None
    #: See ProcessFiles.
    row: int
    count: int = 0


class FailureCounts:
    """The failure rows of an output: each of its files is counted once."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._counts: dict[str, int] = {}

    def count(self, shards: Set[str] | None = None) -> int:
        """How many there are now, in all or of some shards."""
        for name in filter(is_shard, self._output.names(FAILURES)):
            if name not in self._counts:
                with self._output.open(f"{FAILURES}/{name}") as file:
                    self._counts[name] = pq.read_metadata(file).num_rows
        if shards is None:
            return sum(self._counts.values())
        return sum(count for name, count in self._counts.items() if name in shards)

    def reasons(self) -> Counter[str]:
        """How often each reason occurred: "error: message". At most 1,000 files are read."""
        return Counter({each.text: each.count for each in self.with_examples()})

    def with_examples(self) -> list[Reason]:
        """The reasons of the same files, the commonest first, each with one of its rows."""
        found: dict[str, Reason] = {}
        for text, file, row in self._rows():
            reason = found.setdefault(text, Reason(text, file, row))
            reason.count += 1
        return sorted(found.values(), key=lambda each: -each.count)

    def _rows(self) -> Iterator[tuple[str, str | None, int]]:
        """The reason of each row, with the file and the number of the row."""
        for name in sorted(filter(is_shard, self._output.names(FAILURES)))[:_MOST_FILES]:
            with (
                contextlib.suppress(FileNotFoundError),
                self._output.open(f"{FAILURES}/{name}") as file,
            ):
                table = pq.read_table(file, columns=["error", "message", "file", "row"])
                cells = (column.to_pylist() for column in table.columns)
                for error, message, *place in zip(*cells, strict=True):
                    yield f"{error}: {message}"[:_MOST_CHARACTERS], *place
