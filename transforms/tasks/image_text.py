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
from transformers.utils.chat_template_utils import Chat

from ..media.decoding import Messages
from .task import generation_keywords


class ImageTextToTextPipeline(_ImageTextToTextPipeline):  # type: ignore[misc]
    """transformers' pipeline; generation parameters are taken beside `generate_kwargs`, too.

    The images of a chat stay behind once they are features: the answer repeats the chat as it
    was given.
    """

    def _sanitize_parameters(
        self, generate_kwargs: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        names = (generation_keywords() - {"max_new_tokens"}) & kwargs.keys()
        given = {**{name: kwargs.pop(name) for name in names}, **(generate_kwargs or {})}
        found: tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
        found = super()._sanitize_parameters(
            **kwargs, **({"generate_kwargs": given} if given else {})
        )
        return found

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """Answer a chat, a text, or a mapping of text and images."""
        if isinstance(inputs, Mapping) and inputs.get("images") is None:
            inputs = inputs["text"]
        return super().__call__(inputs, **kwargs)

    def preprocess(self, inputs: Any = None, **kwargs: Any) -> Any:
        """The model's features, and the text or chat that they were made of."""
        features = super().preprocess(inputs, **kwargs)
        if isinstance(inputs, Chat) and isinstance(inputs.messages, Messages):
            features["text"] = Chat(inputs.messages.given)
        return features

    def _forward(self, model_inputs: Any, **kwargs: Any) -> Any:
        outputs = super()._forward(model_inputs, **kwargs)
        # Under the name that they came with, the rows' own can be told apart.
        return {**outputs, "text": outputs.pop("prompt_text")}

    def postprocess(self, model_outputs: Any, **kwargs: Any) -> Any:
        """What was asked and answered."""
        outputs = {**model_outputs, "prompt_text": model_outputs["text"]}
        return super().postprocess(outputs, **kwargs)


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
            # Of every token its attention to all others is gigabytes, and nobody reads it.
            model_inputs |= {"return_dict_in_generate": True, "output_attentions": False}
            outputs = super()._forward(model_inputs, **kwargs)
            kept = ("sequences", "p_mask", "word_ids", "words", "is_last")
            return {name: outputs[name] for name in kept}
        return super()._forward(model_inputs, **kwargs)
