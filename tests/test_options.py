"""Options and values that cannot be right: refused when the pipeline is built, with what is."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypedDict

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
import transformers
from support.counting import Counting
from transformers import GenerationConfig

from pipelines_beam import (
    CustomPipeline,
    Forward,
    ImageClassification,
    Summarization,
    TaskModelHandler,
    TaskTransform,
    TextClassification,
    TextGeneration,
    TokenClassification,
    pipeline,
)
from transforms.options.shown import shown
from transforms.stages.run_inference import _ELSEWHERE, HONOURED

Model = Callable[[str], str]
Run = Callable[..., list[Any]]


def build(transform: beam.PTransform, element: Any = "a") -> Any:
    return beam.Pipeline() | beam.Create([element]) | transform


# RunInference


def test_a_handler_honours_or_refuses_every_option_of_a_transform() -> None:
    taken = inspect.signature(TaskTransform.__init__).parameters.values()
    options = {each.name for each in taken if each.kind is each.KEYWORD_ONLY}
    assert not HONOURED & _ELSEWHERE.keys()
    assert options == HONOURED | _ELSEWHERE.keys()


@pytest.mark.parametrize("name", sorted(_ELSEWHERE))
def test_a_handler_says_where_run_inference_has_an_option(model: Model, name: str) -> None:
    option: dict[str, Any] = {name: None}
    with pytest.raises(TypeError, match=f"no option '{name}': (use|wrap) .*"):
        TaskModelHandler("ner", model("bert-ner"), **option)


def test_an_option_that_came_later_is_refused(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.stages.run_inference.HONOURED", HONOURED - {"dtype"})
    with pytest.raises(TypeError, match="no option 'dtype'"):
        TaskModelHandler("ner", model("bert-ner"), dtype="float32")


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


def test_parameters_of_the_stages_that_stay_are_taken(model: Model) -> None:
    directory = model("bert-classification")
    build(TextClassification(directory, preprocess=len, top_k=2))
    build(TextClassification(directory, postprocess=len, truncation=True))


def test_a_source_that_the_task_does_not_have(model: Model) -> None:
    text, image = model("bert-classification"), model("vit-classification")
    with pytest.raises(ValueError, match="image-classification has no tokenizer, got tokenizer="):
        build(ImageClassification(image, tokenizer=text))
    with pytest.raises(ValueError, match="text-classification has no processor, got processor="):
        build(TextClassification(text, processor=image))


def test_copies_of_a_handlers_model_are_refused() -> None:
    with pytest.raises(ValueError, match="model_copies=2, which would be ignored"):
        Forward(handler=Counting(model_copies=2))


# Names


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("TextClassification", "text-classification"),
        ("text_classification", "text-classification"),
        ("Text-Classification", "text-classification"),
        ("TextClassificationPipeline", "text-classification"),
        ("QuestionAnswering", "question-answering"),
        ("question answering", "question-answering"),
        ("asr", "automatic-speech-recognition"),
        ("ASR", "automatic-speech-recognition"),
        ("sentiment", "text-classification"),
        ("NER", "ner"),
        ("tts", "text-to-audio"),
        ("zero-shot", "zero-shot-classification"),
        ("translte", "translation"),
        ("summarize", "summarization"),
    ],
)
def test_a_task_by_another_name(name: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"unknown task '{name}'. Did you mean '{meant}'"):
        pipeline(name, "a/model")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("modle", "Did you mean 'model'?"),
        ("batchSize", "Did you mean 'batch_size'?"),
        ("outptu", "Did you mean 'output'?"),
        ("truncate", "Did you mean 'truncation'?"),
        ("return_all_scores", "Did you mean top_k=None?"),
        ("torch_dtype", "Did you mean 'dtype'?"),
        ("topk", "Did you mean 'top_k'?"),
        ("use_auth_token", "Set the variable HF_TOKEN"),
        ("framework", "Leave it out"),
        ("xyzzy", "Valid"),
    ],
)
def test_a_parameter_by_another_name(name: str, hint: str) -> None:
    option: dict[str, Any] = {name: 1}
    with pytest.raises(TypeError) as raised:
        TextClassification("a/model", **option)
    message = str(raised.value)
    assert message.startswith(f"text-classification: unknown parameter '{name}'. {hint}")
    for valid in ("top_k", "model", "device", "dtype", "batch_size", "input", "output"):
        assert f" {valid}" in message
    assert len(message) < 800


def test_grouped_entities_are_an_aggregation_strategy() -> None:
    with pytest.raises(TypeError, match='Did you mean aggregation_strategy="simple"'):
        TokenClassification("a/model", grouped_entities=True)


def test_a_misspelt_option_of_a_custom_pipeline(model: Model) -> None:
    options: dict[str, Any] = {"task": "x", "pipeline_class": "custom_pipelines.Plain"}
    with pytest.raises(TypeError, match=r"unknown option 'modle'\. Did you mean 'model'"):
        CustomPipeline(modle=model("bert-classification"), **options)
    with pytest.raises(TypeError, match=r"'btach_size'\. Did you mean 'batch_size'"):
        CustomPipeline(model("bert-classification"), btach_size=3, **options)


# Values of generation


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"temperature": "hot"}, "temperature must be a number, got 'hot'"),
        ({"temperature": 0.0, "do_sample": True}, "strictly positive float"),
        ({"temperature": -1.0, "do_sample": True}, "temperature cannot be -1.0"),
        ({"max_new_tokens": "12"}, "max_new_tokens must be a number, got '12'"),
        ({"max_new_tokens": 0}, "max_new_tokens` must be greater than 0"),
        ({"num_beams": 0}, "num_beams must be a whole number from 1, got 0"),
        ({"num_beams": "2"}, "num_beams must be a number"),
        ({"top_k": -1, "do_sample": True}, "top_k cannot be -1"),
        ({"top_p": "0.5"}, "top_p must be a number"),
        ({"min_p": 3.0, "do_sample": True}, "min_p cannot be 3.0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty cannot be 0.0"),
        ({"do_sample": "yes"}, "do_sample must be True or False, got 'yes'"),
        ({"early_stopping": "soon"}, "early_stopping"),
        ({"num_return_sequences": 2, "do_sample": False}, "num_return_sequences"),
        ({"stop_strings": [""]}, "stop_strings must be a text or a list of texts"),
        ({"stop_strings": []}, "stop_strings must be a text or a list of texts"),
        ({"cache_implementation": "big"}, "cache_implementation"),
        ({"generation_config": {"top_k": 3}}, "generation_config must be a GenerationConfig"),
    ],
)
def test_a_value_that_generate_would_refuse(
    model: Model, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=rf"text-generation: .*{message}.*\(given: "):
        build(TextGeneration(model("gpt2-lm"), **parameters))


def test_a_value_is_checked_wherever_it_is_given(model: Model) -> None:
    with pytest.raises(ValueError, match="max_new_tokens must be a number"):
        build(Summarization(model("bart-seq2seq"), max_new_tokens="3"))
    with pytest.raises(ValueError, match="num_beams must be a whole number"):
        build(
            pipeline(
                "automatic-speech-recognition",
                model("moonshine"),
                generate_kwargs={"num_beams": 0},
            )
        )
    given = GenerationConfig(temperature=-1.0, do_sample=True)
    with pytest.raises(ValueError, match=r"temperature cannot be -1\.0"):
        build(TextGeneration(model("gpt2-lm"), generation_config=given))


@pytest.mark.parametrize(
    "parameters",
    [
        {"temperature": 0, "do_sample": False},
        {"temperature": 0.7, "do_sample": True, "top_p": 1.5},
        {"do_sample": 1, "max_new_tokens": 3},
        {"top_k": 0, "do_sample": True},
        {"top_k": -1, "do_sample": False},
        {"top_k": None, "temperature": None},
        {"max_new_tokens": np.int64(3), "repetition_penalty": 1.3},
        {"eos_token_id": [5, 6], "pad_token_id": 5},
        {"num_beams": 2, "num_return_sequences": 2, "early_stopping": "never"},
        {"num_return_sequences": 2, "do_sample": True},
        {"stop_strings": "a", "max_new_tokens": 3},
        {"generation_config": GenerationConfig(max_new_tokens=3)},
        {"bad_words_ids": [[5]], "suppress_tokens": [6]},
    ],
)
def test_a_value_that_generate_takes(model: Model, parameters: dict[str, Any]) -> None:
    build(TextGeneration(model("gpt2-lm"), **parameters))


def test_what_only_the_generate_of_a_model_knows_is_left_to_it(model: Model) -> None:
    """Whisper takes several temperatures, one after the other."""
    given = {"temperature": (0.0, 0.2), "logprob_threshold": -1.0}
    build(pipeline("automatic-speech-recognition", model("whisper"), generate_kwargs=given))


def test_a_parameter_that_another_one_needs_is_read(model: Model) -> None:
    options: dict[str, Any] = {"pooling": "mean", "normalize": True, "postprocess": len}
    build(pipeline("feature-extraction", model("bert-encoder"), **options))


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
