"""What a job was to take beside what it took."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.reports import a_run, output_of

from pipelines_beam.io import report
from pipelines_beam.io.run_record import RunRecord
from pipelines_beam.report.plan_beside_run import planned

PLAN = {
    "rows": 100,
    "failed": 3,
    "seconds": [80.0, 90.0, 110.0],
    "workers": 1,
    "device": "a <large> machine",
    "batch_rows": 20.0,
    "padding": 0.2,
}


def run(**changes: Any) -> RunRecord:
    return a_run(**{"rows": 98, "failed": 2, "forecast": PLAN, **changes})


def test_the_plan_is_beside_the_run(tmp_path: Path) -> None:
    found = planned(run())
    assert found is not None
    assert found.rows == [
        ("rows", "100", "100"),
        ("time", "1 min 30 s (1 min 20 s to 1 min 50 s)", "1 min 40 s"),
        ("rows per second", "1.11", "1"),
        ("rows that fail", "3", "2"),
        ("padding", "20%", "10%"),
    ]
    assert not found.note
    rows = [{"text": "x", "label": "good", "score": 0.9}]
    inputs = {"text": "text"}
    page = report(output_of(tmp_path / "a", "text-classification", inputs, rows, run=run())).html
    assert "measured on a &lt;large&gt; machine" in page
    assert "1 min 20 s to 1 min 50 s" in page
    page = report(output_of(tmp_path / "b", "text-classification", inputs, rows, run=a_run())).html
    assert 'id="plan"' not in page


def test_what_cannot_be_compared_is_said() -> None:
    def note(**changes: Any) -> str:
        found = planned(run(**changes))
        return "" if found is None else found.note

    assert "did not come to its end" in note(state="stopped")
    assert "another number of rows" in note(rows=50)
    assert planned(run(rows=0, failed=0)) is None
    workers = planned(run(forecast={**PLAN, "workers": 4}))
    assert workers is not None
    assert workers.rows[-1] == ("workers", "4", "as the runner has")
