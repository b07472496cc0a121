"""Promise 1 for the audio tasks: the answer is transformers' own, in any batch and any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cases
import numpy as np
import pytest
import torch
import transformers
from cases import BATCHES, COMPOSED, arranged
from support.comparing import same
from support.models.speech import SPEAKS
from support.sounds import SOUNDS, copied

from pipelines_beam import pipeline
from transforms.batching import program as program_module
from transforms.options.spec import ModelSpec
from transforms.pipelines import factory
from transforms.pipelines.split_call import deep_copy_kwargs
from transforms.tasks import TASKS, canonical

Run = Callable[..., list[Any]]
LABELS_HERE = ["dog", "a rather long label", "cat"]
LABELS = {"candidate_labels": LABELS_HERE}
TEMPLATE = {"hypothesis_template": "I hear a {}."}
HEARD = tuple(each for each in SOUNDS if len(each) <= 32_000)  # a random part of longer ones
OWN_LABELS = tuple(
    {"audio": each, "candidate_labels": ["rain", "a very loud noise"] if i % 3 else LABELS_HERE}
    for i, each in enumerate(HEARD)
)
SENTENCES = ("Yes", "no one answered", "hello world how are you", "a b c", "no", "x y z", "Yes")
VOICE = {
    "vocoder": "vocoder",
    "forward_params": {
        "speaker_embeddings": [[0.1 * i for i in range(8)]],
        "threshold": 3.0,
        "maxlenratio": 1.0,
    },
}


@dataclass(frozen=True)
class Case(cases.Case):
    """Asked about all sounds, where nothing else is said."""

    inputs: Sequence[Any] = tuple(SOUNDS)


CASES = [
    Case("audio-classification", "wav2vec2-group-keywords"),
    Case("audio-classification", "wav2vec2-group-keywords", {"top_k": 2}),
    Case("audio-classification", "wav2vec2-layer-keywords"),
    Case("audio-classification", "hubert-layer-keywords", {"function_to_apply": "sigmoid"}),
    Case("audio-classification", "ast-keywords"),
    Case("automatic-speech-recognition", "wav2vec2-group-ctc"),
    Case("automatic-speech-recognition", "wav2vec2-layer-ctc"),
    Case("automatic-speech-recognition", "wav2vec2-layer-ctc", {"return_timestamps": "word"}),
    Case("automatic-speech-recognition", "wav2vec2-adapter-ctc"),
    Case("automatic-speech-recognition", "hubert-layer-ctc", {"return_timestamps": "char"}),
    Case("automatic-speech-recognition", "wav2vec2-group-ctc", {"chunk_length_s": 1}),
    Case("automatic-speech-recognition", "whisper"),
    Case("automatic-speech-recognition", "whisper", {"return_timestamps": True, "num_beams": 1}),
    Case("automatic-speech-recognition", "whisper", {"return_timestamps": "word"}),
    Case(
        "automatic-speech-recognition",
        "whisper",
        {"return_language": True, "generate_kwargs": {"num_beams": 1, "task": "transcribe"}},
    ),
    Case(
        "automatic-speech-recognition",
        "whisper",
        {"chunk_length_s": 1, "return_timestamps": True, "ignore_warning": True},
    ),
    Case("automatic-speech-recognition", "moonshine"),
    Case("automatic-speech-recognition", "moonshine", {"chunk_length_s": 1, "num_beams": 1}),
    Case("zero-shot-audio-classification", "clap", LABELS, HEARD),
    Case("zero-shot-audio-classification", "clap", LABELS, OWN_LABELS),
    Case("zero-shot-audio-classification", "clap-fused", {**LABELS, **TEMPLATE}, HEARD),
    Case("text-to-audio", "vits", inputs=SENTENCES),
    Case("text-to-speech", "vits-stochastic", inputs=SENTENCES),
    Case("text-to-audio", "speecht5", VOICE, SENTENCES),
    Case("text-to-audio", "musicgen", inputs=SENTENCES),
    Case(
        "automatic-speech-recognition",
        "wav2vec2-layer-ctc",
        {"chunk_length_s": 0.6, "stride_length_s": (0.1, 0.2), "return_timestamps": "char"},
    ),
]
if not SPEAKS:
    CASES = [case for case in CASES if canonical(case.task) != "text-to-audio"]


def stock(case: Case, model: Callable[[str], str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keywords of transformers' own pipeline, for its constructor and for its call."""
    parameters = dict(case.parameters)
    if "vocoder" not in parameters:
        return {}, parameters
    vocoder = transformers.SpeechT5HifiGan.from_pretrained(model(parameters.pop("vocoder")))
    forward = dict(parameters["forward_params"])
    forward["speaker_embeddings"] = torch.tensor(forward["speaker_embeddings"])
    return {"vocoder": vocoder}, {"forward_params": forward}


