"""The metrics of a job."""

from __future__ import annotations

from collections.abc import Callable

import apache_beam as beam
import pytest
from apache_beam.metrics import MetricsFilter
from support.runs import RUNNER
from support.texts import CORPUS

from pipelines_beam import TextClassification

Model = Callable[[str], str]


@pytest.mark.parametrize("share", ["process", "machine"])
def test_the_job_has_metrics(model: Model, share: str) -> None:
    texts = [*CORPUS, "long " * 600]
    with beam.Pipeline(RUNNER) as p:
        transform = TextClassification(model("bert-classification"), share=share)
        p | beam.Create(texts, reshuffle=False) | transform.with_exception_handling()
    found = p.result.metrics().query(MetricsFilter().with_namespace("pipelines_beam"))
    counters = {each.key.metric.name: each.committed for each in found["counters"]}
    spreads = {each.key.metric.name: each.committed for each in found["distributions"]}
    assert counters["num_inferences"] == len(CORPUS)
    assert counters["failures_data"] == 1
    assert counters["compute_micro_secs"] > 0
    assert counters["idle_micro_secs"] > 0
    assert spreads["inference_request_batch_size"].sum == len(CORPUS)
    assert spreads["load_model_latency_milli_secs"].count == 1
    assert spreads["model_byte_size"].max > 1000
    assert 0 <= spreads["padding_percent"].mean < 50
