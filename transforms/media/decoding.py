"""Examples with their media decoded, or replaced by placeholders once they are features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, wait
from typing import TYPE_CHECKING, Any

import numpy as np

from ..options.media_limits import MediaLimits
from ..options.shown import shown
from .fetch import MediaError

if TYPE_CHECKING:
    from ..tasks import Task


#: Kinds of inputs that hold one medium or a list, and the kind of each medium.
_SEVERAL = {
    "images": "image",
    "chat_images": "chat_image",
    "videos": "video",
    "chat_audios": "chat_audio",
}
#: The kinds of media in chats: the model's processor reads them differently from a pipeline.
_IN_CHATS = {"image": "chat_image", "audio": "chat_audio", "video": "video"}
#: The keys of a chat's block that may hold its medium.
_SOURCES = {
    "image": ("image", "url", "path", "base64"),
    "video": ("video", "url", "path"),
    "audio": ("audio", "url", "path"),
}


class Decoding:
    """A medium that a thread decodes: see decode_ahead.py."""

    def __init__(self, pool: Executor, decode: Callable[[], Any], nbytes: int) -> None:
        self._future = pool.submit(_collecting, decode)
        #: Bytes that it will have.
        self.nbytes = nbytes

    def done(self) -> bool:
        """Whether it is decoded, or has failed."""
        return self._future.done()

    def wait(self) -> None:
        """Wait until it is done."""
        wait([self._future])

    def cancel(self) -> None:
        """Do not begin, if no thread has."""
        self._future.cancel()

    def result(self) -> Any:
        """The medium. Raises what its decoding has raised."""
        from . import suspects

        found, counted = self._future.result()
        for each in counted:
            suspects.count(*each)
        return found


def _collecting(decode: Callable[[], Any]) -> tuple[Any, list[tuple[str, str]]]:
    from . import suspects  # with Beam, which an engine's process does without

    with suspects.collected() as counted:
        return decode(), counted


def decoded(example: Any, task: Task, pipe: Any, limits: MediaLimits) -> Any:
    """The example with every medium decoded, as a pipeline takes them. Raises MediaError.

    Args:
      example: a medium, or a mapping of inputs; a medium may be a future of its bytes, or an image
        that a thread decodes.
      task: declares which inputs are media, and of what kind.
      pipe: the pipeline, loaded or weightless.
      limits: upper bounds of the sizes of media.

    """

    def change(kind: str, value: Any) -> Any:
        if isinstance(value, Decoding):
            return value.result()
        source = value.result() if isinstance(value, Future) else value
        return _decode(kind, source, pipe, limits)

    return map_media(example, task, change)


def map_media(example: Any, task: Task, change: Callable[[str, Any], Any]) -> Any:
    """The example with `change(kind, medium)` in place of every medium, also in lists and chats.

    Kinds are "image", "audio" and "video", and "chat_image" and "chat_audio" for those that
    transformers leaves to the model's processor.
    """

    def change_input(kind: str, value: Any) -> Any:
        if kind in _SEVERAL and isinstance(value, list | tuple):
            return [change(_SEVERAL[kind], item) for item in value]
        if kind == "chat":
            return _chat(value, change)
        if kind == "assets":
            return _assets(value, change)
        return change(_SEVERAL.get(kind, kind), value)

    return _changed(example, task, change_input)


def stand_in(example: Any, task: Task) -> Any:
    """The example with a tiny placeholder of the right type for every medium.

    Postprocessing needs the example's structure, but not its media.
    """
    return _changed(example, task, _stand_in)


class Messages(list[Any]):
    """The messages of a chat with changed media; `given` keeps the original messages."""

    def __init__(self, messages: list[Any], given: list[Any]) -> None:
        super().__init__(messages)
        self.given = given

    def changed(self, change: Callable[[Any], Any]) -> Messages:
        """The messages with `change` applied to every block of their content."""
        return Messages([_message(message, change) for message in self], self.given)


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
    if kind == "image":
        from . import image

        return image.decode(value, limits)
    if kind == "video":
        from . import video

        return video.decode(value, limits)
    if kind == "audio":
        from . import audio

        return audio.decode(value, _rate(pipe), limits)
    if kind == "chat_image":
        from . import chat

        return chat.image(value, getattr(pipe, "processor", None), limits)
    if kind == "chat_audio":
        from . import chat

        return chat.audio(value, _rate(pipe), limits)
    raise NotImplementedError(kind)


def _stand_in(kind: str, value: Any) -> Any:
    if kind in _SEVERAL and isinstance(value, list | tuple):
        return [_stand_in(_SEVERAL[kind], item) for item in value]
    kind = _SEVERAL.get(kind, kind).removeprefix("chat_")
    if kind == "image":
        from PIL import Image

        return Image.new("RGB", (1, 1))
    if kind == "video":
        return np.zeros((1, 1, 1, 3), np.uint8)
    if kind == "audio":
        return np.zeros(1, np.float32)
    if kind == "chat":
        return value  # the original: its images were decoded into a copy
    if kind == "assets":
        return {name: _stand_in("image", each) for name, each in value.items()}
    raise NotImplementedError(kind)


def _rate(pipe: Any) -> int:
    extractor = pipe.feature_extractor or getattr(pipe.processor, "feature_extractor", None)
    if extractor is None:
        raise MediaError("the model takes no audio")
    rate: int = extractor.sampling_rate
    return rate


def _chat(value: Any, change: Callable[[str, Any], Any]) -> Any:
    """A chat with the media of its blocks changed; a text is unchanged."""
    if not isinstance(value, list):
        return value
    given = value.given if isinstance(value, Messages) else value
    return Messages(value, given).changed(lambda block: _block(block, change))


def _assets(value: Any, change: Callable[[str, Any], Any]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"assets must be a mapping from names to images, got {shown(value)}")
    return {name: change("image", _asset(item)) for name, item in value.items()}


def _asset(value: Any) -> Any:
    """An image; or the base64 in {"type": "image", "data_base64": …}, as in decision requests."""
    return value["data_base64"] if isinstance(value, Mapping) and "data_base64" in value else value


def _message(message: Any, change: Callable[[Any], Any]) -> Any:
    """The message with every block of its content changed."""
    content = message.get("content") if isinstance(message, Mapping) else None
    if not isinstance(content, list):
        return message
    return {**message, "content": [change(block) for block in content]}


def _block(block: Any, change: Callable[[str, Any], Any]) -> Any:
    """A block of a message's content, with its medium changed."""
    if isinstance(block, Mapping) and block.get("type") == "image_url":  # OpenAI's format
        url = block.get("image_url")
        block = {"type": "image", "url": url.get("url") if isinstance(url, Mapping) else url}
    kind = block.get("type") if isinstance(block, Mapping) else None
    if not isinstance(kind, str | None):
        raise TypeError(
            "the type of a block of a chat must be a string, such as 'image' or 'text', got "
            f"{shown(kind)}"
        )
    if kind not in _SOURCES:
        return block
    names = [name for name in _SOURCES[kind] if block.get(name) is not None]
    if not names:
        return block
    others = {name: value for name, value in block.items() if name not in names}
    return {**others, kind: change(_IN_CHATS[kind], block[names[0]])}
