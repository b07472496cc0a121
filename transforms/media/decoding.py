"""Inputs with their media decoded, and with stand-ins in their place once they are features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .limits import MediaLimits

Kinds = Mapping[str, str]


def decoded(example: Any, media: Kinds, pipe: Any, limits: MediaLimits) -> Any:
    """The same input with every medium decoded, as a pipeline takes them. Raises MediaError.

    Args:
      example: a medium, or a mapping of inputs.
      media: the kind of each input that is a medium: "image", "images", "audio" or "video".
      pipe: the pipeline, loaded or weightless.
      limits: how large media may be.

    """
    return _changed(example, media, lambda kind, value: _decode(kind, value, pipe, limits))


def stand_in(example: Any, media: Kinds) -> Any:
    """The same input with something small of the right type for every medium.

    It is what the pipeline's call is shown when it shapes the results.
    """
    return _changed(example, media, _stand_in)


def _changed(example: Any, media: Kinds, change: Callable[[str, Any], Any]) -> Any:
    if not media:
        return example
    if isinstance(example, Mapping) and media.keys() & example.keys():
        present = [name for name in media if example.get(name) is not None]
        return {**example, **{name: change(media[name], example[name]) for name in present}}
    return change(next(iter(media.values())), example)


def _decode(kind: str, value: Any, pipe: Any, limits: MediaLimits) -> Any:
    if kind == "images" and isinstance(value, list | tuple):
        return [_decode("image", each, pipe, limits) for each in value]
    if kind in ("image", "images"):
        from . import image

        return image.decode(value, limits)
    if kind == "video":
        from . import video

        return video.decode(value, limits)
    raise NotImplementedError(kind)


def _stand_in(kind: str, value: Any) -> Any:
    if kind == "images" and isinstance(value, list | tuple):
        return [_stand_in("image", each) for each in value]
    if kind in ("image", "images"):
        from PIL import Image

        return Image.new("RGB", (1, 1))
    if kind == "video":
        return np.zeros((1, 1, 1, 3), np.uint8)
    raise NotImplementedError(kind)
