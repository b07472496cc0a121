"""The cases of the video tasks."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from support.pictures import film

from cases.image import ImageCase

SIZES = [(12, 64, 48), (30, 48, 64), (9, 64, 48), (17, 80, 64), (12, 64, 48), (50, 32, 32)]
FILMS = [film(f"film {i}", *size) for i, size in enumerate(SIZES)]


def frames(data: bytes) -> Any:
    with av.open(io.BytesIO(data)) as container:
        return np.stack([each.to_ndarray(format="rgb24") for each in container.decode(video=0)])


@dataclass(frozen=True, eq=False)
class VideoCase(ImageCase):
    """Compared with the answers to all frames: transformers' decoder of files needs ffmpeg."""

    def ask(self, pipe: Any, example: Any, parameters: dict[str, Any]) -> Any:
        return pipe(frames(example), **parameters)


CASES = [
    VideoCase("video-classification", "videomae", {}, FILMS),
    VideoCase(
        "video-classification", "videomae", {"top_k": 2, "function_to_apply": "sigmoid"}, FILMS
    ),
    VideoCase("video-classification", "timesformer", {}, FILMS),
    VideoCase("video-classification", "timesformer", {"num_frames": 4}, FILMS),
]
