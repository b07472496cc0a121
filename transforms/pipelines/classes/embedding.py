"""Feature extraction with the pooling that sentence encoders are trained for."""

from __future__ import annotations

from typing import Any

import torch
from transformers.pipelines.feature_extraction import (
    FeatureExtractionPipeline as _FeatureExtractionPipeline,
)

from ...options.shown import shown

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
            preprocess = {**preprocess, "pooling": pooling}
            forward |= {"pooling": pooling, "normalize": bool(normalize)}
        return preprocess, forward, postprocess

    def preprocess(self, inputs: Any, pooling: str | None = None, **tokenize_kwargs: Any) -> Any:
        """The tokenizer's encoding, (1, tokens) tensors.

        With `pooling` it always says which tokens are padding: in `attention_mask`, or where the
        model is not to be given one, in `token_mask`.

        Raises ValueError for a text without tokens, and where padding cannot be told from it.
        """
        if pooling is None:
            return super().preprocess(inputs, **tokenize_kwargs)
        masked = tokenize_kwargs.get("return_attention_mask")
        if masked is None:
            masked = "attention_mask" in self.tokenizer.model_input_names
        tokenize_kwargs["return_attention_mask"] = True
        features = super().preprocess(inputs, **tokenize_kwargs)
        if "attention_mask" not in features:
            if tokenize_kwargs.get("padding") not in (None, False, "do_not_pad"):
                raise ValueError(
                    f"pooling needs to know which tokens are padding, but "
                    f"{type(self.tokenizer).__name__} returns no attention_mask: leave out "
                    f"padding={tokenize_kwargs['padding']!r}"
                )
            features["attention_mask"] = torch.ones_like(features["input_ids"])
        if not features["attention_mask"].any():
            raise ValueError(f"pooling={pooling!r} needs a token, but {inputs!r:.80} has none")
        if not masked:
            features["token_mask"] = features.pop("attention_mask")
        return features

    def _forward(
        self, model_inputs: Any, pooling: str | None = None, normalize: bool = False
    ) -> Any:
        if pooling is None:
            # Caches and attentions are not read by postprocess: they would only travel.
            return {"last_hidden_state": self.model(**model_inputs)[0]}
        features = dict(model_inputs)
        mask = features.pop("token_mask", None)
        if mask is None:
            mask = features["attention_mask"]
        vector = pool(self.model(**features)[0], mask, pooling)
        return {"embedding": torch.nn.functional.normalize(vector, dim=-1) if normalize else vector}

    def postprocess(self, model_outputs: Any, return_tensors: bool = False) -> Any:
        """The nested list or tensor of features, or the pooled vector."""
        pooled = model_outputs.get("embedding")
        features = model_outputs["last_hidden_state"] if pooled is None else pooled[0]
        return features if return_tensors else features.tolist()


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """One vector per row, of its own tokens, in single precision at least.

    hidden: (rows, tokens, size); mask: (rows, tokens), 0 for padding on either side, and no row
    of padding only; (rows, size) out. Raises ValueError where hidden has not one vector per token.
    """
    if hidden.shape[:-1] != mask.shape:
        raise ValueError(
            f"pooling={pooling!r} needs one vector for each token, but the model gives "
            f"{tuple(hidden.shape)} for {tuple(mask.shape)} tokens"
        )
    own = mask.bool()
    if pooling in ("cls", "last"):
        order = torch.arange(1, own.shape[1] + 1, device=own.device)
        order = order if pooling == "last" else order.flip(0)
        vector = hidden[torch.arange(len(own), device=own.device), (own * order).argmax(1)]
        return vector.to(_precise(hidden))
    # What a model gives for padding may be no number: it is replaced, not multiplied by zero.
    if pooling == "max":
        vector = hidden.masked_fill(~own.unsqueeze(-1), float("-inf")).amax(1)
        return vector.to(_precise(hidden))
    # Half a precision adds up to 2,048 tokens or 65,504 at most, and bfloat16 to 256 tokens.
    total = hidden.masked_fill(~own.unsqueeze(-1), 0).sum(1, dtype=_precise(hidden))
    return total / own.sum(1, keepdim=True)


def _precise(hidden: torch.Tensor) -> torch.dtype:
    return torch.promote_types(hidden.dtype, torch.float32)
