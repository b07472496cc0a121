"""Beam's ModelHandlers in our engine: the oracle is RunInference, or the model itself."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import torch
from apache_beam.metrics import MetricsFilter
from apache_beam.ml.inference.base import KeyedModelHandler, KeyModelMapping, RunInference
from apache_beam.ml.inference.pytorch_inference import PytorchModelHandlerTensor
from apache_beam.ml.inference.sklearn_inference import SklearnModelHandlerNumpy
from apache_beam.options.pipeline_options import PipelineOptions
from sklearn.linear_model import LogisticRegression
from support import counting, sink
from support.counting import Broken, Counting, Short
from support.runs import RUNNER

from pipelines_beam import ElementError, Forward
from transforms.engine import registry
from transforms.stages import model_handler

# Beam's own handlers leave the files open that they load models from.
pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


Run = Callable[..., list[Any]]


TEXTS = ["a" * (1 + 7 * i % 40) for i in range(500)]


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    counting.loads.clear()
    counting.batches.clear()
    yield
    assert registry.running() == 0


@pytest.fixture
def linear(tmp_path: Path) -> tuple[PytorchModelHandlerTensor, torch.nn.Module]:
    torch.manual_seed(7)
    model = torch.nn.Linear(4, 3)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    handler = PytorchModelHandlerTensor(
        state_dict_path=str(tmp_path / "model.pt"),
        model_class=torch.nn.Linear,
        model_params={"in_features": 4, "out_features": 3},
        max_batch_size=16,
    )
    return handler, model


def test_a_pytorch_handler_answers_as_in_run_inference(linear: Any, run: Run) -> None:
    handler, model = linear
    examples = [torch.randn(4) for _ in range(100)]
    theirs = run(examples, RunInference(handler))
    ours = run(examples, Forward(handler=handler))
    assert len(ours) == len(theirs) == 100
    by_sum = {float(result.example.sum()): result for result in ours}
    for result in theirs:
        other = by_sum[float(result.example.sum())]
        assert torch.equal(other.example, result.example)
        assert other.model_id == result.model_id
        torch.testing.assert_close(other.inference, result.inference)
        torch.testing.assert_close(other.inference, model(result.example))


def test_a_scikit_learn_handler(tmp_path: Path, run: Run) -> None:
    random = np.random.default_rng(7)
    points = random.normal(size=(200, 4))
    model = LogisticRegression().fit(points, points[:, 0] > points[:, 1])
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(model))
    handler = SklearnModelHandlerNumpy(str(tmp_path / "model.pickle"))
    found = run(list(points), Forward(handler=handler))
    assert {(tuple(r.example), bool(r.inference)) for r in found} == {
        (tuple(point), bool(label))
        for point, label in zip(points, model.predict(points), strict=True)
    }


def test_keys_stay_with_their_examples(linear: Any, run: Run) -> None:
    handler, model = linear
    pairs = [(i, torch.randn(4)) for i in range(50)]
    found = run(pairs, Forward(handler=KeyedModelHandler(handler)))
    assert sorted(key for key, _ in found) == list(range(50))
    for key, result in found:
        torch.testing.assert_close(result.inference, model(pairs[key][1]))


def test_one_bad_example_fails_alone(linear: Any) -> None:
    """A tensor of another shape cannot be stacked with the others."""
    handler, model = linear
    examples = [(i, torch.full((5 if i % 25 == 7 else 4,), float(i))) for i in range(100)]
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        transform = Forward(handler=KeyedModelHandler(handler)).with_exception_handling()
        good, bad = p | beam.Create(examples, reshuffle=False) | transform
        good | "Good" >> beam.Map(sink.collect)
        bad | "Bad" >> beam.Map(sink.collect)
    failed = [each for each in sink.collected if isinstance(each, beam.Row)]
    answered = dict(each for each in sink.collected if not isinstance(each, beam.Row))
    assert {(row.element[0], row.stage, row.kind) for row in failed} == {
        (i, "forward", "data") for i in (7, 32, 57, 82)
    }
    assert set(answered) == set(range(100)) - {7, 32, 57, 82}
    for i, result in answered.items():
        torch.testing.assert_close(result.inference, model(examples[i][1]))


def test_without_exception_handling_the_error_shows_the_example(run: Run) -> None:
    with pytest.raises(ElementError, match=r"Counting: forward failed .* 'bad': ValueError"):
        run(["fine", "bad"], Forward(handler=Counting()))


def test_batches_hold_what_the_handler_allows(run: Run) -> None:
    found = run(TEXTS, Forward(handler=Counting(most=32)))
    assert sorted(r.example for r in found) == sorted(TEXTS)
    assert all(r.inference == len(r.example) for r in found)
    assert max(map(len, counting.batches)) == 32
    assert counting.loads == ["loaded"]


def test_batches_weigh_what_the_handler_allows(run: Run) -> None:
    handler = Counting(most=50, max_batch_weight=200, element_size_fn=len)
    found = run(TEXTS, Forward(handler=handler))
    assert sorted(r.example for r in found) == sorted(TEXTS)
    assert max(sum(map(len, batch)) for batch in counting.batches) <= 200
    assert 1 < max(map(len, counting.batches)) <= 50


def test_examples_of_like_lengths_go_together(run: Run) -> None:
    run(TEXTS, Forward(handler=Counting(batch_length_fn=len)))
    padding = [1 - sum(map(len, b)) / (len(b) * max(map(len, b))) for b in counting.batches[1:]]
    assert sum(padding) / len(padding) < 0.2


@pytest.mark.parametrize(
    ("batching", "rows", "weight"),
    [
        ({}, None, None),
        ({"max_batch_size": 8}, 8, None),
        ({"max_batch_size": 800, "element_size_fn": len}, None, 800),
        ({"max_batch_weight": 800, "element_size_fn": len}, None, 800),
        ({"max_batch_size": 8, "max_batch_weight": 800, "element_size_fn": len}, 8, 800),
    ],
)
def test_limits(batching: Any, rows: int | None, weight: int | None) -> None:
    limits = model_handler.limits_of(batching)
    assert limits.batch_size == rows
    assert limits.batch_tokens == (weight or 2**62)


def test_bundles_on_threads_share_the_model() -> None:
    sink.collected.clear()
    options = PipelineOptions(direct_num_workers=4, direct_running_mode="multi_threading")
    with beam.Pipeline(RUNNER, options) as p:
        p | beam.Create(TEXTS) | Forward(handler=Counting()) | beam.Map(sink.collect)
    assert sorted(r.example for r in sink.collected) == sorted(TEXTS)
    assert counting.loads == ["loaded"]


def test_inference_args_and_the_handlers_own_functions(run: Run) -> None:
    handler = Counting().with_preprocess_fn(str.strip).with_postprocess_fn(lambda r: r.inference)
    found = run(["  ab ", "abc"], Forward(handler=handler, inference_args={"factor": 10}))
    assert sorted(found) == [20, 30]


def test_functions_that_fail_are_failure_rows_of_their_stage() -> None:
    handler = (
        Counting().with_preprocess_fn(str.strip).with_postprocess_fn(lambda r: 6 // r.inference)
    )
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        transform = Forward(handler=handler).with_exception_handling()
        good, bad = p | beam.Create(["abc", 7, " "]) | transform
        good | "Good" >> beam.Map(sink.collect)
        bad | "Bad" >> beam.Map(lambda row: (row.element, row.stage)) | beam.Map(sink.collect)
    assert len(sink.collected) == 3
    assert set(sink.collected) == {2, (7, "preprocess"), (" ", "postprocess")}


def test_a_handler_that_forgets_examples_is_named(run: Run) -> None:
    with pytest.raises(ElementError, match="Short gave 0 predictions for 1 examples"):
        run(["a", "b"], Forward(handler=Short()))


def test_a_model_that_does_not_load_ends_the_job() -> None:
    with pytest.raises(Exception, match="no such weights"), beam.Pipeline(RUNNER) as p:
        p | beam.Create(["a"]) | Forward(handler=Broken()).with_exception_handling()


def test_metrics(run: Run) -> None:
    with beam.Pipeline(RUNNER) as p:
        p | beam.Create(TEXTS, reshuffle=False) | Forward(handler=Counting(most=100))
    found = p.result.metrics().query(MetricsFilter().with_namespace("pipelines_beam"))
    counters = {each.key.metric.name: each.committed for each in found["counters"]}
    spreads = {each.key.metric.name: each.committed for each in found["distributions"]}
    assert counters["num_inferences"] == len(TEXTS)
    assert spreads["inference_request_batch_size"].max <= 100
    assert spreads["load_model_latency_milli_secs"].count == 1


def test_what_cannot_sit_in_the_engine_is_refused() -> None:
    with pytest.raises(TypeError, match="handler must be one of Beam's ModelHandlers, got 'x'"):
        Forward(handler="x")
    with pytest.raises(ValueError, match="with_no_batching"):
        Forward(handler=Counting().with_no_batching())
    many = KeyedModelHandler([KeyModelMapping(["a"], Counting()), KeyModelMapping(["b"], Short())])
    for handler in (many, many.with_preprocess_fn(tuple)):
        with pytest.raises(ValueError, match="handler must have one model"):
            Forward(handler=handler)
    with pytest.raises(ValueError, match="inference_args: only factor, got"):
        Forward(handler=Counting(), inference_args={"facter": 2})
    with pytest.raises(TypeError, match="a task's transform, or handler"):
        Forward()


def test_copies_of_a_handlers_model_are_refused() -> None:
    with pytest.raises(ValueError, match="model_copies=2, which would be ignored"):
        Forward(handler=Counting(model_copies=2))
