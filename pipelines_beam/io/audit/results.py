"""What the audit of a job has found so far, by the files that it has left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..output import AUDIT, Output, is_shard
from .options import AuditOptions
from .rows import SCHEMA

_THREADS = 16  # that read files: stores take their time for each
_QUANTILES = (0.5, 0.95, 0.99)
_EXAMPLES = 12


@dataclass(frozen=True)
class AuditResult:
    """How far the answers of a job are from those of its model in float32, each row alone."""

    #: Rows that were compared.
    rows: int
    #: Rows that the reference has no answer for.
    errors: int
    #: Rows with another answer.
    flips: int
    #: The differences of numbers: see Difference.
    mean: float
    median: float
    percentile_95: float
    percentile_99: float
    largest: float

    @property
    def flip_share(self) -> float:
        """The part of the compared rows with another answer."""
        return self.flips / self.rows if self.rows else 0.0

    def excesses(self, options: AuditOptions) -> list[str]:
        """What is more than the options allow, in words."""
        found = []
        audited = self.rows + self.errors
        if self.errors > options.max_flips * audited:
            found.append(
                f"{self.errors:,} of {audited:,} audited rows have no answer in float32, and "
                "nothing is known of them"
            )
        if self.flip_share > options.max_flips:
            found.append(
                f"{self.flip_share:.2%} of the audited rows have another answer in float32, and "
                f"max_flips is {options.max_flips:.2%}"
            )
        if self.mean > options.max_difference:
            found.append(
                f"the mean difference from float32 is {self.mean:.3g}, and max_difference is "
                f"{options.max_difference:g}"
            )
        return found

    def __str__(self) -> str:
        """All of it on a line."""
        if not self.rows + self.errors:
            return "no row was audited: the share is too small for so few rows"
        if not self.rows:
            return f"audited no row: all {self.errors:,} failed in float32"
        failed = f", {self.errors:,} failed there" if self.errors else ""
        return (
            f"audited {self.rows:,} rows in float32{failed}: {self.flips:,} with another answer "
            f"({self.flip_share:.2%}); differences {self.mean:.2g} on average, "
            f"{self.percentile_95:.2g} or less in 95 %, {self.percentile_99:.2g} in 99 %, "
            f"{self.largest:.2g} at most"
        )


def audit_result(output: Output) -> AuditResult:
    """What the audit of an output has found."""
    tables = list(_tables(output, ("flips", "size")))
    found = pa.concat_tables([_empty("flips", "size"), *tables])
    compared = found.filter(pc.is_valid(found["flips"]))
    sizes = compared["size"].to_numpy() if len(compared) else np.zeros(1)
    median, percentile_95, percentile_99 = map(float, np.quantile(sizes, _QUANTILES))
    return AuditResult(
        rows=len(compared),
        errors=len(found) - len(compared),
        flips=int(pc.sum(compared["flips"]).as_py() or 0),
        mean=float(sizes.mean()),
        median=median,
        percentile_95=percentile_95,
        percentile_99=percentile_99,
        largest=float(sizes.max()),
    )


def worst(output: Output, count: int = _EXAMPLES) -> list[dict[str, Any]]:
    """The rows whose answers are farthest from the reference: other answers first."""
    order = [("flips", "descending"), ("size", "descending")]
    found = _empty(*SCHEMA.names)
    for table in _tables(output, SCHEMA.names):
        compared = table.filter(pc.is_valid(table["flips"]))
        found = pa.concat_tables([found, compared]).sort_by(order).slice(0, count)
    rows: list[dict[str, Any]] = found.to_pylist()
    return [row for row in rows if row["flips"] or row["size"]]


def _empty(*names: str) -> pa.Table:
    return SCHEMA.empty_table().select(names)


def _tables(output: Output, names: Sequence[str]) -> Iterator[pa.Table]:
    """Some columns of each file, as they are read."""

    def read(name: str) -> pa.Table:
        with output.open(f"{AUDIT}/{name}") as opened:
            return pq.read_table(opened, columns=list(names), use_threads=False)

    with ThreadPoolExecutor(_THREADS) as pool:
        yield from pool.map(read, sorted(filter(is_shard, output.names(AUDIT))))
