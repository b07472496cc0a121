"""What is computed over the positions of a row, in company: it must be what the row alone gives.

Padding never makes valid what a model refuses, and no row's answer is computed from the steps of
another that is longer.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from support import models
from support.comparing import same
from support.models import audio as audio_models
from support.models.audio import ADAPTER, LAYER, LETTERS, WAV2VEC2
from support.sounds import RATE, copied, sound

from pipelines_beam import ElementError, pipeline
from transforms.batching import program as program_module
from transforms.batching.lengths import TooShortError
from transforms.batching.padding import padding_of
from transforms.options.spec import ModelSpec
from transforms.pipelines import factory
from transforms.pipelines.split_call import sanitized
from transforms.pipelines.waveforms import pads_samples

SPEECH = "automatic-speech-recognition"
CLASSES = "audio-classification"
Model = Callable[[str], str]

KINDS = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat")
HEADS = {SPEECH: "ForCTC", CLASSES: "ForSequenceClassification"}
#: The models here compute their first frame from 328 samples, and one more from each 320.
FRAME = 328
SAMPLES = (1, 200, FRAME - 1, FRAME, FRAME + 1, FRAME + 319, FRAME + 320, 968, 4000, RATE)


def heard(directory: Path, kind: str, task: str) -> None:
    audio_models.wav2vec2(directory, name=kind + task, head=HEADS[task], norm=LAYER, kind=kind)


def wav2vec2_bert(directory: Path) -> None:
    """Hears features in pairs: an odd one's pair is padding, but counted as heard."""
    small = {k: v for k, v in WAV2VEC2.items() if k.startswith(("hidden", "num_hidden"))}
    config = transformers.Wav2Vec2BertConfig(
        **small,
        num_attention_heads=4,
        intermediate_size=64,
        feature_projection_input_dim=32,
        vocab_size=5 + len(LETTERS),
        pad_token_id=0,
    )
    model = audio_models.make(transformers.Wav2Vec2BertForCTC, config, "wav2vec2-bert", {})
    audio_models.wav2vec2(directory, name="letters", head="ForCTC", norm=LAYER)  # its tokenizer
    model.save_pretrained(directory)
    transformers.SeamlessM4TFeatureExtractor(
        feature_size=16, num_mel_bins=16, sampling_rate=RATE, stride=2
    ).save_pretrained(directory)


models.MODELS |= {
    f"{kind}-{task}": functools.partial(heard, kind=kind, task=task)
    for kind in KINDS
    for task in HEADS
}
models.MODELS["wav2vec2-bert-ctc"] = wav2vec2_bert


def answer(pipe: Any, x: Any, parameters: Mapping[str, Any]) -> Any:
    """The answer of transformers' own pipeline, or the error."""
    try:
        return pipe(copied(x), **parameters)
    except RuntimeError as error:
        return str(error)


def together(
    task: str, model: str, parameters: Mapping[str, Any], inputs: Sequence[Any]
) -> tuple[list[Any], int]:
    """The answers, or errors, of inputs of which as many as may share a batch, and the largest."""
    spec = ModelSpec(task=task, source=model)
    pipe = factory.load(spec)
    program = program_module.Program(pipe, spec, parameters)
    before, _, after = sanitized(pipe, parameters)
    chunks = {}
    for i, x in enumerate(inputs):
        found = pipe.preprocess(copied(x), **before)
        for j, chunk in enumerate([found] if isinstance(found, Mapping) else found):
            chunks[i, j] = chunk
    groups = defaultdict(list)
    for at, chunk in chunks.items():
        groups[program.batch_slot(chunk).key].append(at)
    outputs: dict[tuple[int, int], Any] = {}
    errors: dict[int, str] = {}
    for group in groups.values():
        try:
            outputs |= zip(group, program.run([chunks[at] for at in group]), strict=True)
        except (RuntimeError, TooShortError) as error:
            errors |= {i: str(error.__cause__ or error) for i, _ in group}
    answers: list[Any] = []
    for i in range(len(inputs)):
        own = [value for (of, _), value in sorted(outputs.items(), key=lambda x: x[0]) if of == i]
        chunked = isinstance(pipe, transformers.pipelines.base.ChunkPipeline)
        answers.append(errors.get(i) or pipe.postprocess(own if chunked else own[0], **after))
    return answers, max(map(len, groups.values()))


def check(
    task: str, model: str, parameters: Mapping[str, Any], inputs: Sequence[Any]
) -> tuple[list[Any], int]:
    stock = transformers.pipeline(task, model, device="cpu")
    expected = [answer(stock, x, parameters) for x in inputs]
    found, largest = together(task, model, parameters, inputs)
    for i, (one, other) in enumerate(zip(expected, found, strict=True)):
        assert same(one, other, 1e-4), (i, one, other)
    return expected, largest


