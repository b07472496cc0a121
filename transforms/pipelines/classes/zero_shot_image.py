"""The zero-shot pipelines for images, with candidate labels for each image or for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from transformers.pipelines.zero_shot_image_classification import (
    ZeroShotImageClassificationPipeline as _ZeroShotImageClassificationPipeline,
)
from transformers.pipelines.zero_shot_object_detection import (
    ZeroShotObjectDetectionPipeline as _ZeroShotObjectDetectionPipeline,
)


class ZeroShotImageClassificationPipeline(_ZeroShotImageClassificationPipeline):  # type: ignore[misc]
    """transformers' pipeline; it takes {"image", "candidate_labels"}, too."""

    def __call__(self, image: Any, candidate_labels: Any = None, **kwargs: Any) -> Any:
        """Scores of the labels for an image: its own, or else those of the call."""
        given = own_labels(image, candidate_labels)
        return super().__call__(given.pop("image"), **given, **kwargs)

    def _sanitize_parameters(self, tokenizer_kwargs: Any = None, **kwargs: Any) -> Any:
        found = super()._sanitize_parameters(tokenizer_kwargs=tokenizer_kwargs, **kwargs)
        if tokenizer_kwargs and "tokenizer_kwargs" not in found[0]:
            raise ValueError(
                "tokenizer_kwargs: transformers' pipeline takes it, but does not read it: save a "
                "tokenizer with these settings, and give its directory as tokenizer"
            )
        return found


class ZeroShotObjectDetectionPipeline(_ZeroShotObjectDetectionPipeline):  # type: ignore[misc]
    """transformers' pipeline; a call's labels are for mappings without labels, too.

    It asks for an image's features once for each label: here they are made once.
    """

    image_processor: Any

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.image_processor = _Once(self.image_processor)

    def __call__(self, image: Any, candidate_labels: Any = None, **kwargs: Any) -> Any:
        """Objects of the labels in an image: its own, or else those of the call."""
        # Stock takes labels between commas with the blanks around them, too.
        given = own_labels(image, candidate_labels, split=lambda labels: labels.split(","))
        return super().__call__(given, **kwargs)


class _Once:
    """An image processor that looks at an image once, however often it is shown."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self._image: Any = None
        self._features: Any = None

    def __call__(self, image: Any, **kwargs: Any) -> Any:
        if image is not self._image:
            self._features = self._processor(image, **kwargs)
            self._image = image
        return self._features

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)


def between_commas(labels: str) -> list[str]:
    """The labels in a text, as transformers' zero-shot task for texts reads them."""
    return [label.strip() for label in labels.split(",") if label.strip()]


def own_labels(
    example: Any,
    candidate_labels: Any,
    name: str = "image",
    split: Callable[[str], list[str]] = between_commas,
) -> dict[str, Any]:
    """The image (or what `name` says) and the labels to look for: {"image", "candidate_labels"}.

    Of labels in one text, those between its commas: transformers' pipelines for images and audio,
    which ask for a list, would take each of its characters for a label.
    """
    given = dict(example) if isinstance(example, Mapping) else {name: example}
    labels = given.get("candidate_labels")
    if labels is None:
        labels = candidate_labels
    if isinstance(labels, str):
        labels = split(labels)
    if labels is None or not len(labels):
        raise ValueError(
            f"candidate_labels must be given: as a parameter, or with each {name} in a mapping of "
            f"{name} and candidate_labels"
        )
    return {name: given[name], "candidate_labels": list(labels)}
