"""Bundles, windows, rows and stages of the user's own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_stream as streams
from apache_beam.transforms.window import (
    FixedWindows,
    SlidingWindows,
    TimestampedValue,
)
from apache_beam.typehints import arrow_type_compatibility
from apache_beam.typehints.row_type import RowTypeConstraint
from apache_beam.typehints.schemas import schema_from_element_type
from support import sink
from support.comparing import same
from support.runs import RUNNER, bundle
from support.texts import CORPUS

from pipelines_beam import Forward, Postprocess, Preprocess, Record, TextClassification
from transforms.batching import program
from transforms.engine import registry
from transforms.options.spec import Limits, ModelSpec, Spec
from transforms.rows.schema import arrow_field
from transforms.stages.forward import ForwardFn
from transforms.stages.preprocess import PreprocessFn
from transforms.tasks import TASKS

Model = Callable[[str], str]
Run = Callable[..., list[Any]]


class Review(NamedTuple):
    id: int
    text: str


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
    return PreprocessFn(spec, False, transform._binding, None), ForwardFn(spec, False)


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
    stock = program.Program.run
    sizes: list[int] = []

    def slow(self: program.Program, chunks: Any) -> Any:
        sizes.append(len(chunks))
        time.sleep(0.03)
        return stock(self, chunks)

    monkeypatch.setattr(program.Program, "run", slow)
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


@pytest.mark.parametrize("kind", [dict, beam.Row, Review])
def test_rows_keep_their_columns_and_gain_the_predictions(
    model: Model, run: Run, kind: Any
) -> None:
    rows = [kind(id=i, text=text) for i, text in enumerate(CORPUS)]
    found = run(rows, TextClassification(model("distilbert-classification"), input="text"))
    assert len(found) == len(CORPUS)
    for row in found:
        cells = row if isinstance(row, dict) else row._asdict()
        assert list(cells) == ["id", "text", "label", "score"]
        assert cells["text"] == CORPUS[cells["id"]]
        assert cells["label"] in ("POSITIVE", "NEGATIVE")
        assert 0.5 <= cells["score"] <= 1


def test_rows_are_written_as_typed_parquet(model: Model, tmp_path: Path) -> None:
    transform = TextClassification(
        model("bert-classification"), input="text", output="answer", top_k=2
    )
    with beam.Pipeline(RUNNER) as p:
        (
            p
            | beam.Create([beam.Row(id=i, text=text) for i, text in enumerate(CORPUS)])
            | transform
            | beam.io.WriteToParquet(str(tmp_path / "rows"))
        )
    with beam.Pipeline(RUNNER) as p:
        schema = transform.schema(pa.schema([("id", pa.int64()), ("text", pa.string())]))
        (
            p
            | beam.Create([{"id": i, "text": text} for i, text in enumerate(CORPUS)])
            | transform
            | beam.io.WriteToParquet(str(tmp_path / "dicts"), schema)
        )
    tables = [
        pq.read_table(next(tmp_path.glob(f"{name}*"))).sort_by("id") for name in ("rows", "dicts")
    ]
    assert same(tables[0].to_pylist(), tables[1].to_pylist())
    assert tables[1].schema == schema
    assert len(tables[0]["answer"][0]) == 2


def upper(record: Record) -> Record:
    return Record(record.element, record.example.upper(), record.chunks, record.counts)


def labels(outputs: Any) -> int:
    return int(outputs["logits"].argmax())


def test_stages_can_be_put_together_by_hand(model: Model, run: Run) -> None:
    task = TextClassification(model("bert-classification"))
    found = run(CORPUS, Preprocess(task), Forward(task), beam.Reshuffle(), Postprocess(task))
    expected = {result.example: result.inference for result in run(CORPUS, task)}
    assert {result.example: result.inference for result in found}.keys() == expected.keys()
    for result in found:
        assert same(result.inference, expected[result.example])


def test_a_function_stands_in_for_the_last_stage(model: Model, run: Run) -> None:
    found = run(CORPUS, TextClassification(model("bert-classification"), postprocess=labels))
    assert {result.inference for result in found} <= {0, 1, 2}


def test_what_travels_between_processes_is_small(model: Model) -> None:
    """A row of a batch takes its own bytes along, not the batch's."""
    import pickle

    import torch

    batch = torch.randn(1000, 64)
    record = Record("a", "a", [{"x": batch[:1], "y": batch[:1].bfloat16()}], [1])
    dumped = pickle.dumps(record)
    assert len(dumped) < 1500
    chunk = pickle.loads(dumped).chunks[0]
    assert torch.equal(chunk["x"], batch[:1])
    assert torch.equal(chunk["y"], batch[:1].bfloat16())


@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_task_has_columns_that_beam_and_arrow_agree_on(task: str) -> None:
    for parameters in ({}, {"top_k": 3}, {"pooling": "mean"}, {"return_tensors": True}):
        columns = TASKS[task].columns(parameters)
        row = RowTypeConstraint.from_fields(list(columns.items()))
        beams = arrow_type_compatibility.arrow_schema_from_beam_schema(
            schema_from_element_type(row)
        )
        ours = [arrow_field(name, kind) for name, kind in columns.items()]
        assert [field.name for field in beams] == [field.name for field in ours]
        assert [_plain(field.type) for field in beams] == [_plain(field.type) for field in ours]


def _plain(kind: pa.DataType) -> str:
    """A type without the names and nullability of list items."""
    if pa.types.is_list(kind):
        return f"[{_plain(kind.value_type)}]"
    if pa.types.is_struct(kind):
        return str([(field.name, _plain(field.type)) for field in kind])
    return str(kind)


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
