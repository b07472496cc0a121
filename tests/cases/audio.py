"""The cases of the audio tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import transformers
from support.models.speech import SPEAKS
from support.sounds import SOUNDS

from cases.case import Case, Model, OwnLabels
from transforms.tasks import canonical

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


@dataclass(frozen=True, eq=False)
class AudioCase(Case):
    """Asked about all sounds, where nothing else is said."""

    inputs: Sequence[Any] = tuple(SOUNDS)

    different: ClassVar[float] = 0.7


@dataclass(frozen=True, eq=False)
class LabelledSounds(AudioCase, OwnLabels):
    """With labels for each sound."""


@dataclass(frozen=True, eq=False)
class SpokenCase(AudioCase):
    """Spoken by a vocoder, which transformers' pipeline takes when it is made."""

    def arguments(self, model: Model) -> dict[str, Any]:
        return {**self.parameters, "vocoder": model(self.parameters["vocoder"])}

    def reference(self, model: Model) -> list[Any]:
        vocoder = transformers.SpeechT5HifiGan.from_pretrained(model(self.parameters["vocoder"]))
        pipe = transformers.pipeline(
            self.task, self.directory(model), device="cpu", vocoder=vocoder
        )
        forward = dict(self.parameters["forward_params"])
        forward["speaker_embeddings"] = torch.tensor(forward["speaker_embeddings"])
        return [pipe(text, forward_params=dict(forward)) for text in self.inputs]


CASES = [
    AudioCase("audio-classification", "wav2vec2-group-keywords"),
    AudioCase("audio-classification", "wav2vec2-group-keywords", {"top_k": 2}),
    AudioCase("audio-classification", "wav2vec2-layer-keywords"),
    AudioCase("audio-classification", "hubert-layer-keywords", {"function_to_apply": "sigmoid"}),
    AudioCase("audio-classification", "ast-keywords"),
    AudioCase("automatic-speech-recognition", "wav2vec2-group-ctc"),
    AudioCase("automatic-speech-recognition", "wav2vec2-layer-ctc"),
    AudioCase("automatic-speech-recognition", "wav2vec2-layer-ctc", {"return_timestamps": "word"}),
    AudioCase("automatic-speech-recognition", "wav2vec2-adapter-ctc"),
    AudioCase("automatic-speech-recognition", "hubert-layer-ctc", {"return_timestamps": "char"}),
    AudioCase("automatic-speech-recognition", "wav2vec2-group-ctc", {"chunk_length_s": 1}),
    AudioCase("automatic-speech-recognition", "whisper"),
    AudioCase(
        "automatic-speech-recognition", "whisper", {"return_timestamps": True, "num_beams": 1}
    ),
    AudioCase("automatic-speech-recognition", "whisper", {"return_timestamps": "word"}),
    AudioCase(
        "automatic-speech-recognition",
        "whisper",
        {"return_language": True, "generate_kwargs": {"num_beams": 1, "task": "transcribe"}},
        largest=0,
    ),
    AudioCase(
        "automatic-speech-recognition",
        "whisper",
        {"chunk_length_s": 1, "return_timestamps": True, "ignore_warning": True},
    ),
    AudioCase("automatic-speech-recognition", "moonshine"),
    AudioCase("automatic-speech-recognition", "moonshine", {"chunk_length_s": 1, "num_beams": 1}),
    AudioCase("zero-shot-audio-classification", "clap", LABELS, HEARD),
    LabelledSounds("zero-shot-audio-classification", "clap", LABELS, OWN_LABELS),
    AudioCase("zero-shot-audio-classification", "clap-fused", {**LABELS, **TEMPLATE}, HEARD),
    AudioCase("text-to-audio", "vits", inputs=SENTENCES, largest=0),
    AudioCase("text-to-speech", "vits-stochastic", inputs=SENTENCES, largest=0),
    SpokenCase("text-to-audio", "speecht5", VOICE, SENTENCES, largest=0),
    AudioCase("text-to-audio", "musicgen", inputs=SENTENCES),
    AudioCase(
        "automatic-speech-recognition",
        "wav2vec2-layer-ctc",
        {"chunk_length_s": 0.6, "stride_length_s": (0.1, 0.2), "return_timestamps": "char"},
    ),
]
if not SPEAKS:
    CASES = [case for case in CASES if canonical(case.task) != "text-to-audio"]
