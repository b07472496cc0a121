"""Feature extraction with the pooling that sentence encoders are trained for."""

from __future__ import annotations

from typing import Any

import torch
from transformers.pipelines.feature_extraction import (
    FeatureExtractionPipeline as _FeatureExtractionPipeline,
)

from ..names import shown

POOLINGS = ("mean", "cls", "last", "max")


class FeatureExtractionPipeline(_FeatureExtractionPipeline):  # type: ignore[misc]
    """transformers' pipeline, and one vector per text where `pooling` asks for it.

    Without `pooling` the answer is transformers' own: a nested list (1, tokens, hidden).
    With it, a list of `hidden` floats, of length 1 where `normalize` is True; pooled beside
    the model, so that only the vector travels.
    """

    def _sanitize_parameters(
        self, pooling: str | None = None, normalize: bool | None = None, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if pooling is not None and pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, got {shown(pooling)}")
        if normalize and pooling is None:
            raise ValueError(f"normalize=True needs a pooling: {', '.join(POOLINGS)}")
        kwargs["tokenize_kwargs"] = dict(kwargs.get("tokenize_kwargs") or {})
        preprocess, forward, postprocess = super()._sanitize_parameters(**kwargs)
        if pooling is not None:
            forward |= {"pooling": pooling, "normalize": bool(normalize)}
        return preprocess, forward, postprocess

    def _forward(
        self, model_inputs: Any, pooling: str | None = None, normalize: bool = False
    ) -> Any:
        if pooling is None:
            # Caches and attentions are not read by postprocess: they would only travel.
            return {"last_hidden_state": self.model(**model_inputs)[0]}
        hidden = self.model(**model_inputs)[0]
        mask = model_inputs.get("attention_mask")
        if mask is None:
            mask = torch.ones(hidden.shape[:2], device=hidden.device, dtype=torch.long)
        vector = pool(hidden, mask, pooling)
        return {"embedding": torch.nn.functional.normalize(vector, dim=-1) if normalize else vector}

    def postprocess(self, model_outputs: Any, return_tensors: bool = False) -> Any:
        """The nested list or tensor of features, or the pooled vector."""
        pooled = model_outputs.get("embedding")
        features = model_outputs["last_hidden_state"] if pooled is None else pooled[0]
        return features if return_tensors else features.tolist()


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """One vector per row. hidden: (rows, tokens, size), mask: (rows, tokens); (rows, size) out."""
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    if pooling == "max":
        return hidden.masked_fill(weights == 0, float("-inf")).amax(1)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
