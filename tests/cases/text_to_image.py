"""The cases of text-to-image: compared with diffusers alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import diffusers
import numpy as np
import pytest
import torch
from support.comparing import apart

from cases.case import Case, Model

# Within diffusers and transformers.
copies_arrays = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)

PROMPTS: list[Any] = [
    "a red house by the sea",
    {"prompt": "Paris", "negative_prompt": "rain, people"},
    "an astronaut who rides a horse on the Moon while the quick brown fox looks at the dog",
    {"prompt": "a red house by the sea", "negative_prompt": "blue"},
    {"prompt": "京都の寺", "negative_prompt": None},
    "",
    "a red house by the sea",
]
FEW: dict[str, Any] = {"num_inference_steps": 2}
WIDE = {"height": 32, "width": 48}
SMALL = {**FEW, "height": 32, "width": 32, "max_sequence_length": 32}


def seed_of(prompt: str, seed: int) -> int:
    return int(hashlib.sha256(f"{seed} {prompt}".encode()).hexdigest()[:8], 16)


def alone(pipe: Any, example: Any, seed: int = 0, **parameters: Any) -> np.ndarray[Any, Any]:
    """What diffusers makes of one prompt with a generator of the same seed."""
    given = {"prompt": example} if isinstance(example, str) else example
    texts = {name: text for name, text in given.items() if text is not None}
    generator = torch.Generator().manual_seed(seed_of(texts["prompt"], seed))
    return np.asarray(pipe(**texts, generator=generator, **parameters).images[0])


@dataclass(frozen=True, eq=False)
class ImageOfText(Case):
    """The image that diffusers makes of one prompt alone, up to a grey level."""

    inputs: Sequence[Any] = tuple(PROMPTS)

    marks: ClassVar[Sequence[Any]] = (copies_arrays,)

    def reference(self, model: Model) -> list[Any]:
        pipe = diffusers.DiffusionPipeline.from_pretrained(self.directory(model))
        pipe.set_progress_bar_config(disable=True)
        return [alone(pipe, each, **self.parameters) for each in self.inputs]

    def same(self, expected: Any, found: Any) -> bool:
        return apart(expected, found) <= 1

    def tells_apart(self, answers: Sequence[Any]) -> bool:
        """All but the last, which is of the first's prompt, are far from each other."""
        black = [not image.any() for image in answers]
        pairs = zip(answers[:-1], black[:-1], strict=True)
        seen = [image for image, flagged in pairs if not flagged]
        return (
            any(black) == (self.model == "sd-checked")  # flagged, and left as diffusers leaves it
            and not all(black)
            and all(apart(a, b) > 20 for i, a in enumerate(seen) for b in seen[:i])
            and apart(answers[0], answers[-1]) == 0
        )

    def shares(self, sizes: Sequence[int]) -> bool:
        """With a negative prompt and without."""
        return sorted(sizes) == [2, 5]


CASES = [
    ImageOfText("text-to-image", "sd-ddim", FEW),
    ImageOfText("text-to-image", "sd-ddim", {**FEW, "eta": 0.7, "seed": 3}),
    ImageOfText(
        "text-to-image", "sd-pndm", {"num_inference_steps": 4, "guidance_scale": 12.0, **WIDE}
    ),
    ImageOfText("text-to-image", "sd-ancestral", {"num_inference_steps": 3}),
    ImageOfText("text-to-image", "sd-checked", FEW),
    ImageOfText("text-to-image", "sdxl", FEW),
    ImageOfText("text-to-image", "sd3", {**FEW, "max_sequence_length": 32}),
    ImageOfText("text-to-image", "pixart-alpha", {**FEW, "use_resolution_binning": False}),
    ImageOfText("text-to-image", "pixart-sigma", {**FEW, "use_resolution_binning": False}),
    ImageOfText("text-to-image", "flux", {**SMALL, "true_cfg_scale": 2.0}),
]
