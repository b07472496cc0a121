"""Generated texts that have the form that was asked for, as typed columns."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
import pytest
from support.runs import RUNNER
from support.texts import CORPUS
from transformers import AutoTokenizer

from pipelines_beam import Summarization, TextClassification, TextGeneration, predict
from transforms.pipelines.grammar import Grammar
from transforms.tasks.response_format import normal

Model = Callable[[str], str]


class Animal(pydantic.BaseModel):
    """A form of which every path ends."""

    kind: Literal["cat", "dog", "none"]
    legs: int = pydantic.Field(ge=0, le=99)
    tame: bool
    marks: list[Literal["a", "b"]] = pydantic.Field(max_length=2)


SCHEMA = Animal.model_json_schema()
TYPE = pa.struct(
    [
        ("kind", pa.string()),
        ("legs", pa.int64()),
        ("tame", pa.bool_()),
        ("marks", pa.list_(pa.string())),
    ]
)
GENERATE: dict[str, Any] = {"max_new_tokens": 60, "do_sample": True, "seed": 1}


@pytest.mark.slow  # 200 answers of some 30 tokens
def test_all_answers_have_the_form_and_are_typed_in_parquet(model: Model, tmp_path: Path) -> None:
    rows = [beam.Row(id=i, text=f"{i} {CORPUS[i % 20]}") for i in range(200)]
    generate = TextGeneration(
        model("llama-lm"), input="text", response_format=SCHEMA, share="process", **GENERATE
    )
    schema = generate.schema(pa.schema([("id", pa.int64()), ("text", pa.string())]))
    with beam.Pipeline(RUNNER) as p:
        good, bad = p | beam.Create(rows) | generate.with_exception_handling()
        good | beam.Map(_as_dict) | beam.io.WriteToParquet(str(tmp_path / "part"), schema)
        bad | beam.Map(_fail)
    table = pq.read_table(tmp_path)
    assert table.schema.field("response").type == TYPE
    assert sorted(table["id"].to_pylist()) == list(range(200))
    responses = table["response"].to_pylist()
    for each in responses:
        Animal.model_validate(each, strict=True)
    assert len({json.dumps(each) for each in responses}) > 20


def _as_dict(row: Any) -> dict[str, Any]:
    response = row.response._asdict()
    return {**vars(row), "response": response}


def _fail(row: Any) -> None:
    raise AssertionError(row)


class Pet(pydantic.BaseModel):
    """An animal."""

    kind: Literal["cat", "dog"]
    young: bool


@pytest.mark.parametrize(
    ("task", "name", "form", "fits"),
    [
        ("text-generation", "gpt2-lm", Pet, lambda found: set(found) == {"kind", "young"}),
        ("text-generation", "llama-lm", "(yes|no), [0-9]{2}", lambda found: found[-2:].isdigit()),
        ("summarization", "bart-seq2seq", {"enum": ["good", "bad"]}, ("good", "bad").__contains__),
    ],
)
def test_answers_have_the_form_in_any_batch(
    model: Model, task: str, name: str, form: Any, fits: Callable[[Any], bool]
) -> None:
    table = pa.table({"text": CORPUS[:6]})
    options: dict[str, Any] = {"input": "text", "response_format": form, "max_new_tokens": 60}
    found = [
        predict(task, table, model(name), num_beams=1, batch_size=size, **options)["response"]
        for size in (1, 6)
    ]
    assert found[0].to_pylist() == found[1].to_pylist()
    assert all(map(fits, found[0].to_pylist()))


def test_an_answer_that_is_cut_is_a_failure_with_its_text(model: Model) -> None:
    table = pa.table({"text": ["a", "b"], "most": [3, 60]})
    found, failed = predict(
        "text-generation",
        table,
        model("llama-lm"),
        on_error="rows",
        input="text",
        parameters={"max_new_tokens": "most"},
        response_format=SCHEMA,
    )
    assert len(found) == 1
    assert failed["error"].to_pylist() == ["ResponseFormatError"]
    said = failed["message"][0].as_py()
    assert "the text ends after 3 tokens, before it has the form" in said
    assert '{"' in said


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"response_format": {"type": "strin"}}, "response_format cannot be met.*strin"),
        ({"response_format": {"type": "integer", "minimum": 5, "maximum": 4}}, "cannot be met"),
        ({"response_format": "(a"}, "response_format cannot be met"),
        ({"response_format": SCHEMA, "num_beams": 2}, "token by token, got num_beams=2"),
        (
            {"response_format": SCHEMA, "num_return_sequences": 2, "do_sample": True},
            "token by token, got num_return_sequences=2",
        ),
    ],
)
def test_a_form_that_cannot_be_met_is_refused_when_the_pipeline_is_built(
    model: Model, options: dict[str, Any], reason: str
) -> None:
    rows = beam.Pipeline() | beam.Create([beam.Row(text="a")])
    with pytest.raises(ValueError, match=reason):
        rows | Summarization(model("bart-seq2seq"), input="text", **{"num_beams": 1, **options})


def test_a_tokenizer_that_cannot_be_read_is_named(model: Model) -> None:
    rows = beam.Pipeline() | beam.Create([beam.Row(text="a")])
    options: dict[str, Any] = {"response_format": "[a-z]", "num_beams": 1}
    with pytest.raises(ValueError, match="needs a tokenizer that llguidance reads"):
        rows | Summarization(model("t5-seq2seq"), input="text", **options)


def test_what_is_no_form_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="a JSON schema has a type"):
        TextGeneration("some/model", response_format={"typ": "string"})
    with pytest.raises(TypeError, match="unknown parameter 'response_format'"):
        TextClassification("some/model", response_format=SCHEMA)


@pytest.mark.parametrize("ends", [(), (0,), (0, 1)])
def test_a_model_may_have_any_number_of_tokens_that_end_an_answer(
    model: Model, ends: tuple[int, ...]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model("llama-lm"))
    matcher = Grammar({"enum": ["good"]}, tokenizer, len(tokenizer) + 3, ends).matcher()
    tokens: list[int] = []
    while not matcher.is_whole and len(tokens) < 10:
        assert matcher.allowed().shape == (len(tokenizer) + 3,)
        tokens.append(int(np.flatnonzero(matcher.allowed())[-1]))
        matcher.add(tokens[-1])
    assert matcher.has_form
    assert tokenizer.decode(tokens, skip_special_tokens=True) == '"good"'


def test_a_class_travels_as_its_schema() -> None:
    generate = TextGeneration("some/model", response_format=Pet)
    assert generate.spec.parameters["response_format"] == normal(Pet)
    assert generate.config["response_format"] == normal(Pet)


def test_what_is_missing_is_named(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    rows = beam.Pipeline() | beam.Create([beam.Row(text="a")])
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'pipelines-beam\[structured\]'"):
        rows | TextGeneration(model("gpt2-lm"), input="text", response_format="[a-z]")
