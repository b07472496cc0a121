"""Values that no input can be answered with are refused while the pipeline is built."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from support.checks import checked
from support.comparing import same
from support.pictures import PICTURES
from support.texts import CORPUS
from transformers.pipelines.text_classification import ClassificationFunction
from transformers.pipelines.token_classification import AggregationStrategy

from pipelines_beam import pipeline
from transforms.stages.preflight import check_task
from transforms.tasks import TASKS
from transforms.tasks.parameter_checks import PARAMETER_CHECKS, tokenizer_checks

Model = Callable[[str], str]
NLI = {"candidate_labels": ["a", "b"]}
QUOTES = "leave out the quotes"
#: What no task needs a model to refuse: task, parameters, and what is said of them.
WRONG: list[tuple[str, dict[str, Any], str]] = [
    (
        "token-classification",
        {"ignore_labels": "O"},
        r"list of strings, got str 'O': write \['O'\]",
    ),
    ("token-classification", {"ignore_labels": {"O"}}, "list of strings, got set .*make a list"),
    ("token-classification", {"stride": "4"}, f"stride must be a whole .*'4': {QUOTES}"),
    ("token-classification", {"stride": -1}, "stride must be a whole number from 0, got int -1"),
    ("token-classification", {"aggregation_strategy": "smple"}, "Did you mean 'simple'"),
    ("zero-shot-classification", {"candidate_labels": {"a", "b"}}, "got set .*: make a list of it"),
    (
        "zero-shot-classification",
        {"candidate_labels": {"a": 1}.keys()},
        "got dict_keys .*: make a list of it",
    ),
    (
        "zero-shot-image-classification",
        {"candidate_labels": (each for each in "ab")},
        "got generator .*: make a list of it",
    ),
    (
        "zero-shot-classification",
        {**NLI, "hypothesis_template": ""},
        "hypothesis_template must have {} where the label goes, got str ''",
    ),
    ("zero-shot-image-classification", {"hypothesis_template": "a cat"}, "must have {} where"),
    ("zero-shot-audio-classification", {"hypothesis_template": "{label}"}, "KeyError: 'label'"),
    ("text-classification", {"truncation": "yes"}, f"truncation cannot .*'yes': {QUOTES}"),
    ("text-classification", {"padding": "On"}, f"padding cannot be the text 'On': {QUOTES}"),
    ("text-classification", {"max_length": "5"}, f"max_length must .*'5': {QUOTES}"),
    ("text-classification", {"add_special_tokens": 1}, "must be True or False, got int 1"),
    ("text-classification", {"tokenizer_kwargs": "a"}, "must be a mapping of keywords"),
    ("text-classification", {"function_to_apply": "sigmod"}, "Did you mean 'sigmoid'"),
    ("text-classification", {"top_k": 1.5}, "top_k must be a whole number from 1, got float 1.5"),
    ("text-classification", {"top_k": True}, "top_k must be a whole number from 1, got bool True"),
    ("fill-mask", {"top_k": 0}, "top_k must be a whole number from 1, got int 0"),
    ("fill-mask", {"tokenizer_kwargs": {"max_length": "5"}}, r"tokenizer_kwargs\['max_length'\]"),
    ("feature-extraction", {"tokenize_kwargs": {"stride": "1"}}, r"tokenize_kwargs\['stride'\]"),
    ("text-generation", {"skip_special_tokens": 0}, "must be True or False, got int 0"),
    ("text-generation", {"tools": "search"}, "tools must be a list, got str 'search'"),
    ("object-detection", {"threshold": "0.5"}, f"threshold must be a number.*'0.5': {QUOTES}"),
    ("object-detection", {"threshold": [0.5]}, r"threshold must be a number, got list \[0.5\]"),
    ("image-segmentation", {"subtask": "semantics"}, "Did you mean 'semantic'"),
    ("mask-generation", {"points_per_batch": 0}, "must be a whole number from 1, got int 0"),
    ("image-feature-extraction", {"image_processor_kwargs": "a"}, "must be a mapping"),
    ("video-classification", {"num_frames": "5"}, f"num_frames must .*'5': {QUOTES}"),
    ("video-classification", {"top_k": -1}, "top_k must be a whole number from 1, got int -1"),
    ("video-classification", {"num_frames": 0}, "num_frames must be a whole number from 1, got"),
    ("video-classification", {"frame_sampling_rate": 0}, "must be a number above 0, got int 0"),
    ("mask-generation", {"crop_n_points_downscale_factor": 0}, "a number above 0, got int 0"),
    ("object-detection", {"threshold": math.nan}, "threshold must be a number, got float nan"),
    ("image-segmentation", {"mask_threshold": np.float32("nan")}, "a number, got float32 .*nan"),
    ("automatic-speech-recognition", {"chunk_length_s": math.nan}, "a number, got float nan"),
    (
        "zero-shot-classification",
        {"candidate_labels": " , "},
        "candidate_labels must have a label between its commas, got str ' , '",
    ),
    (
        "zero-shot-audio-classification",
        {"candidate_labels": ","},
        "candidate_labels must have a label between its commas, got str ','",
    ),
    ("automatic-speech-recognition", {"chunk_length_s": -1}, "a number from 0, got int -1"),
    ("automatic-speech-recognition", {"chunk_length_s": "5"}, f"a number.*'5': {QUOTES}"),
    ("automatic-speech-recognition", {"stride_length_s": [1, "2"]}, r"stride_length_s\[1\] must"),
    ("automatic-speech-recognition", {"return_timestamps": "words"}, "Did you mean 'word'"),
    ("automatic-speech-recognition", {"generate_kwargs": 5}, "must be a mapping.*got int 5"),
    ("text-to-audio", {"preprocess_params": ["a"]}, "must be a mapping"),
]


@pytest.mark.parametrize(("task", "parameters", "message"), WRONG)
def test_what_no_model_takes(task: str, parameters: dict[str, Any], message: str) -> None:
    name = next(reversed(parameters))
    with pytest.raises((TypeError, ValueError), match=message) as error:
        checked(task, parameters)
    assert f"{task}: {name}" in str(error.value)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("task", TASKS)
def test_numbers_and_mappings_are_no_texts_in_any_task(task: str) -> None:
    """Whatever has a number, a condition or a mapping for a default, or is known to take one."""
    for name, default in TASKS[task].parameters.items():
        takes = isinstance(default, int | float) and name not in ("padding", "truncation")
        if (takes or name in PARAMETER_CHECKS) and not TASKS[task].open_parameters:
            with pytest.raises((TypeError, ValueError), match=f"{task}: {name} must be "):
                checked(task, {name: "0.5x"})


#: Other values that transformers takes, for parameters of any task.
RIGHT: list[tuple[str, dict[str, Any]]] = [
    ("token-classification", {"ignore_labels": []}),
    ("token-classification", {"ignore_labels": ("O", "B-PER")}),
    ("token-classification", {"aggregation_strategy": AggregationStrategy.MAX}),
    ("token-classification", {"aggregation_strategy": "SIMPLE", "stride": np.int64(0)}),
    ("text-classification", {"function_to_apply": ClassificationFunction.NONE}),
    ("text-classification", {"function_to_apply": "Softmax", "top_k": torch.tensor(2)}),
    ("text-classification", {"top_k": None, "tokenizer_kwargs": {"max_length": 5}}),
    ("text-classification", {"padding": "max_length", "truncation": "only_first", "max_length": 8}),
    ("zero-shot-classification", {"candidate_labels": ("a", "b"), "multi_label": np.bool_(True)}),
    ("zero-shot-classification", {"candidate_labels": "a, b", "hypothesis_template": "{0}"}),
    ("image-classification", {"timeout": 5, "top_k": np.int32(3)}),
    ("object-detection", {"threshold": 1}),
    ("object-detection", {"threshold": np.float32(0.1)}),
    ("image-segmentation", {"subtask": "panoptic", "threshold": torch.tensor(0.5)}),
    ("mask-generation", {"points_per_batch": None, "crops_n_layers": 0, "max_sprinkle_area": -1}),
    ("automatic-speech-recognition", {"chunk_length_s": 0, "stride_length_s": (4, 2.5)}),
    ("automatic-speech-recognition", {"chunk_length_s": 30, "stride_length_s": 5.0}),
    ("automatic-speech-recognition", {"return_timestamps": True, "generate_kwargs": {}}),
    ("text-generation", {"tools": [{"type": "function"}], "documents": [], "max_length": 9}),
    ("text-generation", {"return_full_text": 0, "tokenizer_encode_kwargs": {"padding": True}}),
    ("image-text-to-text", {"processor_kwargs": {"return_tensors": "pt", "padding": True}}),
    ("automatic-speech-recognition", {"stride_length_s": np.array([0.1, 0.2])}),
    ("zero-shot-object-detection", {"top_k": 0}),
    ("text-classification", {"top_k": 2.0}),
    ("text-classification", {"split_special_tokens": True}),
    ("text-generation", {"stop_sequence": ["a"]}),
    ("question-answering", {"top_k": 3, "doc_stride": 0, "align_to_words": False}),
]


@pytest.mark.parametrize(("task", "parameters"), RIGHT)
def test_what_transformers_takes(task: str, parameters: dict[str, Any]) -> None:
    checked(task, parameters)


def test_words_are_those_of_transformers() -> None:
    names = {each.name for each in AggregationStrategy}
    checks = PARAMETER_CHECKS["aggregation_strategy"], PARAMETER_CHECKS["function_to_apply"]
    for check_word, words in zip(checks, (names, ClassificationFunction.__members__), strict=True):
        for each in words:
            check_word("name", each)
    with pytest.raises(ValueError, match="got str 'any'") as error:
        checks[0]("name", "any")
    assert all(repr(name.lower()) in str(error.value) for name in names)
    taken = {
        "add_special_tokens",
        "is_split_into_words",
        "max_length",
        "pad_to_multiple_of",
        "stride",
    }
    assert taken <= tokenizer_checks().keys()
    assert not {"padding", "truncation", "return_tensors"} & tokenizer_checks().keys()


def built(task: str, directory: str, **parameters: Any) -> None:
    """Make the checks of a pipeline that is built."""
    check_task(pipeline(task, directory, **parameters).spec)


@pytest.mark.parametrize(
    ("task", "name", "parameters", "message"),
    [
        (
            "text-classification",
            "bert-classification",
            {"padding": "longst", "max_length": 8},
            "text-classification: padding cannot be 'longst': .*'longest', 'max_length'",
        ),
        (
            "feature-extraction",
            "bert-encoder",
            {"tokenize_kwargs": {"truncation": "first"}},
            "tokenize_kwargs cannot be {'truncation': 'first'}: .*'only_first'",
        ),
        ("text-classification", "bert-classification", {"is_split_into_words": True}, "cannot be"),
        (
            "text-generation",
            "gpt2-lm",
            {"padding": True},
            "padding cannot be True: .*padding token",
        ),
        (
            "image-feature-extraction",
            "vit-encoder",
            {"image_processor_kwargs": {"sise": 8}},
            "image_processor_kwargs cannot be {'sise': 8}: .*'sise'",
        ),
        ("table-question-answering", "tapas-qa", {"truncation": "only_first"}, "drop_rows_to_fit"),
        ("image-segmentation", "segformer", {"subtask": "instance"}, "has no subtask 'instance'"),
        ("mask-generation", "sam", {"max_hole_area": 5}, "Sam.* has no max_hole_area"),
        ("text-to-audio", "vits", {"generate_kwargs": {"do_sample": True}}, "forward_params"),
        (
            "automatic-speech-recognition",
            "wav2vec2-group-ctc",
            {"chunk_length_s": 1, "stride_length_s": 1},
            "Chunk length must be superior to stride length",
        ),
        (
            "automatic-speech-recognition",
            "whisper",
            {"generate_kwargs": {"langauge": "en"}},
            "unknown keyword of generate_kwargs 'langauge'. Did you mean 'language'",
        ),
        (
            "image-text-to-text",
            "llava",
            {"generate_kwargs": {"max_new_token": 5}},
            "unknown keyword of generate_kwargs 'max_new_token'. Did you mean 'max_new_tokens'",
        ),
    ],
)
def test_what_the_model_at_hand_does_not_take(
    model: Model, task: str, name: str, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        built(task, model(name), **parameters)


def test_what_the_model_at_hand_takes(model: Model) -> None:
    """Each of these is answered by transformers, too."""
    cases: list[tuple[str, str, Any, dict[str, Any]]] = [
        ("text-classification", "bert-classification", CORPUS[0], {"truncation": "only_second"}),
        ("text-classification", "bert-classification", CORPUS[0], {"tokenizer_kwargs": {}}),
        (
            "text-classification",
            "bert-classification",
            CORPUS[0],
            {"padding": "max_length", "truncation": True, "max_length": 3},
        ),
        ("feature-extraction", "bert-encoder", CORPUS[0], {"tokenize_kwargs": {"padding": True}}),
        ("token-classification", "bert-ner", ["a", "b"], {"is_split_into_words": True}),
        ("fill-mask", "bert-mlm", "a [MASK].", {"top_k": 1, "targets": "the"}),
        ("text-generation", "llama-lm", CORPUS[0], {"stop_sequence": ""}),
        ("text-generation", "llama-lm", CORPUS[0], {"stop_sequence": ["a"]}),
        ("image-segmentation", "segformer", PICTURES[0], {"subtask": "semantic"}),
        ("image-classification", "vit-classification", PICTURES[0], {"top_k": 100}),
    ]
    for task, name, given, parameters in cases:
        directory = model(name)
        pipe = transformers.pipeline(task, directory, device="cpu")
        assert pipe(given, **parameters) is not None
        built(task, directory, **parameters)


@pytest.mark.parametrize(
    "parameters", [{"top_k": 2.0}, {"split_special_tokens": True}, {"top_k": np.int64(2)}], ids=str
)
def test_what_transformers_ignores_or_passes_on(
    model: Model, run: Callable[..., list[Any]], parameters: dict[str, Any]
) -> None:
    directory = model("bert-classification")
    given = ["a [SEP] b", {"text": "a", "text_pair": "b"}]
    stock = transformers.pipeline("text-classification", directory, device="cpu")
    for each in given:
        (found,) = run([each], pipeline("text-classification", directory, **parameters))
        assert same(found.inference, stock(each, **parameters))
    columns = {"text": "text", "text_pair": "text_pair"}
    (row,) = run(given[1:], pipeline("text-classification", directory, input=columns, **parameters))
    assert row["label"] == stock(given[1], **parameters)["label"]


def test_an_input_given_as_a_parameter_says_where_it_goes() -> None:
    with pytest.raises(TypeError, match=r'text_pair is an input: .*{"text": …, "text_pair": …}'):
        checked("text-classification", {"text_pair": "other text"})


def test_an_input_that_does_not_suit_the_model_refuses_nothing(model: Model) -> None:
    """A prompt without an image is none for this model: what was given is not to blame."""
    built("image-text-to-text", model("llava"), max_new_tokens=2, skip_special_tokens=True)
