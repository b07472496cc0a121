"""Pipeline classes as users write them: good ones, and ones that cannot take a batch."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any, TypedDict, cast

import torch
import transformers
from transformers.pipelines.base import ChunkPipeline


class Plain(transformers.Pipeline):  # type: ignore[misc]
    """What the classes below have in common: a text in, the model's outputs in the middle."""

    def _sanitize_parameters(self, scale: float | None = None) -> tuple[Any, Any, Any]:
        return {}, {}, {} if scale is None else {"scale": scale}

    def preprocess(self, text: str) -> Any:
        return self.tokenizer(text, return_tensors="pt", truncation=True, max_length=32)

    def _forward(self, inputs: Any) -> Any:
        return self.model(**inputs)

    def postprocess(self, outputs: Any, scale: float = 1.0) -> Any:
        return outputs["logits"][0] * scale


class Probabilities(Plain):
    """Tensors out."""

    def postprocess(self, outputs: Any, scale: float = 1.0) -> list[float]:
        return cast("list[float]", torch.softmax(outputs["logits"][0] * scale, -1))


class Doomed(Plain):
    """Texts that say so run out of memory, hang, or end the process; others are answered."""

    ends = ("", "no memory", "hangs", "dies")

    def preprocess(self, text: str) -> Any:
        end = self.ends.index(text) if text in self.ends else 0
        return {**super().preprocess(text), "end": torch.tensor([[end]])}

    def _forward(self, inputs: Any) -> Any:
        ends = {self.ends[end] for end in inputs.pop("end").flatten().tolist()}
        if "dies" in ends:
            os._exit(1)
        if "hangs" in ends:
            time.sleep(600)
        if "no memory" in ends:
            raise torch.OutOfMemoryError("out of memory")
        return super()._forward(inputs)


class Hidden(Plain):
    """One number of many outputs."""

    def postprocess(self, outputs: Any, scale: float = 1.0) -> float:
        return float(outputs["last_hidden_state"][0, 0, 0])


class Chosen(transformers.Pipeline):  # type: ignore[misc]
    """One of the numbers that it is given, and what a function makes of it."""

    def _sanitize_parameters(
        self, numbers: Any = None, function: Any = None
    ) -> tuple[Any, Any, Any]:
        given = {"numbers": numbers, "function": function}
        return {}, {name: each for name, each in given.items() if each is not None}, {}

    def preprocess(self, text: str) -> Any:
        return self.tokenizer(text, return_tensors="pt", truncation=True, max_length=32)

    def _forward(self, inputs: Any, numbers: Any, function: Any = None) -> Any:
        number = float(numbers[1000])
        if function is not None:
            number = function(number)
        return {"number": torch.full((len(inputs["input_ids"]), 1), number)}

    def postprocess(self, outputs: Any) -> float:
        return float(outputs["number"][0, 0])


class Labelled(TypedDict):
    label: str
    score: float


class Windows(ChunkPipeline):  # type: ignore[misc]
    """The likeliest label of any window of a text."""

    def _sanitize_parameters(self, size: int | None = None) -> tuple[Any, Any, Any]:
        return {} if size is None else {"size": size}, {}, {}

    def preprocess(self, text: str, size: int = 8) -> Iterator[Any]:
        ids = self.tokenizer(text, return_tensors="pt")["input_ids"]
        pieces = torch.split(ids, size, dim=1)
        for i, piece in enumerate(pieces):
            yield {"is_last": i == len(pieces) - 1, "input_ids": piece}

    def _forward(self, inputs: Any) -> Any:
        last = inputs.pop("is_last")
        return {"is_last": last, "logits": self.model(**inputs).logits}

    def postprocess(self, windows: Any) -> list[Labelled]:
        scores = torch.cat([window["logits"] for window in windows]).softmax(-1).amax(0)
        best = int(scores.argmax())
        label = self.model.config.id2label[best]
        return [{"label": label, "score": scores[best].item()}]


class FirstRow(Plain):
    """Takes the first row for all."""

    def _forward(self, inputs: Any) -> Any:
        return {"logits": self.model(**inputs).logits[0]}

    def postprocess(self, outputs: Any, scale: float = 1.0) -> Any:
        return outputs["logits"] * scale


class Number(Plain):
    """Fails for a batch."""

    def _forward(self, inputs: Any) -> Any:
        return {"best": self.model(**inputs).logits.amax(-1).item()}

    def postprocess(self, outputs: Any, scale: float = 1.0) -> float:
        return float(outputs["best"] * scale)


class Least(Plain):
    """Gives one number for a batch."""

    def _forward(self, inputs: Any) -> Any:
        return {"least": float(self.model(**inputs).logits.min())}

    def postprocess(self, outputs: Any, scale: float = 1.0) -> float:
        return float(outputs["least"] * scale)


class Mixed(Plain):
    """Gives a row for every row, but compares rows with each other."""

    def _forward(self, inputs: Any) -> Any:
        logits = self.model(**inputs).logits
        return {"logits": logits - logits.mean(0, keepdim=True) + logits.std(-1, keepdim=True)}


class Continued(transformers.TextGenerationPipeline):  # type: ignore[misc]
    """transformers' own, with a last word."""

    def postprocess(self, *args: Any, **kwargs: Any) -> Any:
        return [{"said": each["generated_text"]} for each in super().postprocess(*args, **kwargs)]


class Sayings(transformers.Pipeline):  # type: ignore[misc]
    """Generates without telling anybody."""

    def _sanitize_parameters(self) -> tuple[Any, Any, Any]:
        return {}, {}, {}

    def preprocess(self, text: str) -> Any:
        return self.tokenizer(text, return_tensors="pt")

    def _forward(self, inputs: Any) -> Any:
        return {"ids": self.model.generate(**inputs, max_new_tokens=12)}

    def postprocess(self, outputs: Any) -> str:
        return f"{len(outputs['ids'][0])} {self.tokenizer.decode(outputs['ids'][0])}"


class Routed(Plain):
    """Its call looks at the text."""

    def __call__(self, inputs: Any, *, loud: float = 2.0, **kwargs: Any) -> Any:
        return super().__call__(inputs, scale=loud if inputs.endswith("!") else 1.0, **kwargs)


class Chooses(Plain):
    """Its call looks at the text, and runs the model as it says."""

    def _sanitize_parameters(
        self, scale: float | None = None, mode: str | None = None
    ) -> tuple[Any, Any, Any]:
        return {}, {"mode": mode}, {}

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        return super().__call__(inputs, mode="loud" if inputs.endswith("!") else None)


class Pair(Plain):
    """A mapping in."""

    def preprocess(self, asked: Any) -> Any:
        return self.tokenizer(asked["inputs"], asked["other"], return_tensors="pt")


class Struct(Plain):
    """A file in, with the text for its path."""

    def preprocess(self, given: Any) -> Any:
        files = given if isinstance(given, tuple) else (given,)
        texts = " ".join(file["path"] for file in files)
        return self.tokenizer(texts, return_tensors="pt")


class Kind(Plain):
    """Anything in: the answer is for the name of its class."""

    def preprocess(self, given: Any) -> Any:
        return self.tokenizer(type(given).__name__, return_tensors="pt")


class Whole(Plain):
    """Puts its stages together itself."""

    def run_single(self, inputs: Any, *params: Any) -> Any:
        return self.postprocess(self.forward(self.preprocess(inputs)))


class NoPipeline:
    pass
