"""Video classification of frames that are decoded here, without ffmpeg on the machine."""

from __future__ import annotations

from typing import Any

import numpy as np
from transformers.pipelines.video_classification import (
    VideoClassificationPipeline as _VideoClassificationPipeline,
)
from transformers.video_utils import VideoMetadata


class VideoClassificationPipeline(_VideoClassificationPipeline):  # type: ignore[misc]
    """transformers' pipeline for a `media.video.Video`: the frames it takes are the same."""

    def preprocess(
        self, video: Any, num_frames: int | None = None, frame_sampling_rate: int = 1
    ) -> Any:
        """The model's features: of the first frames for an image processor, else of all."""
        count = num_frames or self.model.config.num_frames
        if getattr(self, "video_processor", None) is None:
            last = count * frame_sampling_rate - 1
            frames = video.frames(np.linspace(0, last, num=count, dtype=np.int64))
            return self.image_processor(list(frames), return_tensors="pt").to(self.dtype)
        whole = VideoMetadata(total_num_frames=len(video))
        indices = self.video_processor.sample_frames(metadata=whole, num_frames=count)
        frames = video.frames([int(index) for index in indices])
        features = self.video_processor(frames, do_sample_frames=False, return_tensors="pt")
        return features.to(self.dtype)
