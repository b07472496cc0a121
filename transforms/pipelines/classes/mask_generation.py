"""Mask generation with the model in one place."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers.image_utils import load_image
from transformers.pipelines.mask_generation import (
    MaskGenerationPipeline as _MaskGenerationPipeline,
)


class MaskGenerationPipeline(_MaskGenerationPipeline):  # type: ignore[misc]
    """transformers' pipeline, whose preprocess runs the model: here all of that is forward's.

    An image's pixels are one chunk; its crops and points are run one after the other as before.
    """

    def _sanitize_parameters(
        self, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        points, forward, postprocess = super()._sanitize_parameters(**kwargs)
        points.pop("timeout", None)
        self._check_areas(forward)
        return {}, {**forward, "points": points}, postprocess

    def _check_areas(self, forward: Mapping[str, Any]) -> None:
        """Raises ValueError for an area to fill or drop where the processor does neither."""
        read = inspect.signature(self.image_processor.post_process_masks).parameters
        fills, drops = forward.get("max_hole_area"), forward.get("max_sprinkle_area")
        asked = {"max_hole_area": fills is not None, "max_sprinkle_area": (drops or 0) > 0}
        for name, is_asked in asked.items():
            if is_asked and name not in read:
                raise ValueError(f"{type(self.image_processor).__name__} has no {name}")

    def preprocess(self, image: Any) -> Iterator[dict[str, Any]]:
        """The image's pixels, (height, width, 3)."""
        yield {"pixels": torch.from_numpy(np.array(load_image(image))), "is_last": True}

    def _forward(
        self, model_inputs: Mapping[str, Any], points: Mapping[str, Any], **kwargs: Any
    ) -> dict[str, Any]:
        image = Image.fromarray(model_inputs["pixels"].cpu().numpy())
        parts = []
        for part in super().preprocess(image, **points):
            features = self._ensure_tensor_on_device(part, device=self.device)
            found = super()._forward(features, **kwargs)
            del found["is_last"]
            parts.append(found)
        return {"parts": parts, "is_last": True}

    def postprocess(self, model_outputs: Any, **kwargs: Any) -> Any:
        """Masks and their scores, best first, without duplicates."""
        parts = [dict(part) for outputs in model_outputs for part in outputs["parts"]]
        return super().postprocess(parts, **kwargs)
