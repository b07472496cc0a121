"""Image feature extraction from which only the features asked for leave the model."""

from __future__ import annotations

from typing import Any

from transformers.pipelines.image_feature_extraction import (
    ImageFeatureExtractionPipeline as _ImageFeatureExtractionPipeline,
)
from transformers.utils import ModelOutput


class ImageFeatureExtractionPipeline(_ImageFeatureExtractionPipeline):  # type: ignore[misc]
    """transformers' pipeline; with `pool`, the vectors of patches stay where they were made."""

    def _sanitize_parameters(
        self, pool: bool | None = None, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        preprocess, forward, postprocess = super()._sanitize_parameters(pool=pool, **kwargs)
        return preprocess, {**forward, "pool": bool(pool)}, postprocess

    def _forward(self, model_inputs: Any, pool: bool = False) -> Any:
        outputs = super()._forward(model_inputs)
        pooled = pool and "pooler_output" in outputs
        name = "pooler_output" if pooled else next(iter(outputs))
        return ModelOutput({name: outputs[name]})
