"""The pieces that files are cut into, and how many lines are in one."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import fsspec
from fsspec.utils import infer_compression

from .files import InputFile
from .ranges import Range, equal_ranges


@dataclass(frozen=True)
class ShardSize:
    """How much of a file makes one shard: the smaller of the two."""

    rows: int
    nbytes: int


@dataclass(frozen=True)
class Piece:
    """What is read for one shard of a file."""

    start: int
    stop: int
    #: Neighbours of the same group are read in one go, since starting in the middle costs much.
    group: int
    #: How many rows there are in it; an estimate where the format does not count them.
    rows: int


def is_compressed(file: InputFile) -> bool:
    """Whether a file can be read from its beginning only."""
    return infer_compression(file.uri) is not None


def opened_file(file: InputFile) -> Any:
    """A file opened for reading its bytes, decompressed."""
    return fsspec.open(file.uri, "rb", compression="infer")


@dataclass(frozen=True)
class LineLength:
    """How long the lines of a file are, as far as its beginning tells."""

    #: The bytes of a line in the file: compressed where the file is.
    average: float

    @classmethod
    def of(cls, file: InputFile) -> LineLength:
        """As the first lines of a file are."""
        with opened_file(file) as opened:
            begin: bytes = opened.read(64 * 1024)
        # How well other programs compress is unknown: much like zlib does.
        nbytes = len(zlib.compress(begin)) if is_compressed(file) else len(begin)
        return cls(max(nbytes / max(begin.count(b"\n"), 1), 0.01))

    def nbytes(self, size: ShardSize) -> int:
        """The bytes of as many lines as a shard has."""
        return max(min(int(size.rows * self.average), size.nbytes), 1)

    def piece(self, range: Range, group: int = 0) -> Piece:
        """What is read of a range, with about as many rows as there are in it."""
        return Piece(*range, group, max(round((range[1] - range[0]) / self.average), 1))


def pieces_of_lines(file: InputFile, size: ShardSize) -> list[Piece]:
    """Ranges of bytes; a compressed file can be read from its beginning only."""
    if not file.size:
        return []
    lines = LineLength.of(file)
    if is_compressed(file):
        return [lines.piece((0, file.size))]
    ranges = equal_ranges(0, file.size, lines.nbytes(size))
    return [lines.piece(each, group) for group, each in enumerate(ranges)]
