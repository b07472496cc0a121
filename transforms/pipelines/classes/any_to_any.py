"""Texts, images, sounds and videos to any of them, in three stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image
from transformers.pipelines.any_to_any import AnyToAnyPipeline as _AnyToAnyPipeline
from transformers.video_utils import VideoMetadata

from ...media.decoding import Messages
from ...media.video import Video
from .chats import Chats


class AnyToAnyPipeline(Chats, _AnyToAnyPipeline):  # type: ignore[misc]
    """transformers' pipeline; images are made of the model's tokens beside the model.

    Videos are decoded here: only the frames that the processor takes, without ffmpeg on the
    machine.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        processor = getattr(self.processor, "video_processor", None)
        if processor is not None:
            processor.fetch_videos = _fetching(processor.fetch_videos)

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """Answer a chat, a text, or a mapping of text, images, videos and audio."""
        if isinstance(inputs, Mapping):
            given = {name: value for name, value in inputs.items() if value is not None}
            inputs = given["text"] if given.keys() == {"text"} else {"text": None, **given}
        return super().__call__(inputs, **kwargs)

    def preprocess(self, inputs: Any = None, **kwargs: Any) -> Any:
        """The model's features, and the text or chat that they were made of."""
        if isinstance(inputs, Mapping) and inputs.get("videos") is not None:
            videos = inputs["videos"]
            several = isinstance(videos, list | tuple)
            inputs = {
                **inputs,
                "videos": list(map(_readable, videos)) if several else _readable(videos),
            }
        messages = getattr(inputs, "messages", None)
        if isinstance(messages, Messages):
            inputs = type(inputs)(messages.changed(_readable_block))
        return super().preprocess(inputs, **kwargs)

    def _forward(self, model_inputs: Any, **kwargs: Any) -> dict[str, Any]:
        asked = dict(kwargs.get("generate_kwargs") or {})
        mode = asked.get("generation_mode")
        if mode is None and hasattr(self.model, "has_talker"):
            asked["generation_mode"] = "text"  # else the model makes speech that no stage reads
        outputs: dict[str, Any] = super()._forward(model_inputs, generate_kwargs=asked)
        if mode == "audio":  # beside it, the text
            outputs["sound"] = outputs.pop("generated_sequence")[1]
        elif mode == "image":
            outputs["image"] = self._images(outputs.pop("generated_sequence"))
        return outputs

    def _images(self, tokens: Any) -> Any:
        """The numbers of images; transformers finds them in postprocess, which has no weights."""
        if not hasattr(self.model, "decode_image_tokens"):
            return tokens
        if tokens.ndim == 2:
            return self.model.decode_image_tokens(tokens)
        return self.model.decode_image_tokens(tokens.flatten(0, 1)).unflatten(0, tokens.shape[:2])

    def postprocess(self, model_outputs: Any, **kwargs: Any) -> Any:
        """What was asked, and the text, image or sound that answers it."""
        if "image" in model_outputs:
            return self._pictured(model_outputs, kwargs["generation_mode"])
        outputs = dict(model_outputs)
        if "sound" in outputs:
            outputs["generated_sequence"] = (None, outputs.pop("sound"))
        return super().postprocess(outputs, **kwargs)

    def _pictured(self, outputs: Any, mode: str) -> list[dict[str, Any]]:
        numbers = outputs["image"]
        numbers = numbers.flatten(0, 1) if numbers.ndim > 4 else numbers
        try:
            images = self.processor.post_process_multimodal_output(numbers, generation_mode=mode)
        except ValueError:  # transformers up to 5.24 asks Janus' processor for an unknown form
            found = self.processor.postprocess(list(numbers.float()), return_tensors="pt")
            images = [
                Image.fromarray(each.permute(1, 2, 0).numpy()) for each in found["pixel_values"]
            ]
        asked = outputs["text"]
        asked = getattr(asked, "messages", asked)
        return [{"input_text": asked, f"generated_{mode}": image} for image in images]


class _Name(str):
    """Stands for a video where a processor would load one by its path."""

    video: Video


def _readable(video: Any) -> Any:
    """A video as processors take them: frames as they are, a file by a name."""
    if not isinstance(video, Video):
        return video
    if video.array is not None:
        return video.array
    name = _Name("video")
    name.video = video
    return name


def _readable_block(block: Any) -> Any:
    if not isinstance(block, Mapping) or not isinstance(block.get("video"), Video):
        return block
    return {**block, "video": _readable(block["video"])}


def _fetching(stock: Callable[..., Any]) -> Callable[..., Any]:
    """A video processor's `fetch_videos`, for videos that are decoded here."""

    def fetch_videos(videos: Any, sample_indices_fn: Any = None) -> Any:
        if isinstance(videos, list):
            found = [fetch_videos(each, sample_indices_fn=sample_indices_fn) for each in videos]
            return list(zip(*found, strict=True))
        if not isinstance(videos, _Name):
            return stock(videos, sample_indices_fn=sample_indices_fn)
        return _sampled(videos.video, sample_indices_fn)

    return fetch_videos


def _sampled(video: Video, sample_indices_fn: Any) -> tuple[Any, VideoMetadata]:
    """The frames that are asked for, and what is known of the video."""
    count, rate = len(video), video.rate
    metadata = VideoMetadata(
        total_num_frames=count, fps=rate, duration=count / rate, video_backend="pyav"
    )
    indices = (
        np.arange(count) if sample_indices_fn is None else sample_indices_fn(metadata=metadata)
    )
    frames = video.frames([int(index) for index in indices])
    metadata.update(
        {"frames_indices": indices, "height": frames.shape[1], "width": frames.shape[2]}
    )
    return frames, metadata
