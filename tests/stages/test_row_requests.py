"""Rows with seeds and parameters of their own, and what is told of answers, through a job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from support import sink
from support.runs import RUNNER
from support.texts import CORPUS

from pipelines_beam import AnyToAny, Summarization, TextClassification, TextGeneration, predict

Model = Callable[[str], str]
SAMPLES: dict[str, Any] = {"do_sample": True, "max_new_tokens": 5, "seed": 7, "share": "process"}


def answered(transform: Any, rows: list[Any], bundles: int = 1) -> dict[int, Any]:
    """The generated texts by the ids of rows, which come in so many bundles."""
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        parts = [rows[i::bundles] for i in range(bundles)]
        created = [p | f"{i}" >> beam.Create(part, reshuffle=False) for i, part in enumerate(parts)]
        created | beam.Flatten() | transform | beam.Map(sink.collect)
    return {row.id: row.generated_text for row in sink.collected}


def test_a_seed_gives_the_same_samples_in_any_batches_and_bundles(model: Model) -> None:
    source = model("llama-lm")
    rows = [beam.Row(id=i, text=CORPUS[i]) for i in range(8)]

    def generate(**more: Any) -> Any:
        return TextGeneration(source, input="text", **{**SAMPLES, **more})

    found = answered(generate(batch_size=8), rows)
    assert answered(generate(batch_size=1), rows[::-1]) == found
    assert answered(generate(batch_size=3), rows, bundles=3) == found
    assert answered(generate(seed=8), rows) != found
    table = pa.table({"text": [row.text for row in rows], "id": range(8)})
    options = {key: value for key, value in SAMPLES.items() if key != "share"}
    same = predict("text-generation", table, source, input="text", **options)
    assert dict(zip(range(8), same["generated_text"].to_pylist(), strict=True)) == found
    assert generate().repeats
    assert not generate(seed=None).repeats


def test_rows_have_parameters_in_columns_and_details_of_their_answers(model: Model) -> None:
    table = pa.table(
        {
            "text": ["one", "two of them", "three"],
            "most": pa.array([2, None, 0], pa.int8()),
            "heat": [0.5, 1.5, 1.0],
        }
    )
    options: dict[str, Any] = {
        "input": "text",
        "parameters": {"max_new_tokens": "most", "temperature": "heat"},
        "details": True,
        "max_new_tokens": 4,
        "do_sample": True,
        "seed": 1,
    }
    source = model("llama-lm")
    found, failed = predict("text-generation", table, source, on_error="rows", **options)
    expected = TextGeneration(source, **options).schema(table.schema)
    assert found.schema == expected
    assert expected.names[3:] == [
        "generated_text", "prompt_tokens", "generated_tokens", "finish_reason", "logprob"
    ]  # fmt: skip
    assert [str(expected.field(name).type) for name in expected.names[3:]] == [
        "string", "int64", "int64", "string", "double"
    ]  # fmt: skip
    assert found["generated_tokens"].to_pylist() == [2, 4]
    assert found["finish_reason"].to_pylist() == ["length", "length"]
    assert all(each < 0 for each in found["logprob"].to_pylist())
    assert failed["row"].to_pylist() == [2]
    assert (
        "column 'most': max_new_tokens must be a whole number from 1"
        in failed["message"][0].as_py()
    )


def test_details_of_several_sequences_are_lists(model: Model) -> None:
    table = pa.table({"text": ["one", "two of them"]})
    found = predict(
        "summarization",
        table,
        model("bart-seq2seq"),
        input="text",
        max_new_tokens=4,
        num_beams=2,
        num_return_sequences=2,
        details=True,
    )
    assert found["logprob"].to_pylist() == [[None, None]] * 2
    assert all(isinstance(each, int) for each in found["prompt_tokens"].to_pylist())
    assert all(1 <= n <= 4 for each in found["generated_tokens"].to_pylist() for n in each)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"parameters": {"top_q": "a"}}, "unknown parameter 'top_q'. Did you mean 'top_[kp]'"),
        ({"parameters": {"stop": "a"}}, "Did you mean 'stop_strings'"),
        ({"parameters": {"top_k": 5}}, "top_k must be the name of a column.*given as top_k=5"),
        ({"parameters": "top_k"}, "parameters must be a mapping"),
        ({"parameters": {"top_k": "a"}, "input": None}, "it needs input"),
        ({"seed": -1}, "seed must be a whole number from 0"),
        ({"seed": "1"}, "seed must be a whole number from 0"),
        ({"details": "yes"}, "details must be True or False"),
    ],
)
def test_what_is_no_parameter_of_a_row_is_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises((TypeError, ValueError), match=reason):
        TextGeneration("some/model", **{"input": "text", **options})


def test_tasks_that_do_not_generate_have_no_such_parameters() -> None:
    for option in ({"parameters": {"top_k": "a"}}, {"seed": 1}, {"details": True}):
        with pytest.raises(TypeError, match=f"unknown parameter '{next(iter(option))}'"):
            TextClassification("some/model", input="text", **option)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"parameters": {"top_k": "k"}}, "top_k is read only where tokens are drawn"),
        ({"seed": 3}, "seed is read only where tokens are drawn"),
        ({"parameters": {"max_new_tokens": "txt"}}, "unknown column 'txt'. Did you mean 'text'"),
        ({"parameters": {"max_new_tokens": "text"}}, "'text' has the type.*must be int"),
        ({"details": True, "postprocess": len}, "details would be ignored"),
        ({"parameters": {"stop_strings": "text"}, "num_beams": 2}, "stop_strings of their own"),
    ],
)
def test_what_would_be_ignored_is_refused_when_the_pipeline_is_built(
    model: Model, options: dict[str, Any], reason: str
) -> None:
    rows = beam.Pipeline() | beam.Create([beam.Row(text="a", k=1)])
    with pytest.raises(ValueError, match=reason):
        rows | Summarization(model("bart-seq2seq"), input="text", **{"num_beams": 1, **options})


@pytest.mark.parametrize("option", [{"details": True}, {"response_format": "yes|no"}])
def test_what_is_known_of_texts_alone_is_refused_for_images(option: dict[str, Any]) -> None:
    name = next(iter(option))
    with pytest.raises(ValueError, match=f"{name} is for answers in text, got generation_mode="):
        AnyToAny("some/model", generation_mode="image", **option)
    assert AnyToAny("some/model", generation_mode="text", **option).spec.parameters[name]


@pytest.mark.slow  # an engine in a process of its own
def test_an_engine_in_a_process_of_its_own_knows_what_rows_ask(model: Model) -> None:
    source = model("llama-lm")
    rows = [beam.Row(id=i, text=CORPUS[i], most=2 + i) for i in range(4)]
    options: dict[str, Any] = {
        **SAMPLES,
        "input": "text",
        "parameters": {"max_new_tokens": "most"},
        "details": True,
    }
    expected = answered(TextGeneration(source, **options), rows)
    found = answered(TextGeneration(source, **{**options, "share": "machine"}), rows)
    assert found == expected
    assert sorted(row.generated_tokens for row in sink.collected) == [2, 3, 4, 5]
