"""The failed rows of shards that are written, while some of them are computed again.

A shard has two files, which cannot change at the same instant. The file of results decides: once
rows of a shard were computed again, its metadata say which rows are still failed. Rows in the file
of failure rows that are not among them are answered, and are removed from it afterwards. So a
retry may be killed at any instant, and no row is lost or there twice for the next one.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.rows.tables import chosen

from .output import FAILURES, Output, as_parquet, is_shard
from .stages import in_order

_STILL_FAILED = b"pipelines_beam.failed_rows"


def shards_with_failures(output: Output) -> list[str]:
    """The names of the shards that are written and may have failed rows, in their order."""
    written = set(filter(is_shard, output.names()))
    return sorted(written.intersection(output.names(FAILURES)))


def failed_rows(output: Output, name: str) -> pa.Table | None:
    """The failure rows of a shard that is written, without those that are answered by now.

    None if it has no file of failure rows.
    """
    try:
        table = pq.read_table(io.BytesIO(output.read(f"{FAILURES}/{name}")))
    except FileNotFoundError:
        return None
    still = _still_failed(output, name)
    return table if still is None else table.filter(_is_in(table["row"], still))


def count_failed(output: Output, name: str) -> tuple[int, int]:
    """How many rows of a shard are failed; and how many failure rows there are to be removed."""
    with output.open(f"{FAILURES}/{name}") as opened:
        rows = pq.read_table(opened, columns=["row"])["row"].to_pylist()
    still = _still_failed(output, name)
    left = rows if still is None else set(rows).intersection(still)
    return len(left), len(rows) - len(left)


def replace_failures(output: Output, name: str, new: pa.Table) -> None:
    """Replace failure rows by newer ones of the same rows."""
    known = failed_rows(output, name)
    if known is None:
        return
    new = new.filter(_is_in(new["row"], known["row"].to_pylist()))
    kept = known.filter(pc.invert(_is_in(known["row"], new["row"].to_pylist())))
    _write_failures(output, name, pa.concat_tables([kept, new.cast(known.schema)]))


def merge_answers(
    output: Output, name: str, first: int, answers: pa.Table, rows: Sequence[int]
) -> None:
    """Write a shard anew, with answers of rows that had failed.

    Args:
      output: where it is.
      name: the name of the shard.
      first: the number of its first row.
      answers: results with the columns of the shard, in the order of the rows.
      rows: the numbers of the rows that are answered, ascending.

    """
    failures = failed_rows(output, name)
    failed = set() if failures is None else set(failures["row"].to_pylist())
    new = [i for i, row in enumerate(rows) if row in failed]
    if new:
        table = pq.read_table(io.BytesIO(output.read(name)))
        before = sorted({*range(first, first + len(table) + len(failed))} - failed)
        now = [rows[i] for i in new]
        pieces = in_order(table, before, chosen(answers, new).cast(table.schema), now)
        still = json.dumps(sorted(failed.difference(now)))
        about = {**(table.schema.metadata or {}), _STILL_FAILED: still}
        merged = pa.concat_tables(pieces).replace_schema_metadata(about)
        output.write(name, as_parquet(merged))
    remove_answered(output, name)


def remove_answered(output: Output, name: str) -> None:
    """Remove the failure rows of a shard that are answered by now."""
    failures = failed_rows(output, name)
    if failures is not None:
        _write_failures(output, name, failures)


def _write_failures(output: Output, name: str, table: pa.Table) -> None:
    if len(table):
        order = pc.sort_indices(table, [("row", "ascending")])
        output.write(f"{FAILURES}/{name}", as_parquet(table.take(order)))
    else:
        output.remove(f"{FAILURES}/{name}")


def _still_failed(output: Output, name: str) -> list[int] | None:
    """The failed rows that the results of a shard tell; None if they tell nothing of them."""
    with output.open(name) as opened:
        text = (pq.read_metadata(opened).metadata or {}).get(_STILL_FAILED)
    return None if text is None else list(json.loads(text))


def _is_in(rows: pa.ChunkedArray, wanted: Sequence[int]) -> Any:
    return pc.is_in(rows, pa.array(wanted, pa.int64()))
