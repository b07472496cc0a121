"""What metrics and the summary say of failed rows."""

from __future__ import annotations

import apache_beam as beam

from pipelines_beam import job_counters


def test_reasons_of_all_kinds_of_rows_are_short() -> None:
    assert job_counters.reason_of(beam.Row(error="ValueError", message="no")) == "ValueError: no"
    assert job_counters.reason_of(beam.Row(element=1, msg="division by zero")) == "division by zero"
    assert job_counters.reason_of({"a": 1}) == "no reason"
    assert len(job_counters.reason_of(beam.Row(msg="x" * 10_000))) == 300


def test_metrics_have_the_class_of_an_error_and_not_its_message() -> None:
    assert job_counters.class_of(beam.Row(error="ValueError", message="secret")) == "ValueError"
    assert job_counters.class_of(beam.Row(element=1, msg="KeyError('secret')")) == "KeyError"
    for row in (beam.Row(error="secret: 1"), beam.Row(msg="secret text"), {"a": 1}):
        assert job_counters.class_of(row) == "an error of an unknown class"
