"""The audit in a report: numbers, warnings, and rows with the largest differences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from support.reports import a_run, output_of

from pipelines_beam.io import report
from pipelines_beam.io.audit.rows import SCHEMA

SCRIPT = "<script>alert(1)</script>"


def audited_output(folder: Path, rows: list[dict[str, Any]], **audit: Any) -> str:
    run = a_run(audit=audit)
    scored = [{"text": "x", "label": "good", "score": 0.9}]
    output = output_of(folder / "out", "text-classification", {"text": "text"}, scored, run=run)
    (folder / "out/_audit").mkdir()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / "out/_audit/part-000-0.parquet")
    return output


def row(number: int, **more: Any) -> dict[str, Any]:
    given = {"file": "a.parquet", "row": number, "flips": False, "size": 0.0}
    return {**given, "input": "x", "answer": "A", "reference": "B", **more}


def test_numbers_and_the_largest_differences(tmp_path: Path) -> None:
    rows = [row(i) for i in range(97)]
    rows += [row(97, size=0.25), row(98, flips=True, size=0.125, input=SCRIPT)]
    rows += [row(99, flips=None, size=None, reference=None, error="ValueError: no")]
    page = report(audited_output(tmp_path, rows, share=0.1, max_flips=0.001)).html
    assert '<a href="#audit">' in page
    for text in (
        "99</dd>",
        "1 (1.01%)",
        "0.0038</dd>",
        "without a reference",
        "1.01% of the audited rows have another answer in float32, and max_flips is 0.10%.",
    ):
        assert text in page
    assert SCRIPT not in page
    first, second = (page.index(f"a.parquet, row {number}<") for number in (98, 97))
    assert first < second
    assert "a.parquet, row 96<" not in page


def test_without_an_audit_nothing_is_said_of_it(tmp_path: Path) -> None:
    page = report(audited_output(tmp_path, [])).html
    assert 'id="audit"' not in page
    assert "auditing" not in page
