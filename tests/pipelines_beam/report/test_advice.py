"""The recommendation follows from where the time went."""

from __future__ import annotations

from typing import Any

import pytest
from support.reports import a_run

from pipelines_beam.report.advice import advice

_IDLE = {"load": 1.0, "compute": 50.0, "idle": 50.0, "wait": 5.0}


@pytest.mark.parametrize(
    ("changes", "title", "how"),
    [
        ({}, "Compute faster", "device: cuda"),
        ({"machine": {"accelerator": "H100"}}, "half precision", "dtype: bfloat16"),
        ({"stages": {**_IDLE, "preprocess": 40.0, "read": 1.0}}, "Prepare rows in", "num_workers"),
        ({"stages": {**_IDLE, "preprocess": 1.0, "read": 40.0}}, "Read less", "columns: []"),
        ({"stages": {**_IDLE, "postprocess": 40.0, "read": 1.0}}, "Postprocess in", "num_workers"),
        ({"stages": {**_IDLE, "write": 40.0, "read": 1.0}}, "Write larger", "rows_per_shard"),
        ({"stages": {"load": 60.0, "compute": 30.0, "idle": 5.0}}, "Give one job more", "files:"),
        ({"tokens": 50}, "Pad less", "batch_tokens"),
        ({"batches": {"1": 30, "2": 5, "16": 10}}, "Fill the batches", "batch_tokens"),
        ({"counters": {"splits_memory": 3}}, "Limit the size", "batch_tokens"),
        ({"counters": {"engine_restarts": 1}}, "Find what ends", "--verbose"),
        ({"counters": {"failures_timeout": 50}}, "Allow batches", "batch_timeout"),
        ({"state": "running", "rows": 0, "stages": {}}, "Wait for the run", "--resume"),
        ({"state": "stopped", "rows": 0, "stages": {}}, "Resume the job", "--resume"),
        ({"rows": 0, "stages": {"load": 0.0}}, "Nothing to do", ""),
    ],
)
def test_one_thing_is_recommended(changes: dict[str, Any], title: str, how: str) -> None:
    found = advice(a_run(**changes))
    assert title in found.title
    assert how in found.how
    assert bool(found.how) == bool(how)
    assert found.why.endswith(".")


def test_it_says_the_share() -> None:
    found = advice(a_run(stages={**_IDLE, "preprocess": 30.0, "read": 10.0}))
    assert "nothing to do for 50% of the time" in found.why
    assert "75% of the work" in found.why
    few = {"1": 10, "2": 2}
    assert advice(a_run(batches=few, counters={"splits_memory": 1})).title.startswith("Limit")
    assert advice(a_run(batches={"16": 1000}, counters={"splits_memory": 1})).title == (
        "Compute faster"
    )
