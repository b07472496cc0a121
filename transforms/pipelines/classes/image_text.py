"""The pipelines of images with texts where transformers' own cannot be batched as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers.pipelines.document_question_answering import (
    DocumentQuestionAnsweringPipeline as _DocumentQuestionAnsweringPipeline,
)
from transformers.pipelines.document_question_answering import ModelType
from transformers.pipelines.image_text_to_text import (
    ImageTextToTextPipeline as _ImageTextToTextPipeline,
)

from ...tasks.task import generation_keywords
from .chats import Chats


class ImageTextToTextPipeline(Chats, _ImageTextToTextPipeline):  # type: ignore[misc]
    """transformers' pipeline; generation parameters are taken beside `generate_kwargs`, too."""

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """Answer a chat, a text, or a mapping of text and images."""
        if isinstance(inputs, Mapping) and inputs.get("images") is None:
            inputs = inputs["text"]
        return super().__call__(inputs, **kwargs)


class DocumentQuestionAnsweringPipeline(_DocumentQuestionAnsweringPipeline):  # type: ignore[misc]
    """transformers' pipeline; it takes generation parameters, and generates the answer alone."""

    def _sanitize_parameters(
        self, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        names = (generation_keywords() - {"top_k"}) & kwargs.keys()
        given = {name: kwargs.pop(name) for name in names}
        preprocess, forward, postprocess = super()._sanitize_parameters(**kwargs)
        return preprocess, {**forward, **given}, postprocess

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """Answer the question of a mapping of image or word_boxes, and question."""
        given = {name: value for name, value in inputs.items() if value is not None}
        return super().__call__(given, **kwargs)

    def _forward(self, model_inputs: Any, **kwargs: Any) -> Any:
        if self.model_type == ModelType.VisionEncoderDecoder:
            # Of every token its attention to all others is gigabytes, and no stage reads it.
            model_inputs |= {"return_dict_in_generate": True, "output_attentions": False}
            outputs = super()._forward(model_inputs, **kwargs)
            kept = ("sequences", "p_mask", "word_ids", "words", "is_last")
            return {name: outputs[name] for name in kept}
        return super()._forward(model_inputs, **kwargs)