def ask(pipe: Any, x: Any, parameters: dict[str, Any]) -> Any:
    if isinstance(x, dict) and "candidate_labels" in x:
        return pipe(x["audio"], **{**parameters, "candidate_labels": x["candidate_labels"]})
    return pipe(copied(x), **parameters)


@pytest.fixture(scope="module")
def oracle(model: Callable[[str], str]) -> Callable[[Case], list[Any]]:
    """transformers' own answers, one input at a time."""
    known: dict[int, list[Any]] = {}

    def answers(case: Case) -> list[Any]:
        if id(case) not in known:
            more, parameters = stock(case, model)
            pipe = transformers.pipeline(case.task, model(case.model), device="cpu", **more)
            known[id(case)] = [ask(pipe, x, deep_copy_kwargs(parameters)) for x in case.inputs]
        return known[id(case)]

    return answers


@pytest.mark.parametrize(("batch", "order"), COMPOSED)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_answer_is_transformers_own(
    case: Case,
    batch: str,
    order: str,
    model: Callable[[str], str],
    oracle: Callable[[Case], list[Any]],
    run: Run,
) -> None:
    expected = oracle(case)
    parameters = dict(case.parameters)
    if "vocoder" in parameters:
        parameters["vocoder"] = model(parameters["vocoder"])
    transform = pipeline(
        case.task, model(case.model), keyed=True, batch_size=BATCHES[batch], **parameters
    )

    found = dict(run(arranged(case.inputs, order), transform))

    assert found.keys() == set(range(len(expected)))
    for i, answer in enumerate(expected):
        assert same(answer, found[i].inference, case.tolerance), (answer, found[i].inference)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_different_inputs_have_different_answers(
    case: Case, oracle: Callable[[Case], list[Any]]
) -> None:
    """Else the tests above would prove little."""
    answers = [repr(answer) for answer in oracle(case)]
    assert len(set(answers)) > 0.7 * len(answers)


class BestPath:
    """In place of a language model's decoder, which is an extra of its own: each frame's best."""

    def decode_beams(self, logits: Any) -> list[Any]:
        return [(" ".join(map(str, logits.argmax(-1))), None, [])]


def test_a_language_model_hears_nothing_behind_a_sound(model: Callable[[str], str]) -> None:
    spec = ModelSpec(task="automatic-speech-recognition", source=model("wav2vec2-layer-ctc"))
    pipe = factory.load(spec)
    pipe.type, pipe.decoder = "ctc_with_lm", BestPath()
    program = program_module.Program(pipe, spec, {})
    chunks = [next(iter(pipe.preprocess(copied(sound)))) for sound in SOUNDS[:4]]
    assert len({program.batch_slot(chunk).key for chunk in chunks}) == 1
    assert len({program.batch_slot(chunk).length for chunk in chunks}) > 1

    together = program.run([dict(chunk) for chunk in chunks])

    alone = [program.run([dict(chunk)])[0] for chunk in chunks]
    texts = [pipe.postprocess([outputs])["text"] for outputs in alone]
    assert [pipe.postprocess([outputs])["text"] for outputs in together] == texts
    assert len(set(texts)) > 1


def test_every_audio_task_has_a_case() -> None:
    tested = {canonical(case.task) for case in CASES} | {"text-to-audio"}
    assert tested == {name for name, task in TASKS.items() if "audio" in task.media.values()} | {
        "text-to-audio"
    }


def test_elements_are_left_as_they_were(model: Callable[[str], str], run: Run) -> None:
    sounds: list[dict[str, Any]] = [{"raw": each, "sampling_rate": 16_000} for each in SOUNDS[:3]]
    found = run(sounds, pipeline("automatic-speech-recognition", model("wav2vec2-layer-ctc")))
    assert sorted(len(result.example["raw"]) for result in found) == sorted(map(len, SOUNDS[:3]))
    assert all(np.array_equal(a["raw"], b) for a, b in zip(sounds, SOUNDS, strict=False))
