"""Options of a task's transform: those that would be ignored, and what messages show."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, TypedDict

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
import transformers

from pipelines_beam import (
    Forward,
    ImageClassification,
    TextClassification,
    TokenClassification,
)
from transforms.options.shown import shown

Model = Callable[[str], str]
Run = Callable[..., list[Any]]


def build(transform: beam.PTransform, element: Any = "a") -> Any:
    return beam.Pipeline() | beam.Create([element]) | transform


# Options that nothing would read


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"media_limits": {"fetches": 3}}, "media_limits would be ignored: text-classification"),
        ({"postprocess": beam.Map(str), "input": "a", "output": "b"}, "output would be ignored"),
        (
            {"preprocess": beam.Map(str), "postprocess": beam.Map(str), "keyed": True},
            "keyed would be ignored",
        ),
        (
            {"preprocess": beam.Map(str), "postprocess": beam.Map(str), "input": "a"},
            "input would be ignored",
        ),
        ({"preprocess": len, "truncation": True}, "truncation is read by preprocess alone"),
        ({"postprocess": len, "top_k": 2}, "top_k is read by postprocess alone"),
    ],
)
def test_an_option_that_nothing_reads_is_refused(
    model: Model, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build(TextClassification(model("bert-classification"), **options), beam.Row(a="a"))


# Types of a postprocess function


class Scored(TypedDict):
    label: str
    scores: list[float]


@dataclasses.dataclass
class Best:
    label: str
    score: float


class Named(NamedTuple):
    label: str
    score: np.float64


def a_dict(outputs: Any) -> dict:  # type: ignore[type-arg]
    return {}


def a_list(outputs: Any) -> list:  # type: ignore[type-arg]
    return []


def an_array(outputs: Any) -> np.ndarray:
    return np.zeros(3)


def nothing(outputs: Any) -> None:
    return None


def scored(outputs: Any) -> Scored:
    return {"label": "a", "scores": outputs["logits"][0].tolist()}


def best(outputs: Any) -> Best:
    return Best("a", float(outputs["logits"].max()))


def named(outputs: Any) -> list[Named]:
    return [Named("a", np.float64(outputs["logits"].max()))]


def number(outputs: Any) -> np.float64:
    return np.float64(outputs["logits"].max())


def perhaps(outputs: Any) -> int | None:
    return None


def anything(outputs: Any) -> Any:
    return {"a": 1}


@pytest.mark.parametrize("function", [a_dict, a_list, an_array, nothing])
def test_an_annotation_that_no_column_can_have(model: Model, function: Any) -> None:
    directory = model("bert-classification")
    with pytest.raises(TypeError, match=f"{function.__name__} .*, which no column can"):
        TextClassification(directory, input="text", postprocess=function)
    build(TextClassification(directory, postprocess=function))  # no rows, no column


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (scored, pa.struct({"label": pa.string(), "scores": pa.list_(pa.float64())})),
        (best, pa.struct({"label": pa.string(), "score": pa.float64()})),
        (number, pa.float64()),
        (perhaps, pa.int64()),
    ],
)
def test_an_annotation_is_the_type_of_the_column(
    model: Model, run: Run, function: Any, kind: pa.DataType
) -> None:
    transform = TextClassification(
        model("bert-classification"), input="text", postprocess=function, output="mine"
    )
    assert transform.schema().field("mine").type == kind
    rows = run([{"id": 1, "text": "good"}], transform)
    assert pa.Table.from_pylist(rows).column("mine").type in (kind, pa.null())


def test_a_function_of_any_type(model: Model, run: Run) -> None:
    transform = TextClassification(model("bert-classification"), input="text", postprocess=anything)
    assert run([{"text": "good"}], transform) == [{"text": "good", "inference": {"a": 1}}]


# What messages show


@pytest.mark.parametrize(
    "option",
    [
        "model",
        "tokenizer",
        "processor",
        "revision",
        "device",
        "dtype",
        "attn_implementation",
        "device_map",
        "torch_compile",
        "quantization_config",
        "model_kwargs",
        "trust_remote_code",
        "batch_size",
        "batch_tokens",
        "share",
        "batch_timeout",
        "max_wait_ms",
        "media_limits",
        "input",
        "model_metadata_pcoll",
        "watch_model_pattern",
    ],
)
def test_no_message_prints_a_whole_model(model: Model, option: str) -> None:
    directory = model("vit-classification")
    loaded = transformers.AutoModelForImageClassification.from_pretrained(directory)
    with pytest.raises((TypeError, ValueError)) as raised:
        build(ImageClassification(**{"model": directory, option: loaded}))
    assert "ViTForImageClassification" in str(raised.value)
    assert len(str(raised.value)) < 400


def test_no_message_prints_a_whole_value(model: Model) -> None:
    long = "strategy " * 10_000
    with pytest.raises(ValueError, match="must be one of 'none', 'simple'") as raised:
        build(TokenClassification(model("bert-ner"), aggregation_strategy=long))
    assert len(str(raised.value)) < 800
    with pytest.raises(TypeError) as refused:
        Forward(handler=[long] * 1000)
    assert len(str(refused.value)) < 400
    assert len(shown(bytes(10_000_000))) < 200
    assert shown(b"bytes") == "b'bytes'"
    assert len(shown({f"{i}": list(range(i)) for i in range(1000)})) < 300
