"""Models of waveforms: whether their samples may be padded, and how many make a frame."""

from __future__ import annotations

from typing import Any

#: Model types in which a padded sample of a waveform, masked, changes nothing either, if each frame
#: is normalised by itself and not over the whole length (feat_extract_norm="layer").
PADS_SAMPLES_EXACTLY = frozenset({"hubert", "unispeech", "unispeech-sat", "wav2vec2", "wavlm"})


def pads_samples(config: Any) -> bool:
    """Whether samples of a waveform may be padded."""
    layer = getattr(config, "feat_extract_norm", None) == "layer"
    # The convolutions of an adapter see what follows a row's own frames, and so do those of the
    # positions where a norm before them makes something of nothing.
    follows = getattr(config, "add_adapter", False) or getattr(config, "conv_pos_batch_norm", False)
    return layer and not follows and config.model_type in PADS_SAMPLES_EXACTLY


def samples_of_a_frame(config: Any) -> int:
    """The samples that one frame is computed from: with fewer, the convolutions have no output.

    1 for a model that reads no waveform, or has not said how.
    """
    kernels, strides = getattr(config, "conv_kernel", None), getattr(config, "conv_stride", None)
    samples = 1
    if not isinstance(kernels, list | tuple) or not isinstance(strides, list | tuple):
        return samples
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples
