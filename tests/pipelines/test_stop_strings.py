"""Stop strings, which `generate` finds by a tokenizer: in every task that generates."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from support.comparing import same
from support.pictures import PICTURES
from support.sounds import SOUNDS, copied
from support.texts import CORPUS

from pipelines_beam import pipeline
from transforms.options.spec import ModelSpec
from transforms.pipelines import factory

Model = Callable[[str], str]
Run = Callable[..., list[Any]]

NEW = {"max_new_tokens": 24}
PAIRS = [{"image": picture, "question": "What is it?"} for picture in PICTURES[:3]]
SAID = [{"text": "a <image> of", "images": [picture]} for picture in PICTURES[:3]]
SLOW = pytest.mark.slow
#: Task, model, inputs, whether the parameters go into generate_kwargs.
CASES = [
    ("summarization", "bart-seq2seq", CORPUS[8:14], False),
    ("text2text-generation", "t5-seq2seq", CORPUS[8:14], False),
    pytest.param("translation", "marian-seq2seq", CORPUS[8:14], False, marks=SLOW),
    ("text-generation", "gpt2-lm", CORPUS[8:14], False),
    pytest.param("text-generation", "llama-lm", CORPUS[8:14], False, marks=SLOW),
    ("image-to-text", "blip-caption", PICTURES[:3], True),
    pytest.param("image-to-text", "vit-gpt2", PICTURES[:3], False, marks=SLOW),
    pytest.param("image-to-text", "git", PICTURES[:3], True, marks=SLOW),
    pytest.param("visual-question-answering", "blip-vqa", PAIRS, False, marks=SLOW),
    pytest.param("document-question-answering", "donut", PAIRS, False, marks=SLOW),
    pytest.param("image-text-to-text", "llava", SAID, True, marks=SLOW),
    pytest.param("automatic-speech-recognition", "whisper", SOUNDS[:3], True, marks=SLOW),
]


def text_of(answer: Any) -> str:
    """What was generated, however deep it is in an answer."""
    while not isinstance(answer, str | None):
        if isinstance(answer, list):
            answer = answer[0]
        else:
            names = ("text", "answer")
            answer = next(v for k, v in answer.items() if k.endswith(names) and k != "input_text")
    return answer or ""


@pytest.mark.parametrize(("task", "name", "inputs", "nested"), CASES)
def test_an_answer_ends_where_it_is_told_to(
    model: Model, run: Run, task: str, name: str, inputs: list[Any], nested: bool
) -> None:
    pipe = factory.load(ModelSpec(task=task, source=model(name)))
    generate = pipe.model.generate

    def stock(example: Any, **more: Any) -> Any:
        """transformers' answer where it is given the tokenizer by hand."""
        tokenizer = {"tokenizer": pipe.tokenizer} if more else {}
        pipe.model.generate = lambda *args, **given: generate(*args, **given, **tokenizer)
        parameters = {**NEW, **more}
        given = {"generate_kwargs": parameters} if nested else parameters
        example = copied(example) if task.startswith("automatic") else copy.deepcopy(example)
        return pipe(example, **copy.deepcopy(given))

    plain = [stock(each) for each in inputs]
    longest = max(map(text_of, plain), key=len)
    # What ends an answer that has more to say; of several beams, not every text does.
    for start in range(1, len(longest) - 2, 2):
        stops = [longest[start : start + 2], "never said"]
        expected = [stock(each, stop_strings=stops) for each in inputs]
        if not all(map(same, plain, expected)):
            break
    else:
        pytest.fail("nothing ends earlier")
    parameters = {**NEW, "stop_strings": stops}
    given = {"generate_kwargs": parameters} if nested else parameters
    found = run(inputs, pipeline(task, model(name), share="process", batch_size=4, **given))
    assert len(found) == len(inputs)
    by_input = {id(each.example): each.inference for each in found}
    answers = [by_input.get(id(x)) for x in inputs]
    if None in answers:  # the runner has copied them
        answers = sorted((each.inference for each in found), key=repr)
        expected = sorted(expected, key=repr)
    assert all(map(same, answers, expected))
