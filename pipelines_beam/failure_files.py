"""Reasons in files of failed rows that sinks have written: in whatever process the rows failed."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import pyarrow.parquet as pq

from .job_counters import reason_of

_MOST = 10_000  # rows that are read


def reasons(kind: str, paths: Iterable[str]) -> Counter[str]:
    """How often each reason occurs in the files of a sink on this machine.

    Args:
      kind: the type of the sink.
      paths: its files.

    """
    rows = (row for path in paths if os.path.isfile(path) for row in _READERS[kind](path))
    return Counter(reason_of(_Row(row)) for row in islice(rows, _MOST))


class _Row:
    """The cells of a row as attributes, as in a pipeline."""

    def __init__(self, cells: Mapping[str, Any]) -> None:
        vars(self).update(cells)


def _of_json(path: str) -> Iterator[Mapping[str, Any]]:
    with open(path, encoding="utf-8") as file:
        yield from map(json.loads, file)


def _of_csv(path: str) -> Iterator[Mapping[str, Any]]:
    with open(path, encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _of_parquet(path: str) -> Iterator[Mapping[str, Any]]:
    with pq.ParquetFile(path) as file:
        names = [name for name in ("error", "message", "msg") if name in file.schema_arrow.names]
        for batch in file.iter_batches(1024, columns=names):
            yield from batch.to_pylist()


_READERS = {"WriteToJson": _of_json, "WriteToCsv": _of_csv, "WriteToParquet": _of_parquet}
#: The types of sinks whose files can be read.
KINDS = frozenset(_READERS)
