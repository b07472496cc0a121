"""The pipelines from images to text that transformers 5 dropped, with the answers of 4.57."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import transformers
from transformers.image_utils import load_image

from ...tasks.task import generation_keywords
from .text_to_text import GeneratingPipeline

#: What was generated with unless the model or a call says otherwise.
DEFAULTS = {"max_new_tokens": 256}
_OWN_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")


def with_pillow(processor: Any) -> Any:
    """The image processor that 4.57 took: it resizes with Pillow.

    transformers 5 prefers torchvision, whose pixels differ by a level here and there.
    """
    cls = getattr(transformers, f"{type(processor).__name__}Pil", None)
    return processor if cls is None else cls.from_dict(processor.to_dict())


class _ImagePipeline(GeneratingPipeline):
    """An image processor and a tokenizer beside a model that may generate."""

    _load_image_processor = True
    _load_tokenizer = True
    image_processor: Any

    def __init__(self, model: Any, *args: Any, task: str = "", **kwargs: Any) -> None:
        given = {name: kwargs.pop(name) for name in generation_keywords() & kwargs.keys()}
        super().__init__(model, *args, task="", **kwargs)
        self.task = task
        self.image_processor = with_pillow(self.image_processor)
        self._set_generation(given, {}, DEFAULTS)
        if model.config.model_type.startswith("blip"):
            for name in _OWN_TOKENS:  # which it hands on to its decoder
                self._generate_kwargs.pop(name, None)
            names = self.tokenizer.model_input_names  # what its generate() takes
            self.tokenizer.model_input_names = [n for n in names if n != "token_type_ids"]

    def _image(self, image: Any, timeout: float | None, **keywords: Any) -> Any:
        loaded = load_image(image, timeout=timeout)
        features = self.image_processor(images=loaded, return_tensors="pt", **keywords)
        return features.to(self.dtype)

    def _generate(
        self, *main: Any, inputs: Mapping[str, Any], keywords: Mapping[str, Any]
    ) -> dict[str, torch.Tensor]:
        """The generated ids, (rows, sequences, length)."""
        tensors = (value for value in (*main, *inputs.values()) if value is not None)
        rows = len(next(tensors))
        parameters = self._prepare_generate_kwargs(keywords)
        output = self.model.generate(*main, **inputs, **parameters)
        ids = getattr(output, "sequences", output)
        return {"sequences": ids.reshape(rows, len(ids) // rows, -1)}


class ImageToTextPipeline(_ImagePipeline):
    """Describes an image.

    ```python
    describe = ImageToTextPipeline(model=model, tokenizer=tokenizer, image_processor=processor)
    describe("photo.jpg")  # [{"generated_text": "two cats on a sofa"}]
    ```

    Args of a call (with their defaults):
      max_new_tokens: the most tokens of an answer (256, unless the model says otherwise).
      generate_kwargs: parameters of `model.generate`; they may also be given by themselves.
      prompt: the text with which an answer begins, for models that can go on from one.
      timeout: seconds to wait for a server.

    """

    def _sanitize_parameters(
        self,
        *,
        max_new_tokens: int | None = None,
        generate_kwargs: Mapping[str, Any] | None = None,
        prompt: str | None = None,
        timeout: float | None = None,
        **more: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        forward = {**more, **(generate_kwargs or {})}
        if max_new_tokens is not None:
            if "max_new_tokens" in forward:
                raise ValueError("max_new_tokens must be given once: it is in generate_kwargs, too")
            forward["max_new_tokens"] = max_new_tokens
        preprocess = {"prompt": prompt, "timeout": timeout}
        return {k: v for k, v in preprocess.items() if v is not None}, forward, {}

    def preprocess(
        self, image: Any, prompt: str | None = None, timeout: float | None = None
    ) -> Any:
        """The model's features of one image, and of the text that its description begins with."""
        kind = self.model.config.model_type
        if prompt is None:
            features = self._image(image, timeout)
            if kind == "git":
                features["input_ids"] = None
            return features
        if not isinstance(prompt, str):
            raise ValueError(f"prompt must be a string, got {prompt!r:.80}")
        if kind == "vision-encoder-decoder":
            raise ValueError(f"a model of the type {kind!r} takes no prompt")
        if kind == "pix2struct":  # written into the image
            return self._image(image, timeout, header_text=prompt)
        features = self._image(image, timeout)
        if kind == "git":
            ids = self.tokenizer(text=prompt, add_special_tokens=False).input_ids
            features["input_ids"] = torch.tensor([[self.tokenizer.cls_token_id, *ids]])
        else:
            features.update(self.tokenizer(prompt, return_tensors="pt"))
        return features

    def _forward(self, model_inputs: Any, **generate_kwargs: Any) -> dict[str, torch.Tensor]:
        inputs = dict(model_inputs)
        if isinstance(inputs.get("input_ids"), list):  # no prompt, in every row
            inputs["input_ids"] = None
        main = inputs.pop(self.model.main_input_name)
        return self._generate(main, inputs=inputs, keywords=generate_kwargs)

    def postprocess(self, model_outputs: Mapping[str, Any]) -> list[dict[str, str]]:
        """One mapping for each sequence."""
        decode = self.tokenizer.decode
        sequences = model_outputs["sequences"][0]
        return [{"generated_text": decode(ids, skip_special_tokens=True)} for ids in sequences]


