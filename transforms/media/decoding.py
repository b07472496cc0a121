"""Inputs with their media decoded, and with stand-ins in their place once they are features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .limits import MediaLimits

if TYPE_CHECKING:
    from ..tasks import Task


def decoded(example: Any, task: Task, pipe: Any, limits: MediaLimits) -> Any:
    """The same input with every medium decoded, as a pipeline takes them. Raises MediaError.

    Args:
      example: a medium, or a mapping of inputs.
      task: whose inputs they are; it says which of them are media, and of what kind.
      pipe: the pipeline, loaded or weightless.
      limits: how large media may be.

    """
    return _changed(example, task, lambda kind, value: _decode(kind, value, pipe, limits))


def stand_in(example: Any, task: Task) -> Any:
    """The same input with something small of the right type for every medium.

    It is what the pipeline's call is shown when it shapes the results.
    """
    return _changed(example, task, _stand_in)


class Messages(list[Any]):
    """The messages of a chat with their images decoded, and as they were given."""

    def __init__(self, messages: list[Any], given: list[Any]) -> None:
        super().__init__(messages)
        self.given = given


def _changed(example: Any, task: Task, change: Callable[[str, Any], Any]) -> Any:
    media = task.media
    if not media:
        return example
    if isinstance(example, Mapping) and not task.is_plain(example):
        present = [name for name in media if example.get(name) is not None]
        return {**example, **{name: change(media[name], example[name]) for name in present}}
    first = next(iter(task.inputs))
    return change(media[first], example) if first in media else example


def _decode(kind: str, value: Any, pipe: Any, limits: MediaLimits) -> Any:
    if kind == "images" and isinstance(value, list | tuple):
        return [_decode("image", each, pipe, limits) for each in value]
    if kind in ("image", "images"):
        from . import image

        return image.decode(value, limits)
    if kind == "video":
        from . import video

        return video.decode(value, limits)
    if kind == "audio":
        from . import audio

        extractor = pipe.feature_extractor or pipe.processor.feature_extractor
        return audio.decode(value, extractor.sampling_rate, limits)
    if kind == "chat":
        return _chat(value, limits)
    if kind == "assets":
        return {name: _asset(each, limits) for name, each in value.items()}
    raise NotImplementedError(kind)


def _stand_in(kind: str, value: Any) -> Any:
    if kind == "images" and isinstance(value, list | tuple):
        return [_stand_in("image", each) for each in value]
    if kind in ("image", "images"):
        from PIL import Image

        return Image.new("RGB", (1, 1))
    if kind == "video":
        return np.zeros((1, 1, 1, 3), np.uint8)
    if kind == "audio":
        return np.zeros(1, np.float32)
    if kind == "chat":
        return value  # as it was given: its images were decoded into a copy
    if kind == "assets":
        return {name: _stand_in("image", each) for name, each in value.items()}
    raise NotImplementedError(kind)


def _chat(value: Any, limits: MediaLimits) -> Any:
    """A chat with its images decoded, wherever its content says that there is one; or a text."""
    if not isinstance(value, list):
        return value
    return Messages([_message(message, limits) for message in value], value)


def _asset(value: Any, limits: MediaLimits) -> Any:
    """An image; or {"type": "image", "data_base64": …}, as requests for decisions have it."""
    from . import image

    if isinstance(value, Mapping) and "data_base64" in value:
        value = value["data_base64"]
    return image.decode(value, limits)


def _message(message: Any, limits: MediaLimits) -> Any:
    content = message.get("content") if isinstance(message, Mapping) else None
    if not isinstance(content, list):
        return message
    return {**message, "content": [_block(block, limits) for block in content]}


def _block(block: Any, limits: MediaLimits) -> Any:
    """A piece of a message's content."""
    if not isinstance(block, Mapping) or block.get("type") != "image":
        return block
    names = [name for name in ("image", "url", "path", "base64") if name in block]
    if not names:
        return block
    from . import image

    others = {name: value for name, value in block.items() if name not in names}
    return {**others, "image": image.decode(block[names[0]], limits)}
