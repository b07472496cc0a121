"""Rows of a sample that fail, and how many of all rows will."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa


@dataclass(frozen=True)
class ExpectedFailures:
    """Rows that will fail for one reason."""

    stage: str
    error: str
    #: One of the messages.
    message: str
    in_sample: int
    expected: int


@dataclass
class FoundFailures:
    """Failed rows by stage and error, with the first message of each."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    messages: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, stage: str, error: str, message: str) -> None:
        """Count a row."""
        self.counts[stage, error] += 1
        self.messages.setdefault((stage, error), message)

    def add_table(self, table: pa.Table) -> None:
        """Count the rows of a table of failure rows."""
        names = ("stage", "error", "message")
        for row in zip(*(table[name].to_pylist() for name in names), strict=True):
            self.add(*row)

    def expected(self, sample: int, rows: int) -> list[ExpectedFailures]:
        """How many of `rows` will fail, the commonest reasons first, given a sample's number."""
        return [
            ExpectedFailures(
                stage=stage,
                error=error,
                message=self.messages[stage, error],
                in_sample=count,
                expected=max(round(rows * count / sample), 1),
            )
            for (stage, error), count in self.counts.most_common()
        ]
