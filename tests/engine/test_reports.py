"""What an engine tells of its work: all of it, once."""

from __future__ import annotations

from support.doubles import Doubles, answers

from transforms.engine.reports import BatchReport, LoadReport


def test_everything_is_reported_once() -> None:
    found, reports = answers(Doubles(), range(1000))
    batches = [report for report in reports if isinstance(report, BatchReport)]
    assert sum(report.rows for report in batches) == len(found) == 1000
    assert sum(report.tokens for report in batches) == sum(10 + n % 7 for n in range(1000))
    assert all(report.tokens <= report.padded for report in batches)
    assert [report.nbytes for report in reports if isinstance(report, LoadReport)] == [12]