class VisualQuestionAnsweringPipeline(_ImagePipeline):
    """Answers a question about an image, by choosing among known answers or in words.

    ```python
    answer = VisualQuestionAnsweringPipeline(model=model, tokenizer=…, image_processor=…)
    answer({"image": "photo.jpg", "question": "How many cats?"})
    # [{"score": 0.9, "answer": "2"}, …], or [{"answer": "two"}]
    ```

    Args of a call (with their defaults):
      top_k: how many of the known answers to give (5).
      padding, truncation: the tokenizer's (False).
      timeout: seconds to wait for a server.
      Any parameter of `model.generate`, which transformers 4.57 did not heed: 256 new tokens
      unless the model says otherwise.

    """

    def _sanitize_parameters(
        self,
        *,
        top_k: int | None = None,
        padding: Any = None,
        truncation: Any = None,
        timeout: float | None = None,
        **generate_kwargs: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        preprocess = {"padding": padding, "truncation": truncation, "timeout": timeout}
        preprocess = {name: value for name, value in preprocess.items() if value is not None}
        return preprocess, generate_kwargs, {} if top_k is None else {"top_k": top_k}

    def preprocess(
        self,
        inputs: Mapping[str, Any],
        padding: Any = False,
        truncation: Any = False,
        timeout: float | None = None,
    ) -> Any:
        """The model's features of one image and question."""
        features = self.tokenizer(
            inputs["question"], return_tensors="pt", padding=padding, truncation=truncation
        )
        features.update(self._image(inputs["image"], timeout))
        return features

    def _forward(self, model_inputs: Any, **generate_kwargs: Any) -> Any:
        if not self.model.can_generate():
            return self.model(**model_inputs)
        return self._generate(inputs=model_inputs, keywords=generate_kwargs)

    def postprocess(self, model_outputs: Any, top_k: int = 5) -> list[dict[str, Any]]:
        """The answers, the likeliest first."""
        if "sequences" in model_outputs:
            decode = self.tokenizer.decode
            sequences = model_outputs["sequences"][0]
            return [{"answer": decode(ids, skip_special_tokens=True).strip()} for ids in sequences]
        labels = self.model.config.id2label
        scores, ids = model_outputs["logits"][0].sigmoid().topk(min(top_k, len(labels)))
        pairs = zip(scores.tolist(), ids.tolist(), strict=True)
        return [{"score": score, "answer": labels[i]} for score, i in pairs]
