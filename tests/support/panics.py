"""Code that gives up as Rust does: with what is no Exception. Workers import it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from support.counting import Counting
from support.custom_pipelines import Plain

#: As pyo3 makes it: each extension has a class of this name, in a module that cannot be imported.
PanicException: type[BaseException] = type(
    "PanicException", (BaseException,), {"__module__": "pyo3_runtime"}
)


def panic(where: str) -> None:
    """What Rust's `panic!` is in Python."""
    raise PanicException(f"not in {where}")


class Panicking(Plain):
    """Texts that are the name of a stage panic in it; others are answered."""

    def preprocess(self, text: str) -> Any:
        if text == "preprocess":
            panic("preprocess")
        return {**super().preprocess(text), "text": torch.tensor([[len(text)]])}

    def _forward(self, inputs: Any) -> Any:
        size = inputs.pop("text")
        if (size == len("forward")).any():
            panic("forward")
        return {**super()._forward(inputs), "size": size}

    def postprocess(self, outputs: Any, scale: float = 1.0) -> list[float]:
        if outputs["size"] == len("postprocess"):
            panic("postprocess")
        found: list[float] = super().postprocess(outputs, scale).tolist()
        return found


class PanickingHandler(Counting):
    """A text with "bad" in it panics."""

    def run_inference(self, batch: Sequence[str], model: str, inference_args: Any = None) -> Any:
        if any("bad" in text for text in batch):
            panic("a handler")
        return super().run_inference(batch, model, inference_args)


def panicking_function(text: str) -> Any:
    """A stage of a user's own."""
    if text == "bad":
        panic("a function")
    ids = torch.tensor([[2, 5 + len(text), 3]])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def panicking_answer(outputs: Any) -> float:
    """A stage of a user's own, for whatever text."""
    panic("an answer")
    return 0.0
