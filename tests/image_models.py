"""Tiny random models for the image tasks, and what they look at: see models.py."""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import models
import numpy as np
import torch
import transformers
from PIL import Image

ANIMALS = ["cat", "dog", "frog", "bird", "fish", "horse", "ant"]


def picture(name: str, width: int, height: int) -> Image.Image:
    """Shapes of different colours over a gradient, and some noise; different for every name."""
    random = np.random.RandomState(zlib.crc32(name.encode()))
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    ramp = random.uniform(-1, 1, (2, 3))
    found = 128 + 90 * (x[..., None] / width * ramp[0] + y[..., None] / height * ramp[1])
    for _ in range(4):
        middle, radius = random.uniform(0, 1, 2) * (width, height), random.uniform(0.1, 0.4)
        inside = np.hypot(x - middle[0], y - middle[1]) < radius * min(width, height)
        found[inside] = random.uniform(0, 255, 3)
    found += random.uniform(-12, 12, found.shape)
    return Image.fromarray(np.clip(found, 0, 255).astype(np.uint8))


SIZES = [(64, 48), (48, 64), (64, 48), (80, 60), (33, 57), (48, 64), (120, 30), (64, 48)]
#: Pictures of several sizes, some of them equal, so that there is something to batch.
PICTURES = [picture(f"picture {i}", *size) for i, size in enumerate(SIZES)]


def fill(model: torch.nn.Module, name: str, gains: Mapping[str, float]) -> None:
    """As models.fill, for weights of any rank: scaled by what one output adds up."""
    random = np.random.RandomState(zlib.crc32(name.encode()))
    done: set[int] = set()
    for key, parameter in sorted(model.named_parameters(remove_duplicate=False)):
        if id(parameter) in done or not parameter.is_floating_point():
            continue
        done.add(id(parameter))
        values = torch.from_numpy(random.standard_normal(parameter.numel()))
        gain = math.prod(each for part, each in gains.items() if part in key)
        scale = 0.1 if parameter.ndim < 2 else 1.5 / math.sqrt(parameter[0].numel())
        parameter.data.copy_(values.view(parameter.shape) * scale * gain)
        if parameter.ndim < 2 and key.endswith("weight"):
            parameter.data.abs_().add_(1.0)  # the scale of a norm


def labelled(labels: list[str]) -> dict[str, Any]:
    return {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
    }


def save(
    auto: str,
    config: Any,
    processor: Any,
    name: str,
    directory: Path,
    gains: Mapping[str, float],
    tokenizer: Any = None,
) -> None:
    with torch.random.fork_rng(devices=[]):
        model = getattr(transformers, auto).from_config(config)
    fill(model, name, gains)
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    if tokenizer is not None:
        tokenizer.save_pretrained(directory)


TINY: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
RESNET: dict[str, Any] = {
    "embedding_size": 16,
    "hidden_sizes": [16, 24, 32, 40],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
}
NO_RESIZE = {"do_resize": False}


def vit_processor(size: int = 32, **options: Any) -> Any:
    return transformers.ViTImageProcessor(size={"height": size, "width": size}, **options)


def _vit(auto: str, name: str, directory: Path) -> None:
    config = transformers.ViTConfig(image_size=32, patch_size=8, **TINY, **labelled(ANIMALS))
    gains = {"query": 2.0, "key": 2.0, "pooler": 2.0, "attention.output": 2.0}
    save(auto, config, vit_processor(), name, directory, gains)


def _resnet(auto: str, name: str, directory: Path) -> None:
    """Of images of any size, as they are."""
    config = transformers.ResNetConfig(
        **RESNET, problem_type="multi_label_classification", **labelled(ANIMALS)
    )
    save(auto, config, vit_processor(**NO_RESIZE), name, directory, {})


MODELS: dict[str, Callable[[Path], None]] = {
    "vit-classification": functools.partial(_vit, "AutoModelForImageClassification", "vit"),
    "resnet-classification": functools.partial(
        _resnet, "AutoModelForImageClassification", "resnet"
    ),
    "vit-encoder": functools.partial(_vit, "AutoModel", "vit"),
    "resnet-encoder": functools.partial(_resnet, "AutoModel", "resnet"),
}
models.MODELS.update(MODELS)
