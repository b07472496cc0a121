"""The stage with the model apart from others: the same results, and hints on it alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from support import sink
from support.comparing import same
from support.graph import hinted_steps
from support.pictures import PICTURES
from support.runs import RUNNER, answers_and_failures
from support.texts import CORPUS

from pipelines_beam import ImageClassification, TextClassification, pipeline

Model = Callable[[str], str]
Run = Callable[..., list[Any]]

GPU = "type:nvidia-l4;count:1;install-nvidia-driver"
PLACED: list[dict[str, Any]] = [
    {"isolate": True},
    {"isolate": True, "accelerator": GPU, "min_ram": "16GB"},
    {"accelerator": GPU},
]


def by_example(results: list[Any]) -> dict[str, Any]:
    return {each.example: each.inference for each in results}


@pytest.mark.parametrize("placed", PLACED)
def test_answers_and_failures_are_the_same(model: Model, placed: dict[str, Any]) -> None:
    elements = [*CORPUS, None, 1]
    directory = model("bert-classification")
    good, bad = answers_and_failures(elements, TextClassification(directory, **placed))
    expected, failed = answers_and_failures(elements, TextClassification(directory))
    assert by_example(good).keys() == by_example(expected).keys()
    for text, inference in by_example(expected).items():
        assert same(by_example(good)[text], inference)
    assert sorted(map(repr, bad)) == sorted(map(repr, failed))


@pytest.mark.parametrize("placed", PLACED)
def test_rows_are_the_same(model: Model, run: Run, placed: dict[str, Any]) -> None:
    rows = [beam.Row(id=i, text=text) for i, text in enumerate(CORPUS)]
    directory = model("bert-classification")
    found = run(rows, TextClassification(directory, input="text", **placed))
    expected = run(rows, TextClassification(directory, input="text"))
    in_order = [sorted(each, key=lambda row: row.id) for each in (found, expected)]
    for one, other in zip(*in_order, strict=True):
        assert same(one._asdict(), other._asdict())
    assert len(found) == len(CORPUS)


@pytest.mark.parametrize("placed", PLACED)
def test_tables_are_the_same(model: Model, placed: dict[str, Any]) -> None:
    texts = [*CORPUS[:6], None]
    tables = [pa.table({"id": [i], "text": pa.array([text])}) for i, text in enumerate(texts)]
    directory = model("bert-classification")
    found, bad = answers(tables, TextClassification(directory, input="text", **placed))
    expected, failed = answers(tables, TextClassification(directory, input="text"))
    assert len(found) == len(expected) == 6
    for one, other in zip(found, expected, strict=True):
        assert same(one, other)
    assert bad == failed
    assert len(bad) == 1


def answers(tables: list[Any], task: Any) -> tuple[list[Any], list[Any]]:
    """The rows of all tables in order, and those of tables of failures."""
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        made = p | beam.Create(tables, reshuffle=False).with_output_types(pa.Table)
        good, bad = made | task.with_exception_handling()
        (good, bad) | beam.Flatten() | beam.Map(sink.collect)
    rows = [row for table in sink.collected for row in table.to_pylist()]
    sink.collected.clear()
    good_rows = sorted((row for row in rows if "id" in row), key=lambda row: row["id"])
    return good_rows, [row for row in rows if "id" not in row]


def test_images_are_the_same(model: Model, run: Run) -> None:
    images = list(enumerate(PICTURES[:3]))
    directory = model("vit-classification")
    found = dict(run(images, ImageClassification(directory, keyed=True, isolate=True)))
    expected = dict(run(images, ImageClassification(directory, keyed=True)))
    assert found.keys() == expected.keys() == {0, 1, 2}
    assert all(same(found[i].inference, expected[i].inference) for i in expected)


class Placed(beam.DoFn):  # type: ignore[misc]
    def process(
        self, result: Any, time: Any = beam.DoFn.TimestampParam, window: Any = beam.DoFn.WindowParam
    ) -> Any:
        yield result.example, float(time), float(window.start)


def test_windows_and_times_are_kept(model: Model) -> None:
    sink.collected.clear()
    task = TextClassification(model("bert-classification"), isolate=True)
    with beam.Pipeline(RUNNER) as p:
        texts = p | beam.Create([TimestampedValue(text, i) for i, text in enumerate(CORPUS)])
        placed = texts | beam.WindowInto(FixedWindows(3)) | task | beam.ParDo(Placed())
        placed | beam.Map(sink.collect)
    found = sorted(sink.collected, key=lambda each: each[1])
    sink.collected.clear()
    assert found == [(text, float(i), float(i // 3 * 3)) for i, text in enumerate(CORPUS)]


def graph_of(task: Any, elements: list[Any], kind: Any = None) -> Any:
    """The job graph of a task, as runners get it."""
    p = beam.Pipeline(options=PipelineOptions([]))
    made = p | beam.Create(elements)
    task = task.with_exception_handling()
    _ = (made if kind is None else made | beam.Map(str).with_output_types(kind)) | task
    return p.to_runner_api()


def test_hints_are_on_the_stage_with_the_model_alone(model: Model) -> None:
    task = TextClassification(
        model("bert-classification"), isolate=True, accelerator=GPU, min_ram="16GB"
    )
    steps = hinted_steps(graph_of(task, ["a"]))
    assert {name for name in steps if "Forward" in name} == steps.keys()
    assert any("Forward/Run" in name for name in steps), list(steps)
    hints = {"beam:resources:accelerator:v1": GPU, "beam:resources:min_ram_bytes:v1": "16000000000"}
    assert all(each == hints for each in steps.values())


def test_hints_of_tables_are_on_their_stage_alone(model: Model) -> None:
    task = TextClassification(model("bert-classification"), input="text", accelerator=GPU)
    steps = hinted_steps(graph_of(task, [], pa.Table))
    assert {name for name in steps if "Tables" in name} == steps.keys()
    assert any("Tables/Run" in name for name in steps), list(steps)


@pytest.mark.parametrize("isolate", [True, False])
@pytest.mark.parametrize("kind", [None, pa.Table])
def test_isolated_is_what_has_shuffles_around_it(model: Model, isolate: bool, kind: Any) -> None:
    directory = model("bert-classification")
    column = None if kind is None else "text"
    task = TextClassification(directory, input=column, isolate=isolate)
    graph = graph_of(task, ["a"], kind)
    shuffles = [
        each.unique_name.rpartition("/")[2]
        for each in graph.components.transforms.values()
        if each.spec.urn == "beam:transform:reshuffle:v1"
        and ("Forward" in each.unique_name or "Tables" in each.unique_name)
    ]
    assert sorted(shuffles) == (["Failures", "Isolate", "Results"] if isolate else [])


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("isolate", "yes", "isolate must be True or False, got 'yes'"),
        ("accelerator", "nvidia-l4", r"accelerator must be parts like 'type:.*got 'nvidia-l4'"),
        ("min_ram", "16 gigs", "min_ram must be a number of bytes, .*got '16 gigs'"),
    ],
)
def test_what_no_runner_understands_is_refused(option: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pipeline("text-classification", "organisation/name", **{option: value})
