"""The image-to-image pipeline that transformers 5 dropped, with the answers of 4.57."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from transformers.image_utils import load_image
from transformers.pipelines.base import Pipeline


class ImageToImagePipeline(Pipeline):  # type: ignore[misc]
    """Makes an image of an image: a larger one, or one without noise.

    ```python
    enlarge = ImageToImagePipeline(model=model, image_processor=processor)
    enlarge("photo.jpg")  # a Pillow image
    ```

    The answer has the size of the model's output: some processors pad images, and the padding is
    enlarged with them.
    """

    _load_processor = False
    _load_image_processor = True
    _load_feature_extractor = False
    _load_tokenizer = False

    def _sanitize_parameters(
        self, timeout: float | None = None
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        return ({} if timeout is None else {"timeout": timeout}), {}, {}

    def preprocess(self, image: Any, timeout: float | None = None) -> Any:
        """The model's features of one image."""
        loaded = load_image(image, timeout=timeout)
        return self.image_processor(images=[loaded], return_tensors="pt").to(self.dtype)

    def _forward(self, model_inputs: Any) -> Any:
        return self.model(**model_inputs)

    def postprocess(self, model_outputs: Any) -> Image.Image:
        """The image in the model's output, whose values from 0 to 1 become 0 to 255."""
        found = model_outputs["reconstruction"][0].detach().float().clamp(0, 1)
        levels = (found * 255.0).round().to(torch.uint8)
        return Image.fromarray(levels.permute(1, 2, 0).numpy())
