"""The cases of texts, images, sounds and videos at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import comparing
from support.pictures import PICTURES
from support.sounds import SOUNDS
from support.texts import CORPUS

from cases.case import Case, Model


def chat(*content: Any) -> list[Any]:
    return [{"role": "user", "content": [block(each) for each in content]}]


def block(content: Any) -> dict[str, Any]:
    if isinstance(content, dict):
        return content
    if isinstance(content, str):
        return {"type": "text", "text": content}
    kind = (
        "image" if isinstance(content, Image.Image) else "audio" if content.ndim == 1 else "video"
    )
    return {"type": kind, kind: content}


def frames(seed: int, count: int = 6, size: int = 32) -> Any:
    small = np.random.RandomState(seed).randint(0, 255, (count, 4, 4, 3)).astype(np.uint8)
    return small.repeat(size // 4, 1).repeat(size // 4, 2)


SOUND = "<|audio_bos|><|AUDIO|><|audio_eos|>"
HEARD: list[Any] = [
    *(chat(SOUNDS[i], CORPUS[i]) for i in range(7)),
    *({"text": f"{SOUND} {CORPUS[i]}", "audio": SOUNDS[i]} for i in (7, 8, 0)),
    chat(SOUNDS[0], "and", SOUNDS[2], "are the same?"),
    "The capital of France",
    chat("Who was born?"),
    chat("Who was here?"),
]
SEEN: list[Any] = [
    *(chat(PICTURES[i], CORPUS[i]) for i in range(6)),
    *(chat(PICTURES[i], CORPUS[0]) for i in (1, 5, 6)),
    *({"text": f"<image_placeholder> {CORPUS[i]}", "images": PICTURES[i]} for i in range(3)),
    "The capital of France",
    [
        *chat(PICTURES[2], "What is it?"),
        {"role": "assistant", "content": [{"type": "text", "text": "It is"}]},
    ],
]
ALL: list[Any] = [
    *(chat(PICTURES[i], CORPUS[i]) for i in range(3)),
    *(chat(SOUNDS[i], CORPUS[i]) for i in (0, 2, 7)),
    *(chat(frames(i), CORPUS[i]) for i in range(2)),
    chat(PICTURES[0], SOUNDS[1], frames(3, 4), "all the same?"),
    {"text": "<|vision_bos|><|VIDEO|><|vision_eos|> what", "videos": frames(4)},
    *(chat(CORPUS[i]) for i in range(20, 26)),
    "The capital of France",
]
#: What is said aloud: transformers fails to say anything of pictures.
SAID: list[Any] = [*ALL[3:6], *ALL[10:13], ALL[-1]]
SHORT = {"thinker_max_new_tokens": 8}
LOUD = {
    **SHORT,
    "talker_min_new_tokens": 2,
    "talker_max_new_tokens": 8,
    "talker_do_sample": False,
    "talker_eos_token_id": [24, 26],
    "thinker_min_new_tokens": 2,
}


def same_media(left: Any, right: Any) -> bool:
    if isinstance(left, Image.Image):
        return isinstance(right, Image.Image) and left.tobytes() == right.tobytes()
    if isinstance(left, Mapping):
        return left.keys() == right.keys() and all(same_media(left[k], right[k]) for k in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same_media, left, right))
    return comparing.same(left, right)


@contextlib.contextmanager
def quiet_noise() -> Iterator[None]:
    """Speech begins with noise: the same noise for both."""
    found = torch.randn
    torch.randn = _ramp
    try:
        yield
    finally:
        torch.randn = found


def _ramp(*size: Any, dtype: Any = None, device: Any = None, **_: Any) -> torch.Tensor:
    shape = size[0] if len(size) == 1 else size
    count = int(np.prod(shape))
    return torch.linspace(-1, 1, count, dtype=dtype, device=device).reshape(list(shape))


@dataclass(frozen=True, eq=False)
class AnyToAnyCase(Case):
    """Images to the bit."""

    def reference(self, model: Model) -> list[Any]:
        try:
            return super().reference(model)
        except ImportError as error:  # older ones want librosa
            pytest.skip(str(error))

    def same(self, expected: Any, found: Any) -> bool:
        return same_media(expected, found)

    def essence(self, answer: Any) -> str:
        return repr(list(answer[0].values())[1:])

    def around(self) -> contextlib.AbstractContextManager[Any]:
        return quiet_noise()


#: Without it, transformers has every answer said aloud, and fails for videos and short answers.
SILENT = {"generate_kwargs": {**SHORT, "generation_mode": "text"}}
CASES = [
    AnyToAnyCase("any-to-any", "qwen2-audio", {}, HEARD),
    AnyToAnyCase("any-to-any", "qwen2-audio", {"max_new_tokens": 6, "return_tensors": True}, HEARD),
    AnyToAnyCase("any-to-any", "janus", {}, SEEN),
    AnyToAnyCase("any-to-any", "janus", {"max_new_tokens": 6, "return_full_text": False}, SEEN),
    AnyToAnyCase(
        "any-to-any",
        "janus",
        {"max_new_tokens": 6, "num_beams": 2, "num_return_sequences": 2},
        SEEN[:6],
        stock={
            "max_new_tokens": 6,
            "generate_kwargs": {"num_beams": 2, "num_return_sequences": 2},
        },
        largest=2,
    ),
    AnyToAnyCase("any-to-any", "omni", {"generate_kwargs": SHORT}, ALL, stock=SILENT, largest=1),
    AnyToAnyCase(
        "any-to-any", "omni", {"generate_kwargs": LOUD, "generation_mode": "audio"}, SAID, largest=0
    ),
]
