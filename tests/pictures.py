"""Pictures for the tests, drawn from their names: the same with every version of transformers."""

from __future__ import annotations

import zlib

import numpy as np
from PIL import Image


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
