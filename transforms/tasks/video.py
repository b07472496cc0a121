"""The video tasks. Columns carry the names of Hugging Face's inference types; see text.py."""

import os
from collections.abc import Mapping, Sequence

import numpy as np

from .task import Task
from .text import Label

#: The types of a video input, see media/video.py.
VIDEO = (bytes, bytearray, memoryview, str, os.PathLike, Mapping, np.ndarray)

TASKS = (
    Task(
        name="video-classification",
        transform="VideoClassification",
        inputs={"video": VIDEO},
        media={"video": "video"},
        parameters={
            "top_k": 5,
            "num_frames": None,
            "frame_sampling_rate": 1,
            "function_to_apply": None,
        },
        columns=lambda parameters: {"predictions": Sequence[Label]},
        values=lambda inference, parameters: {"predictions": inference},
        pipeline="transforms.pipelines.classes.video_classification:VideoClassificationPipeline",
        outputs=frozenset({"logits"}),
    ),
)
