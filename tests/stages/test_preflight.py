"""Checks made while the pipeline is built: the model's files, and values that it would refuse."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from transformers import GenerationConfig

from pipelines_beam import (
    ImageClassification,
    ModelLoadError,
    Summarization,
    TextClassification,
    TextGeneration,
    pipeline,
)

Model = Callable[[str], str]


def test_a_bad_value_is_refused_when_the_pipeline_is_built(model: Model) -> None:
    with pytest.raises(
        ValueError, match=r"aggregation_strategy must .* 'frist'.*Did you mean 'first'"
    ):
        pipeline("ner", model("bert-ner"), aggregation_strategy="frist")
    transform = pipeline("ner", model("bert-ner"), aggregation_strategy="first", stride=1_000)
    with pytest.raises(ValueError, match=r"`stride` must be less than .*given: .*stride=1000"):
        beam.Pipeline() | beam.Create(["a"]) | transform


def test_a_corrupt_model_file_is_found_before_the_job_runs(model: Model, tmp_path: Path) -> None:
    shutil.copytree(model("bert-classification"), tmp_path / "corrupt")
    weights = tmp_path / "corrupt" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    transform = pipeline("text-classification", str(tmp_path / "corrupt"))
    with pytest.raises(ModelLoadError, match=r"model.safetensors is corrupt: it has \d+ bytes"):
        beam.Pipeline() | beam.Create(["a"]) | transform


def build(transform: beam.PTransform, element: Any = "a") -> Any:
    return beam.Pipeline() | beam.Create([element]) | transform


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


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"eos_token_id": "5"}, "eos_token_id cannot be '5'"),
        ({"eos_token_id": [1, "2"]}, r"eos_token_id cannot be \[1, '2'\]"),
        ({"bad_words_ids": "bad"}, "bad_words_ids cannot be 'bad'.*non-empty list"),
        ({"suppress_tokens": "1"}, "suppress_tokens cannot be '1'"),
        ({"sequence_bias": 3}, "sequence_bias cannot be 3"),
        ({"forced_eos_token_id": "a"}, "forced_eos_token_id cannot be 'a'"),
        ({"min_new_tokens": 2.5}, "min_new_tokens cannot be 2.5"),
        ({"exponential_decay_length_penalty": 3}, "exponential_decay_length_penalty cannot be 3"),
        ({"watermarking_config": {"x": 1}}, "unexpected keyword argument 'x'"),
        ({"max_new_tokens": float("nan")}, "max_new_tokens must be a number, got nan"),
    ],
)
def test_a_value_that_generate_refuses_after_the_first_stage(
    model: Model, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build(TextGeneration(model("gpt2-lm"), **parameters))


SPEECH = "automatic-speech-recognition"


@pytest.mark.parametrize(
    ("task", "name", "parameters", "message"),
    [
        (SPEECH, "whisper", {"num_beams": "2"}, "num_beams must be a number, got '2'"),
        (SPEECH, "whisper", {"temperature": (0.0, "x")}, "temperature must be a number"),
        (SPEECH, "whisper", {"language": "klingon"}, "unknown language 'klingon'.* german"),
        (SPEECH, "whisper", {"language": ["de", "fr"]}, "unknown language 'fr'.* german"),
        (SPEECH, "whisper", {"task": "transcrib"}, "unknown task .*Did you mean 'transcribe'"),
        (SPEECH, "whisper", {"max_new_tokens": 10_000}, "less than the 48 tokens"),
        ("text-to-audio", "musicgen", {"max_new_tokens": "9"}, "max_new_tokens must be a number"),
    ],
)
def test_a_value_that_a_generate_of_its_own_would_refuse(
    task: str, name: str, parameters: dict[str, Any], message: str, model: Model
) -> None:
    with pytest.raises(ValueError, match=f"{task}: .*{message}"):
        build(pipeline(task, model(name), generate_kwargs=parameters))


def test_keywords_of_the_first_stage_of_sounds_are_checked_as_others(model: Model) -> None:
    with pytest.raises(ValueError, match="max_new_tokens must be a number, got '9'"):
        build(pipeline("text-to-audio", model("musicgen"), forward_params={"max_new_tokens": "9"}))


@pytest.mark.parametrize("language", ["German", "de", "<|de|>", ["de", "en"]])
def test_languages_that_whisper_takes(language: Any, model: Model) -> None:
    given = {"language": language, "task": "translate", "max_new_tokens": 10}
    build(pipeline(SPEECH, model("whisper"), generate_kwargs=given))


def test_a_language_of_a_model_that_knows_one(model: Model, tmp_path: Path) -> None:
    shutil.copytree(model("whisper"), tmp_path / "english")
    config = tmp_path / "english" / "generation_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "is_multilingual": False}))
    with pytest.raises(ValueError, match="knows English alone: leave out language='en'"):
        build(pipeline(SPEECH, str(tmp_path / "english"), generate_kwargs={"language": "en"}))


def test_more_fillings_than_there_are_tokens(model: Model) -> None:
    with pytest.raises(ValueError, match=r"top_k must be from 1 to 672, .*got 673"):
        build(pipeline("fill-mask", model("bert-mlm"), top_k=673))
    build(pipeline("fill-mask", model("bert-mlm"), top_k=672))
    build(pipeline("fill-mask", model("bert-mlm"), top_k=673, targets=["good"]))


@pytest.mark.parametrize(("source", "target"), [("xx", "fr_XX"), ("en_XX", "xx")])
def test_a_language_that_the_translator_does_not_know(
    source: str, target: str, model: Model
) -> None:
    with pytest.raises(ValueError, match="must be a language of the tokenizer, got 'xx'"):
        build(pipeline("translation", model("mbart-seq2seq"), src_lang=source, tgt_lang=target))


@pytest.mark.parametrize("task", ["object-detection", "image-segmentation", "depth-estimation"])
def test_a_model_of_another_task(task: str, model: Model) -> None:
    with pytest.raises(ValueError, match=f"{task}: ViTImageProcessor, .* is one of another task"):
        build(pipeline(task, model("vit-classification")))


@pytest.mark.parametrize(
    ("task", "name"), [(SPEECH, "wav2vec2-layer-keywords"), ("image-to-text", "vit-encoder")]
)
def test_a_model_without_the_tokenizer_that_the_task_reads(
    task: str, name: str, model: Model
) -> None:
    with pytest.raises(ModelLoadError, match="has no files of a tokenizer: name another model's"):
        build(pipeline(task, model(name)))


def test_a_parameter_that_transformers_drops(model: Model) -> None:
    given: dict[str, Any] = {"candidate_labels": ["a"], "tokenizer_kwargs": {"truncation": True}}
    with pytest.raises(ValueError, match=r"tokenizer_kwargs: .* does not read it"):
        build(pipeline("zero-shot-image-classification", model("clip"), **given))


def test_what_only_the_generate_of_a_model_knows_is_left_to_it(model: Model) -> None:
    """Whisper takes several temperatures, one after the other."""
    given = {"temperature": (0.0, 0.2), "logprob_threshold": -1.0}
    build(pipeline("automatic-speech-recognition", model("whisper"), generate_kwargs=given))


def test_a_parameter_that_another_one_needs_is_read(model: Model) -> None:
    options: dict[str, Any] = {"pooling": "mean", "normalize": True, "postprocess": len}
    build(pipeline("feature-extraction", model("bert-encoder"), **options))
