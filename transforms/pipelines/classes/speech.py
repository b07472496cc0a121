"""The audio pipelines where transformers' own cannot be batched or split as they are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers.pipelines.automatic_speech_recognition import (
    AutomaticSpeechRecognitionPipeline as _AutomaticSpeechRecognitionPipeline,
)
from transformers.pipelines.text_to_audio import DEFAULT_VOCODER_ID
from transformers.pipelines.text_to_audio import TextToAudioPipeline as _TextToAudioPipeline
from transformers.pipelines.zero_shot_audio_classification import (
    ZeroShotAudioClassificationPipeline as _ZeroShotAudioClassificationPipeline,
)

from ..declared import UnpaddedPipeline
from ..generation import generation_parameters
from ..waveforms import pads_samples
from .zero_shot_image import own_labels


class AutomaticSpeechRecognitionPipeline(_AutomaticSpeechRecognitionPipeline):  # type: ignore[misc]
    """transformers' pipeline, whose rows of a batch can be told apart."""

    def _forward(self, model_inputs: Any, **keywords: Any) -> Any:
        mask = model_inputs.get("attention_mask")
        rows = len(next(each for each in model_inputs.values() if isinstance(each, torch.Tensor)))
        if rows > 1 and self.type == "seq2seq_whisper":
            end: Any = generation_parameters(self, keywords).get("eos_token_id")
            with _timed_by_row(self.model, set(np.atleast_1d(end).tolist())):
                outputs = super()._forward(model_inputs, **keywords)
        else:
            outputs = super()._forward(model_inputs, **keywords)
        if self.type in ("ctc", "ctc_with_lm") and rows > 1 and pads_samples(self.model.config):
            outputs["lengths"] = self.model._get_feat_extract_output_lengths(mask.sum(-1))
        if isinstance(times := outputs.get("token_timestamps"), list):
            # One tensor for each row; what follows a row's own is not looked at.
            outputs["token_timestamps"] = pad_sequence(times, batch_first=True)
        return outputs

    def postprocess(self, model_outputs: Any, **keywords: Any) -> Any:
        """The text, and with timestamps its chunks."""
        for outputs in model_outputs:
            length = outputs.pop("lengths", None)
            if length is not None:
                frames = "logits" if self.type == "ctc_with_lm" else "tokens"
                outputs[frames] = outputs[frames][:, : int(length)]
        return super().postprocess(model_outputs, **keywords)


@contextlib.contextmanager
def _timed_by_row(whisper: Any, ends: set[Any]) -> Iterator[None]:
    """Meanwhile the times of a row's tokens come from the attention of its own steps.

    transformers normalises it over all steps of a batch, those after the row's end, too.
    """
    timed = whisper._extract_token_timestamps

    def by_row(outputs: Any, *args: Any, num_frames: Any = None, **keywords: Any) -> torch.Tensor:
        times = []
        for i in range(len(outputs.sequences)):
            frames = num_frames if np.ndim(num_frames) == 0 else num_frames[i : i + 1]
            row = _row_of(outputs, i, keywords["num_input_ids"], ends)
            times.append(timed(row, *args, num_frames=frames, **keywords)[0])
        return pad_sequence(times, batch_first=True)

    whisper._extract_token_timestamps = by_row
    try:
        yield
    finally:
        del whisper._extract_token_timestamps


def _row_of(outputs: Any, i: int, prompt: int, ends: set[Any]) -> Any:
    """What generating row `i` alone after `prompt` tokens would have given, for its times."""
    tokens = outputs.sequences[i, prompt:].tolist()
    steps = next((n for n, token in enumerate(tokens, 1) if token in ends), len(tokens))
    first, after, beams = i, i + 1, {}
    if "beam_indices" in outputs:  # at which row of the attention each step is
        own = outputs.beam_indices[i]
        own = own[own != -1]
        steps, first, after = len(own), int(own.min()), int(own.max()) + 1
        beams = {"beam_indices": own[None] - first}
    return type(outputs)(
        sequences=outputs.sequences[i : i + 1, : prompt + steps],
        cross_attentions=tuple(
            tuple(layer[first:after] for layer in step) for step in outputs.cross_attentions[:steps]
        ),
        **beams,
    )


class ZeroShotAudioClassificationPipeline(_ZeroShotAudioClassificationPipeline):  # type: ignore[misc]
    """transformers' pipeline; it takes {"audio", "candidate_labels"}, too."""

    def __call__(self, audio: Any, candidate_labels: Any = None, **kwargs: Any) -> Any:
        """Scores of the labels for a sound: its own, or else those of the call."""
        given = own_labels(audio, candidate_labels, "audio")
        return super().__call__(given.pop("audio"), **given, **kwargs)


class TextToAudioPipeline(UnpaddedPipeline, _TextToAudioPipeline):  # type: ignore[misc]
    """transformers' pipeline with the vocoder as a parameter, loaded beside the model.

    Spectrograms become sound by a vocoder: transformers would download its default one wherever
    a pipeline is made, for the stages around the model, too.
    """

    vocoder: Any

    @property
    def can_batch(self) -> bool:
        """Whether texts of equal length share a batch: where all sounds have one length.

        Otherwise a convolution hears what follows the end of a sound.
        """
        return bool(self.model.config.model_type == "musicgen")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._vocoders: dict[str, Any] = {}
        # Its sampling rate is that of the vocoder in use, which every answer carries.
        unloaded = SimpleNamespace(config=SimpleNamespace(sampling_rate=None))
        super().__init__(*args, **{"vocoder": unloaded, **kwargs})
        self._vocodes = self.vocoder is unloaded
        if self._vocodes:
            self.vocoder = None

    def _sanitize_parameters(
        self, vocoder: str | None = None, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        preprocess, forward, postprocess = super()._sanitize_parameters(**kwargs)
        if kwargs.get("generate_kwargs") and not self.model.can_generate():
            raise ValueError(
                "generate_kwargs: the model does not generate token by token. Its parameters go "
                "into forward_params"
            )
        forward["forward_params"] = _tensors(forward["forward_params"])
        if vocoder is not None:
            forward["vocoder"] = vocoder
        return preprocess, forward, postprocess

    def _forward(self, model_inputs: Any, vocoder: str | None = None, **keywords: Any) -> Any:
        if self._vocodes:
            self.vocoder = self._loaded(vocoder or DEFAULT_VOCODER_ID)
        outputs = super()._forward(model_inputs, **keywords)
        rate = self.vocoder.config.sampling_rate if self._vocodes else self.sampling_rate
        audio = outputs if isinstance(outputs, Mapping) else {"audio": outputs}
        return {**audio, "sampling_rate": rate}

    def postprocess(self, audio: Any) -> Any:
        """The sound and its sampling rate."""
        outputs = {name: value for name, value in audio.items() if name != "sampling_rate"}
        return {**super().postprocess(outputs), "sampling_rate": audio["sampling_rate"]}

    def _loaded(self, name: str) -> Any:
        if name not in self._vocoders:
            from transformers import SpeechT5HifiGan

            loaded = SpeechT5HifiGan.from_pretrained(name, use_safetensors=True)
            self._vocoders[name] = loaded.to(self.device).eval()
        return self._vocoders[name]


def _tensors(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Speaker embeddings and the like come as lists from YAML files."""
    return {
        name: torch.tensor(value) if isinstance(value, list) else value
        for name, value in parameters.items()
    }
