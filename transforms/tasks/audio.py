"""The audio tasks.

Columns carry the names of Hugging Face's inference types; annotations are not postponed, as in
text.py.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional

import numpy as np

from ..options.late import Tensor
from .columns import Audio
from .input_structures import itself
from .task import Columns, Parameters, Task
from .text import LABELS, Label
from .text_checks import GENERATION, labels, template, text, texts

#: The types of an audio input, see media/audio.py.
AUDIO = (
    *(str, bytes, bytearray, memoryview, os.PathLike, Mapping),
    *(np.ndarray, Tensor, list),
)
_PIPELINES = "transforms.pipelines.classes.speech:"


class Chunk(NamedTuple):
    """A piece of the transcript, with its start and end in seconds; the end may be unknown."""

    text: str
    timestamp: Optional[Sequence[Optional[float]]]
    language: Optional[str]


def _speech_columns(parameters: Parameters) -> Columns:
    chunks = parameters.get("return_timestamps") or parameters.get("return_language")
    return {"text": str, **({"chunks": Sequence[Chunk]} if chunks else {})}


def _audio_values(inference: Any, parameters: Parameters) -> Mapping[str, Any]:
    rate = inference["sampling_rate"]
    return {
        "audio": {"array": inference["audio"], "sampling_rate": rate},
        "sampling_rate": rate,
    }


TASKS = (
    Task(
        name="audio-classification",
        transform="AudioClassification",
        inputs={"audio": AUDIO},
        media={"audio": "audio"},
        lists="samples",
        parameters={"top_k": None, "function_to_apply": None},
        columns=lambda parameters: {"predictions": Sequence[Label]},
        values=lambda inference, parameters: {"predictions": inference},
        outputs=frozenset({"logits"}),
    ),
    Task(
        name="automatic-speech-recognition",
        transform="AutomaticSpeechRecognition",
        inputs={"audio": AUDIO},
        media={"audio": "audio"},
        lists="samples",
        parameters={
            "chunk_length_s": None,
            "stride_length_s": None,
            "ignore_warning": None,
            "decoder_kwargs": None,
            "return_timestamps": None,
            "return_language": None,
            "generate_kwargs": None,
        },
        texts={"hotwords": texts},  # in decoder_kwargs
        generates=True,
        choices={"return_timestamps": "word"},
        columns=_speech_columns,
        values=lambda inference, parameters: inference,
        pipeline=_PIPELINES + "AutomaticSpeechRecognitionPipeline",
    ),
    Task(
        name="zero-shot-audio-classification",
        transform="ZeroShotAudioClassification",
        inputs={"audio": AUDIO, "candidate_labels": LABELS},
        optional_inputs=frozenset({"candidate_labels"}),
        media={"audio": "audio"},
        lists="samples",
        structures={"candidate_labels": itself},
        parameters={
            "candidate_labels": None,
            "hypothesis_template": "This is a sound of {}.",
        },
        texts={"candidate_labels": labels, "hypothesis_template": template},
        columns=lambda parameters: {"predictions": Sequence[Label]},
        values=lambda inference, parameters: {"predictions": inference},
        pipeline=_PIPELINES + "ZeroShotAudioClassificationPipeline",
    ),
    Task(
        name="text-to-audio",
        transform="TextToAudio",
        aliases=("text-to-speech",),
        inputs={"text": (str, list)},
        lists="chat",
        parameters={
            "forward_params": None,
            "generate_kwargs": None,
            "preprocess_params": None,
            "processor_kwargs": None,
            "vocoder": None,
        },
        texts={**GENERATION, "vocoder": text},
        columns=lambda parameters: {"audio": Audio, "sampling_rate": int},
        values=_audio_values,
        outputs=frozenset({"audio", "waveform", "sequences", "sampling_rate"}),
        draws=True,
        pipeline=_PIPELINES + "TextToAudioPipeline",
    ),
)
