"""Plans: which part of which file each shard of the output comes from.

A job has one plan for the files that it began with, and one more for those of each later start. A
plan never changes: the name of a shard says its plan and its number there, and nothing else is
needed to know which shards are still to be written.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import astuple, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .files import InputFile
from .output import JOB, Output
from .pieces import Piece
from .ranges import Range

_NAME = re.compile(r"plan-(\d{3,})-([0-9a-f]{12})\.parquet")
_SHARD_NAME = re.compile(r"part-(.+)-(\d{7,})\.parquet")
_SCHEMA = pa.schema(
    [
        ("shard", pa.int32()),
        ("uri", pa.string()),
        ("size", pa.int64()),
        ("version", pa.string()),
        ("start", pa.int64()),
        ("stop", pa.int64()),
        ("group", pa.int32()),
        ("rows", pa.int64()),
    ]
)
_MOST_RANGES, _MOST_SHARDS = 1000, 10_000  # of an element of Beam


@dataclass(frozen=True)
class Shard:
    """One shard of the output, and what it comes from."""

    name: str
    files: tuple[InputFile, ...]
    range: Range
    #: How many rows it comes from, as it was planned.
    rows: int
    #: Neighbours of the same file and group are read in one go.
    group: int

    def is_read_with(self, other: Shard) -> bool:
        """Whether both are read in one go."""
        return self.files == other.files and self.group == other.group


@dataclass(frozen=True)
class Segment:
    """Shards of a plan that are to be written, by their numbers."""

    plan: str
    ranges: tuple[Range, ...]


@dataclass(frozen=True)
class Plan:
    """One plan. Its name is `number-hash`, where the hash is that of the job and its content."""

    name: str
    table: pa.Table

    @classmethod
    def of(cls, job: str, number: int, shards: Iterable[Sequence[tuple[InputFile, Piece]]]) -> Plan:
        """The plan with these shards.

        Args:
          job: the hash of what the job is.
          number: how many plans the job has already.
          shards: the files of each, and what is read of them.

        """
        rows = [
            (i, file.uri, file.size, file.version, *astuple(piece))
            for i, shard in enumerate(shards)
            for file, piece in shard
        ]
        columns = list(zip(*rows, strict=True)) or [()] * len(_SCHEMA)
        table = pa.table(
            [pa.array(c, t) for c, t in zip(columns, _SCHEMA.types, strict=True)], schema=_SCHEMA
        )
        digest = hashlib.sha256(f"{job} {number} {rows!r}".encode())
        return cls(f"{number:03d}-{digest.hexdigest()[:12]}", table)

    @classmethod
    def read(cls, output: Output, name: str) -> Plan:
        """A plan of the output."""
        data = output.read(f"{JOB}/plan-{name}.parquet")
        return cls(name, pq.read_table(io.BytesIO(data), schema=_SCHEMA))

    def write(self, output: Output) -> None:
        """Keep the plan beside the output."""
        file = io.BytesIO()
        pq.write_table(self.table, file, compression="zstd")
        output.write(f"{JOB}/plan-{self.name}.parquet", file.getvalue())

    @cached_property
    def starts(self) -> np.ndarray:
        """The number of the first row of each shard in the table; then that of all rows."""
        numbers = self.table["shard"].to_numpy()
        return np.append(np.flatnonzero(np.diff(numbers, prepend=-1)), len(numbers))

    @cached_property
    def rows(self) -> np.ndarray:
        """The number of rows of each shard, as it was planned."""
        if not len(self):
            return np.zeros(0, np.int64)
        return np.add.reduceat(self.table["rows"].to_numpy(), self.starts[:-1])

    def __len__(self) -> int:
        return len(self.starts) - 1

    def shard_name(self, number: int) -> str:
        """The name of the file of a shard."""
        return f"part-{self.name}-{number:07d}.parquet"

    def files(self) -> set[InputFile]:
        """The files that are read."""
        distinct = self.table.group_by(["uri", "size", "version"]).aggregate([])
        columns = (distinct[name].to_pylist() for name in ("uri", "size", "version"))
        return {InputFile(*each) for each in zip(*columns, strict=True)}

    def is_done(self, names: Iterable[str]) -> np.ndarray:
        """Which shards are written, by the names of the files in the output."""
        prefix = f"part-{self.name}-"
        found = [int(name[len(prefix) : -8]) for name in names if name.startswith(prefix)]
        done = np.zeros(len(self), bool)
        done[found] = True
        return done

    def lacks(self, uris: Set[str]) -> np.ndarray:
        """Which shards come from files that are not there any more, given those that are."""
        gone = {file.uri for file in self.files()} - uris
        if not gone:
            return np.zeros(len(self), bool)
        rows = pc.is_in(self.table["uri"], pa.array(sorted(gone))).to_numpy()
        return np.logical_or.reduceat(rows, self.starts[:-1])

    def segments(self, done: np.ndarray) -> Iterator[Segment]:
        """The shards that are not written, in parts for Beam's elements."""
        edges = np.flatnonzero(np.diff(~done, prepend=False, append=False)).reshape(-1, 2)
        ranges = [
            (at, min(at + _MOST_SHARDS, int(stop)))
            for start, stop in edges
            for at in range(int(start), int(stop), _MOST_SHARDS)
        ]
        part: list[Range] = []
        count = 0
        for start, stop in ranges:
            if count + stop - start > _MOST_SHARDS or len(part) == _MOST_RANGES:
                yield Segment(self.name, tuple(part))
                part, count = [], 0
            part.append((start, stop))
            count += stop - start
        if part:
            yield Segment(self.name, tuple(part))

    def shards(self, ranges: Iterable[Range]) -> Iterator[Shard]:
        """The shards with these numbers."""
        for start, stop in ranges:
            first, last = self.starts[start], self.starts[stop]
            rows = self.table.slice(first, last - first).to_pylist()
            for number in range(start, stop):
                a, b = self.starts[number] - first, self.starts[number + 1] - first
                yield self._shard(number, rows[a:b])

    def _shard(self, number: int, rows: Sequence[dict[str, Any]]) -> Shard:
        files = tuple(InputFile(row["uri"], row["size"], row["version"]) for row in rows)
        row, count = rows[0], sum(row["rows"] for row in rows)
        place = (row["start"], row["stop"])
        return Shard(self.shard_name(number), files, place, count, row["group"])


def place_of(shard_name: str) -> tuple[str, int]:
    """The name of the plan of a shard, and its number there."""
    match = _SHARD_NAME.fullmatch(shard_name)
    assert match is not None
    return match[1], int(match[2])


def plans(output: Output) -> list[Plan]:
    """The plans of an output, in their order."""
    matches = sorted(filter(None, map(_NAME.fullmatch, output.names(JOB))), key=lambda m: m[0])
    numbers = [match[1] for match in matches]
    if len(set(numbers)) < len(numbers):
        raise PlanError(
            f"{output.uri} has two plans of the same number: two runs of the job were started at "
            "the same time, and files may be in both. Overwrite the output, or write to another "
            "path"
        )
    return [Plan.read(output, f"{match[1]}-{match[2]}") for match in matches]


class PlanError(RuntimeError):
    """Two runs of one job have planned at the same time."""


def read_together(shards: Iterable[Shard]) -> Iterator[tuple[Shard, ...]]:
    """Neighbouring shards that are read in one go."""
    found: list[Shard] = []
    for shard in shards:
        if found and not found[-1].is_read_with(shard):
            yield tuple(found)
            found = []
        found.append(shard)
    if found:
        yield tuple(found)
