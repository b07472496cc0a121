"""Fill-mask from which only the masks' logits leave the model."""

from __future__ import annotations

from typing import Any

import torch
from transformers.pipelines.fill_mask import FillMaskPipeline as _FillMaskPipeline


class FillMaskPipeline(_FillMaskPipeline):  # type: ignore[misc]
    """transformers' pipeline; the logits of all other tokens stay where they were made.

    They are 50,000 numbers a token, of which postprocess reads those of the masks.
    """

    def _sanitize_parameters(
        self, top_k: int | None = None, targets: Any = None, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if top_k is not None and not targets:
            most = self.model.config.vocab_size
            if top_k > most:
                raise ValueError(
                    f"top_k must be from 1 to {most}, the number of the model's tokens, got {top_k}"
                )
        found: tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
        found = super()._sanitize_parameters(top_k=top_k, targets=targets, **kwargs)
        return found

    def _forward(self, model_inputs: Any) -> Any:
        outputs = super()._forward(model_inputs)
        masks = outputs["input_ids"] == self.tokenizer.mask_token_id
        most = int(masks.sum(1).max())
        # Each row's masks in order; where it has fewer than another row, some other tokens.
        positions = masks.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
        rows = torch.arange(len(masks), device=masks.device)[:, None]
        kept = outputs["logits"][rows, positions]
        return {"input_ids": outputs["input_ids"], "mask_logits": kept}

    def postprocess(self, model_outputs: Any, **keywords: Any) -> Any:
        """The most likely fillings of each mask."""
        logits = _AtMasks(model_outputs["mask_logits"])
        return super().postprocess({**model_outputs, "logits": logits}, **keywords)


class _AtMasks:
    """The masks' logits, asked for by the positions of the masks."""

    def __init__(self, logits: torch.Tensor) -> None:
        self._logits = logits

    def __getitem__(self, index: tuple[int, torch.Tensor, slice]) -> torch.Tensor:
        row, positions, _ = index
        return self._logits[row, : len(positions)]
