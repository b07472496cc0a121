"""Inputs with their media decoded, and with stand-ins in their place once they are features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import audio
from .limits import MediaLimits


def decoded(example: Any, media: Mapping[str, str], pipe: Any, limits: MediaLimits) -> Any:
    """The same input with every medium decoded. Raises MediaError."""
    return _mapped(example, media, lambda kind, value: _decode(kind, value, pipe, limits))


def stand_in(example: Any, media: Mapping[str, str]) -> Any:
    """The same input with something small of the right type for every medium."""
    return _mapped(example, media, lambda kind, value: np.zeros(1, np.float32))


def _mapped(example: Any, media: Mapping[str, str], change: Any) -> Any:
    if not media:
        return example
    if isinstance(example, Mapping) and media.keys() & example.keys():
        kinds = {k: media[k] for k in media.keys() & example.keys() if example[k] is not None}
        return {**example, **{k: change(kind, example[k]) for k, kind in kinds.items()}}
    return change(next(iter(media.values())), example)


def _decode(kind: str, value: Any, pipe: Any, limits: MediaLimits) -> Any:
    extractor = pipe.feature_extractor or pipe.processor.feature_extractor
    return audio.decode(value, extractor.sampling_rate, limits)
