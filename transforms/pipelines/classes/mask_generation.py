"""Mask generation with the model in one place."""

from __future__ import annotations

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
        return {}, {**forward, "points": points}, postprocess

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
