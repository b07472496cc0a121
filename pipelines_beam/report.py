"""What a person wants to see when a job is done: how many, how fast, where, and what."""

from __future__ import annotations

import glob
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.metrics import MetricsFilter
from apache_beam.runners.runner import PipelineResult

from transforms import metrics

_SHOWN = 3
_WIDTH = 100


def show(spec: Mapping[str, Any], seconds: float, result: PipelineResult) -> None:
    """Print the report of a finished Beam YAML job: its counts and what it wrote."""
    done, failed, unit = _counts(result)
    if done:
        print(f"{done:,} {unit} in {seconds:.1f} s: {done / seconds:.0f} {unit}/s", end="")
        print(f", {failed:,} of them failed" if failed else ", none failed")
    for path in _outputs(spec.get("pipeline")):
        files = sorted(glob.glob(f"{glob.escape(path)}*"))
        if not files:
            continue
        size = sum(map(os.path.getsize, files))
        print(f"wrote {files[0]}{f' and {len(files) - 1} more' if files[1:] else ''}", end="")
        print(f" ({size / 1e6:,.1f} MB)")
        if ".parquet" in os.path.basename(path):
            _show_table(pq.read_table(files))
        elif failed:
            _show_failures(files)


def _counts(result: PipelineResult) -> tuple[int, int, str]:
    """How many were answered, or failed; how many of them failed; and what they are."""
    counts = metrics.counts()
    if counts.answered or counts.failed:
        return counts.answered + counts.failed, counts.failed, "rows"
    # The job ran in other processes: what the runner has gathered from them.
    found = result.metrics().query(MetricsFilter().with_namespace(metrics.NAMESPACE))["counters"]
    total: Counter[str] = Counter()
    for each in found:
        total[each.key.metric.name] += each.result
    failed = sum(count for name, count in total.items() if name.startswith("failures_"))
    return total["num_inferences"] + failed, failed, "inferences"


def _outputs(node: Any) -> Iterator[str]:
    """The paths of the Write… transforms in a specification."""
    if isinstance(node, Mapping):
        config = node.get("config")
        if str(node.get("type", "")).startswith("Write") and isinstance(config, Mapping):
            yield str(config.get("path") or config.get("file_path_prefix"))
        for value in node.values():
            yield from _outputs(value)
    elif isinstance(node, list):
        for value in node:
            yield from _outputs(value)


def _show_table(table: pa.Table) -> None:
    vectors = [field.name for field in table.schema if _is_vector(field.type)]
    texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
    if vectors and texts and table.num_rows > 1:
        _show_neighbours(table, vectors[0], texts)
        return
    for row in table.slice(0, _SHOWN).to_pylist():
        print("  " + clean(json.dumps(row, ensure_ascii=False, default=str)))


def _is_vector(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) and pa.types.is_floating(kind.value_type))


def _show_neighbours(table: pa.Table, vector: str, texts: list[str]) -> None:
    """For some rows, those whose vectors point the same way most."""
    found = np.array(table[vector].to_pylist(), np.float32)
    found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    print("nearest neighbours:")
    for row in np.linspace(0, len(found) - 1, _SHOWN + 2).astype(int)[1:-1]:
        likeness = found @ found[row]
        likeness[row] = -1
        print("  " + _title(table, texts, row))
        for other in np.argsort(-likeness)[:_SHOWN]:
            print(f"    {likeness[other]:.2f}  {_title(table, texts, other)}")


def _title(table: pa.Table, texts: list[str], row: int) -> str:
    return clean("  ".join(str(table[name][int(row)]) for name in texts))


def _show_failures(files: list[str]) -> None:
    reasons: Counter[str] = Counter()
    for path in files:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                reasons[f"{row.get('error')}: {row.get('message')}"] += 1
    for reason, count in reasons.most_common(_SHOWN):
        print(f"  {count:,} x {clean(reason)}")


def clean(text: str) -> str:
    """Text from data on one line of a terminal, without what could command it."""
    line = "".join(c if c.isprintable() else " " for c in text)
    line = " ".join(line.split())
    return line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…"
