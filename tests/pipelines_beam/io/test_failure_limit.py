"""Jobs that stop because too many rows fail."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from support.runs import RUNNER

from pipelines_beam import TextClassification
from pipelines_beam.io import TooManyFailuresError, failure_limit, process_files
from pipelines_beam.io.failure_counts import FailureCounts
from pipelines_beam.io.failure_limit import FailureLimit
from pipelines_beam.io.output import Output


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        (0, FailureLimit(0)),
        ("12", FailureLimit(12)),
        ("1%", FailureLimit(share=0.01)),
        ("0.5 %", FailureLimit(share=0.005)),
    ],
)
def test_what_a_limit_may_be(given: Any, limit: FailureLimit) -> None:
    assert FailureLimit.of(given) == limit


@pytest.mark.parametrize("given", ["", "-1", "many", "101%", "1.5", 0.01, True, "1%%"])
def test_what_a_limit_may_not_be(given: Any) -> None:
    with pytest.raises(ValueError, match=r"max_failures must be a number of rows, such as 100, or"):
        FailureLimit.of(given)


def test_a_share_counts_from_a_hundred_rows_on() -> None:
    share = FailureLimit.of("10%")
    assert not share.is_exceeded(99, 99)
    assert not share.is_exceeded(10, 100)
    assert share.is_exceeded(11, 100)
    assert FailureLimit.of(0).is_exceeded(1, 1)
    assert not FailureLimit.of(2).is_exceeded(2, 2)


def settings(folder: Path, model: str, **options: Any) -> dict[str, Any]:
    return {
        "files": str(folder / "in.parquet"),
        "task": TextClassification(model, input="text", truncation=True),
        "output": str(folder / "out"),
        "rows_per_shard": 10,
        "options": PipelineOptions([], runner=RUNNER),
        **options,
    }


def test_a_job_stops_when_too_many_rows_fail(
    tmp_path: Path, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failure_limit, "_SHORT", math.inf)  # it looks each time, however long
    name = model("bert-classification")
    texts = ["good"] * 20 + [None] * 3 + ["bad"] * 77
    pq.write_table(pa.table({"text": texts}), tmp_path / "in.parquet")
    limited = settings(tmp_path, name, max_failures=2)
    said = r"too many rows failed: 3 of \d+ .* is 2: 3 x TypeError: column 'text': text must be a"
    with pytest.raises(TooManyFailuresError, match=said):
        process_files(**limited)
    written = len(list((tmp_path / "out").glob("part-*")))
    assert 0 < written < 10, "it has gone on"
    with pytest.raises(TooManyFailuresError):
        process_files(**limited, resume=True)
    assert len(list((tmp_path / "out").glob("part-*"))) == written, "it has computed more"
    done = process_files(**limited | {"max_failures": "3%"}, resume=True)
    assert (done.skipped, done.written) == (written, 10 - written)
    found = FailureCounts(Output(str(tmp_path / "out")))
    assert (found.count(), found.count(set())) == (3, 0)
    assert list(found.reasons().values()) == [3]
