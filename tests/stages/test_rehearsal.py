"""Parameters are refused before a job runs only if no input could be answered with them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import transformers
from support.pictures import PICTURES

from pipelines_beam import pipeline
from transforms.stages.preflight import check_task

Model = Callable[[str], str]

SAID = [
    {
        "role": "user",
        "content": [{"type": "image", "image": PICTURES[0]}, {"type": "text", "text": "hi"}],
    }
]
#: Each of these is answered by transformers for the input beside it.
FINE: list[tuple[str, str, Any, dict[str, Any]]] = [
    (
        "fill-mask",
        "roberta-mlm",
        "<mask> is",
        {"tokenizer_kwargs": {"truncation": True, "max_length": 5}},
    ),
    (
        "fill-mask",
        "bert-mlm",
        "[MASK]",
        {"tokenizer_kwargs": {"truncation": True, "max_length": 3}},
    ),
    (
        "image-text-to-text",
        "llava",
        SAID,
        {"max_new_tokens": 2, "processor_kwargs": {"return_tensors": "pt"}},
    ),
    ("text-classification", "bert-classification", "a", {"truncation": True, "max_length": 3}),
    (
        "text-generation",
        "gpt2-lm",
        "a",
        {"handle_long_generation": "hole", "max_new_tokens": 126},
    ),
    (
        "feature-extraction",
        "bert-encoder",
        "a",
        {"tokenize_kwargs": {"truncation": True, "max_length": 4, "stride": 1}},
    ),
]


def check(task: str, directory: str, **parameters: Any) -> None:
    check_task(pipeline(task, directory, **parameters).spec)


@pytest.mark.parametrize(("task", "name", "given", "parameters"), FINE)
def test_what_some_input_is_answered_with_is_taken(
    task: str, name: str, given: Any, parameters: dict[str, Any], model: Model
) -> None:
    directory = model(name)
    assert transformers.pipeline(task, directory, device="cpu")(given, **parameters)
    check(task, directory, **parameters)


def test_a_question_may_be_as_short_as_can_be(model: Model) -> None:
    check("question-answering", model("bert-qa"), max_seq_len=5, doc_stride=0)


@pytest.mark.parametrize(
    ("task", "name", "parameters"),
    [
        ("fill-mask", "bert-mlm", {"tokenizer_kwargs": {"truncation": True, "max_length": 2}}),
        ("text-generation", "gpt2-lm", {"padding": True}),
        ("image-text-to-text", "llava", {"processor_kwargs": {"padding": "sideways"}}),
    ],
)
def test_what_no_input_is_answered_with_is_refused(
    task: str, name: str, parameters: dict[str, Any], model: Model
) -> None:
    (parameter,) = parameters
    with pytest.raises(ValueError, match=f"{task}: {parameter} cannot be "):
        check(task, model(name), **parameters)


def test_messages_name_components_in_place_of_all_their_settings(model: Model) -> None:
    given = {"processor_kwargs": {"text": "a"}}
    with pytest.raises(ValueError, match=r"processor_kwargs cannot be .*'text'") as error:
        check("image-text-to-text", model("llava"), **given)
    assert "{" not in str(error.value).replace(str(given["processor_kwargs"]), "")


def test_a_panic_leaves_nothing_on_stderr(model: Model, capfd: pytest.CaptureFixture[str]) -> None:
    """The tokenizer panics over every text that it cuts with such a stride."""
    directory, parameters = model("bert-classification"), {"max_length": 4, "stride": 2}
    capfd.readouterr()
    check("text-classification", directory, truncation=True, **parameters)
    assert not capfd.readouterr().err
    os.write(2, b"something else")
    assert capfd.readouterr().err == "something else"
