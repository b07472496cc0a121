"""The stage with the model: bundles, windows, and one engine for all threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_stream as streams
from apache_beam.transforms.window import (
    FixedWindows,
    SlidingWindows,
    TimestampedValue,
)
from support import sink
from support.comparing import same
from support.runs import RUNNER, bundle
from support.texts import CORPUS

from pipelines_beam import Record, TextClassification
from transforms.batching import program
from transforms.engine import registry
from transforms.options.spec import Limits, ModelSpec, Spec
from transforms.stages.forward import ForwardFn
from transforms.stages.preprocess import PreprocessFn

Model = Callable[[str], str]
Run = Callable[..., list[Any]]


class Stamped(beam.DoFn):  # type: ignore[misc]
    def process(
        self,
        element: Any,
        timestamp: Any = beam.DoFn.TimestampParam,
        window: Any = beam.DoFn.WindowParam,
    ) -> Any:
        yield element.example, float(timestamp), float(window.start)


@pytest.mark.parametrize("windows", [FixedWindows(10), SlidingWindows(10, 5)])
def test_predictions_keep_timestamps_and_windows(model: Model, run: Run, windows: Any) -> None:
    texts = [f"text number {i}" * (1 + i % 5) for i in range(70)]

    def plain(pcoll_model: str) -> list[Any]:
        transform = TextClassification(pcoll_model)
        sink.collected.clear()
        with beam.Pipeline(RUNNER) as p:
            (
                p
                | beam.Create([TimestampedValue(t, i) for i, t in enumerate(texts)])
                | beam.Map(_stamp)
                | beam.WindowInto(windows)
                | transform
                | beam.ParDo(Stamped())
                | beam.Map(sink.collect)
            )
        return list(sink.collected)

    found = plain(model("bert-classification"))

    size, period = 10, 5 if isinstance(windows, SlidingWindows) else 10
    expected = [
        (text, float(i), float(start))
        for i, text in enumerate(texts)
        for start in range((i // period) * period, i - size, -period)
    ]
    assert sorted(found) == sorted(expected)


def _stamp(value: TimestampedValue) -> TimestampedValue:
    return value


def _stage_fns(directory: str) -> tuple[PreprocessFn, ForwardFn]:
    transform = TextClassification(directory)
    spec = Spec(model=ModelSpec(task="text-classification", source=directory))
    return PreprocessFn(spec, False, transform.plan.binding, None), ForwardFn(spec, False)


@pytest.mark.slow
def test_a_thousand_bundles_of_one_and_one_large_bundle_answer_alike(model: Model) -> None:
    preprocess, forward = _stage_fns(model("bert-classification"))
    preprocess.setup()
    forward.setup()
    texts = [CORPUS[i % len(CORPUS)] for i in range(1000)]
    small = [record for text in texts for record in bundle(forward, bundle(preprocess, [text]))]
    large = bundle(forward, bundle(preprocess, texts))
    assert bundle(forward, bundle(preprocess, [])) == []
    forward.teardown()

    def logits(records: list[Record]) -> list[Any]:
        return sorted((r.example, r.chunks[0]["logits"].tolist()) for r in records)

    assert len(small) == len(large) == 1000
    assert all(same(a, b) for a, b in zip(logits(small), logits(large), strict=True))
    assert registry.running() == 0


def test_one_engine_per_model_for_all_threads(model: Model) -> None:
    fns = [_stage_fns(model("bert-classification")) for _ in range(8)]
    other = _stage_fns(model("distilbert-classification"))[1]
    other.setup()
    answers: list[list[Any]] = []

    def work(preprocess: PreprocessFn, forward: ForwardFn) -> None:
        preprocess.setup()
        forward.setup()
        answers.append(bundle(forward, bundle(preprocess, CORPUS)))

    threads = [threading.Thread(target=work, args=pair) for pair in fns]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert registry.running() == 2
    assert [sorted(r.example for r in found) for found in answers] == [sorted(CORPUS)] * 8
    for _, forward in fns:
        forward.teardown()
    other.teardown()
    assert registry.running() == 0


def test_bundles_of_one_element_share_batches(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream's: 16 threads, each with the next bundle once the last is answered."""
    stock = program.Program.launch
    sizes: list[int] = []

    def slow(self: program.Program, chunks: Any) -> Any:
        sizes.append(len(chunks))
        time.sleep(0.03)
        return stock(self, chunks)

    monkeypatch.setattr(program.Program, "launch", slow)
    directory = model("bert-classification")
    preprocess, _ = _stage_fns(directory)
    preprocess.setup()
    # Of one length, so that nothing but company decides which go together.
    texts = [f"This is review {letter}." for letter in "abcdefghijklmnop"]
    records = [bundle(preprocess, [text]) for text in texts]
    spec = Spec(
        model=ModelSpec(task="text-classification", source=directory),
        limits=Limits(max_wait_ms=500),
    )
    found: dict[str, list[Any]] = {text: [] for text in texts}

    def work(record: list[Record]) -> None:
        forward = ForwardFn(spec, False)
        forward.setup()
        for _ in range(8):
            answer = bundle(forward, record)[0]
            found[answer.example].append(answer.chunks[0]["logits"])
        forward.teardown()

    keep = ForwardFn(spec, False)
    keep.setup()
    threads = [threading.Thread(target=work, args=(record,)) for record in records]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    keep.teardown()
    assert all(len(answers) == 8 for answers in found.values())
    assert all(same(answers[0], answers[-1]) for answers in found.values())
    assert sum(sizes) == 16 * 8
    assert sum(sizes) / len(sizes) >= 8


def test_a_stream_is_answered_in_its_windows(model: Model) -> None:
    """TestStream, on Beam's bundle-based runner: small bundles, watermarks between them."""
    stream = streams.TestStream()
    for i in range(6):
        stream.advance_watermark_to(10 * i)
        stream.add_elements([TimestampedValue(f"text {i} {j}", 10 * i + j) for j in range(3)])
    stream.advance_watermark_to_infinity()
    sink.collected.clear()
    with beam.Pipeline("DirectRunner", PipelineOptions(streaming=True)) as p:
        (
            p
            | stream
            | beam.WindowInto(FixedWindows(10))
            | TextClassification(model("bert-classification"))
            | beam.ParDo(Stamped())
            | beam.Map(sink.collect)
        )
    expected = [(f"text {i} {j}", 10.0 * i + j, 10.0 * i) for i in range(6) for j in range(3)]
    assert sorted(sink.collected) == sorted(expected)
