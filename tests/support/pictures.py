"""Pictures for the tests, drawn from their names: the same with every version of transformers."""

from __future__ import annotations

import io
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


SIZES = [(64, 48), (48, 64), (64, 48), (80, 60), (43, 57), (48, 64), (120, 40), (64, 48)]
#: Pictures of several sizes, some of them equal, so that there is something to batch.
PICTURES = [picture(f"picture {i}", *size) for i, size in enumerate(SIZES)]


def film(
    name: str,
    frames: int,
    width: int,
    height: int,
    container: str = "mp4",
    codec: str = "mpeg4",
    **options: str,
) -> bytes:
    """A video in which one picture turns into another."""
    import av  # not where transformers 4.57 is asked about pictures

    first, last = (np.asarray(picture(f"{name} {i}", width, height), float) for i in range(2))
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=options) as target:
        stream = target.add_stream(codec, rate=10)
        stream.width, stream.height = width, height
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        for i in range(frames):
            mixed = first + (last - first) * i / frames
            frame = av.VideoFrame.from_ndarray(mixed.astype(np.uint8), format="rgb24")
            target.mux(stream.encode(frame))
        target.mux(stream.encode())
    return file.getvalue()