# PyTorch's word on how transformers calls it for WavLM.
@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
@pytest.mark.parametrize("task", HEADS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_too_short_alone_is_too_short_in_company(
    kind: str, task: str, model: Model
) -> None:
    sounds = [sound(f"short {n}", n / RATE) for n in SAMPLES]
    sounds[1] = np.full(200, 0.1, np.float32)
    expected, largest = check(task, model(f"{kind}-{task}"), {}, sounds)
    assert ["Kernel size" in str(each) for each in expected] == [n < FRAME for n in SAMPLES]
    assert largest == sum(n >= FRAME for n in SAMPLES)


def test_a_last_chunk_may_be_too_short(model: Model) -> None:
    sounds = [sound(f"chunks {n}", 1 + n / RATE) for n in (0, 1, FRAME - 1, FRAME, 8000)]
    cut = {"chunk_length_s": 0.5, "stride_length_s": (0, 0), "return_timestamps": "char"}
    expected, largest = check(SPEECH, model(f"wav2vec2-{SPEECH}"), cut, sounds)
    assert [isinstance(each, str) for each in expected] == [False, True, True, False, False]
    assert largest > 8


@pytest.mark.parametrize("task", HEADS)
def test_a_sound_that_is_too_short_is_a_failure_row(
    task: str, model: Model, run: Callable[..., Any]
) -> None:
    sounds = [sound("company", 1.0), np.full(200, 0.1, np.float32), sound("more", 0.7)]
    transform = pipeline(task, model(f"wav2vec2-{task}"), keyed=True)
    said = f"the sound has 200 samples, and the model takes {FRAME} at least"
    with pytest.raises(ElementError, match=said):
        run(list(enumerate(sounds)), transform)
    assert len(run([(0, sounds[0]), (2, sounds[2])], transform)) == 2


def test_no_padding_where_a_norm_makes_something_of_it() -> None:
    config = transformers.HubertConfig(**{**WAV2VEC2, **LAYER}, conv_pos_batch_norm=True)
    assert not pads_samples(config)
    assert not pads_samples(transformers.Wav2Vec2Config(**{**WAV2VEC2, **ADAPTER}))
    assert pads_samples(transformers.HubertConfig(**{**WAV2VEC2, **LAYER}))


def test_frames_that_are_counted_alone_are_counted_in_company(model: Model) -> None:
    sounds = [sound(f"odd {i}", 0.985) for i in range(6)]
    chunk = next(
        factory.load(ModelSpec(task=SPEECH, source=model("wav2vec2-bert-ctc"))).preprocess(
            sounds[0]
        )
    )
    expected, largest = check(SPEECH, model("wav2vec2-bert-ctc"), {}, sounds)
    assert largest == 6
    assert len({str(each) for each in expected}) > 3
    assert not chunk["attention_mask"].all()


SPOKEN = [sound(f"w{i}", (0.3, 1.9, 0.7, 1.2, 1.6, 0.5, 1.0, 2.0)[i % 8]) for i in range(16)]
LONG = [sound(f"l{i}", (3.3, 5.1, 2.7, 4.0)[i % 4]) for i in range(8)]
CHUNKS = {"chunk_length_s": 1, "ignore_warning": True}
WORDS = {"return_timestamps": "word"}
BEAMS = {"generate_kwargs": {"num_beams": 3}}


@pytest.mark.parametrize(
    ("parameters", "inputs"),
    [
        (WORDS, SPOKEN[:6]),
        ({**WORDS, **CHUNKS}, LONG[:2]),
        pytest.param({**WORDS, **CHUNKS}, LONG, marks=pytest.mark.slow),
        pytest.param({**WORDS, **BEAMS}, SPOKEN, marks=pytest.mark.slow),
        pytest.param(WORDS, [sound(f"m{i}", 4.2) for i in range(6)], marks=pytest.mark.slow),
        pytest.param({"return_timestamps": True}, LONG, marks=pytest.mark.slow),
    ],
    ids=["alone", "chunks", "many", "beams", "long", "segments"],
)
def test_words_have_the_times_of_their_own_row(
    parameters: Mapping[str, Any], inputs: Sequence[Any], model: Model
) -> None:
    expected, largest = check(SPEECH, model("whisper"), parameters, inputs)
    assert largest > 1
    assert len({str(each) for each in expected}) == len(inputs)


@pytest.mark.parametrize(
    "parameters",
    [
        {"logits_processor": transformers.LogitsProcessorList()},
        {"stopping_criteria": transformers.StoppingCriteriaList()},
        {"prefix_allowed_tokens_fn": lambda batch, ids: [5, 6, 7]},
        {"max_time": 100.0},
        {"token_healing": True},
    ],
    ids=lambda parameters: next(iter(parameters)),
)
def test_what_may_look_at_a_whole_batch_runs_alone(
    parameters: Mapping[str, Any], model: Model
) -> None:
    pipe = factory.load(ModelSpec(task="text-generation", source=model("llama-lm")))
    assert padding_of(pipe, {}).can_batch
    assert not padding_of(pipe, parameters).can_batch


@pytest.mark.parametrize(
    "parameters",
    [
        {"no_speech_threshold": 0.0, "logprob_threshold": -1.0},
        {"compression_ratio_threshold": 1.35, "temperature": (0.0, 0.2)},
        {"condition_on_prev_tokens": True},
        {"return_dict_in_generate": True},
        {"return_language": True},
    ],
    ids=lambda parameters: next(iter(parameters)),
)
def test_whisper_looks_again_at_some_rows_of_a_batch(
    parameters: Mapping[str, Any], model: Model
) -> None:
    pipe = factory.load(ModelSpec(task=SPEECH, source=model("whisper")))
    assert padding_of(pipe, {"return_timestamps": "word"}).can_batch
    assert not padding_of(pipe, parameters).can_batch
