"""What the pipelines that answer chats with media have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...media.decoding import Messages
from ...tasks.task import generation_keywords


class Chats:
    """Generation parameters beside `generate_kwargs`, and chats that are repeated as they came.

    The media of a chat stay behind once they are features.
    """

    def _sanitize_parameters(
        self, generate_kwargs: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        names = (generation_keywords() - {"max_new_tokens"}) & kwargs.keys()
        given = {**{name: kwargs.pop(name) for name in names}, **(generate_kwargs or {})}
        found: tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
        found = super()._sanitize_parameters(  # type: ignore[misc]
            **kwargs, **({"generate_kwargs": given} if given else {})
        )
        return found

    def preprocess(self, inputs: Any = None, **kwargs: Any) -> Any:
        """The model's features, and the text or chat that they were made of."""
        features = super().preprocess(inputs, **kwargs)  # type: ignore[misc]
        messages = getattr(inputs, "messages", None)
        if isinstance(messages, Messages):
            features["text"] = type(inputs)(messages.given)
        return features

    def _forward(self, model_inputs: Any, **kwargs: Any) -> Any:
        outputs = super()._forward(model_inputs, **kwargs)  # type: ignore[misc]
        # Under the name that they came with, the rows' own can be told apart.
        return {**outputs, "text": outputs.pop("prompt_text")}

    def postprocess(self, model_outputs: Any, **kwargs: Any) -> Any:
        """What was asked and answered."""
        outputs = {**model_outputs, "prompt_text": model_outputs["text"]}
        return super().postprocess(outputs, **kwargs)  # type: ignore[misc]
