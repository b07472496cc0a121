"""JPEG files decoded by torchvision, which takes half of Pillow's time, where the pixels are equal.

Both decode with libjpeg-turbo, but a build may be of another library or release: so the first
decoding of a process compares the two on small files of each kind, and Pillow stays where they
differ. PNGs are left to Pillow: torchvision's decoder crashes at damaged ones, and gains little.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import io
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image

from .array_image import ArrayImage

logger = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]

#: JPEG files, and those with further pictures after the first, as many phones make them.
_FORMATS = ("JPEG", "MPO")
#: What an image of CMYK looks like in RGB is for Pillow to say.
_MODES = ("RGB", "L")
_RGB = 3  # the number of torchvision's ImageReadMode.RGB

#: By the EXIF orientation, how Pillow turns an image upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(data: bytes, opened: Image.Image) -> Image.Image | None:
    """The image in a file, upright and in RGB; None if Pillow must decode it.

    Args:
      data: the file, of any format.
      opened: the same as Pillow has opened it; of that, only the header is read.

    """
    if opened.format not in _FORMATS or opened.mode not in _MODES or not _is_equal():
        return None
    try:
        pixels = _decoded(data)
    except RuntimeError:  # damaged or cut off: Pillow says why, or is more lenient
        return None
    if pixels.shape != (opened.height, opened.width, 3):
        return None
    turn = _UPRIGHT.get(opened.getexif().get(ExifTags.Base.Orientation, 1))
    image = ArrayImage(pixels)
    return image if turn is None else image.transpose(turn)


def _decoded(data: bytes) -> Pixels:
    """The pixels of a JPEG file, (height, width, 3), as they are stored. Raises RuntimeError."""
    file = torch.frombuffer(bytearray(data), dtype=torch.uint8)  # not writable, it would warn
    # The function around it in torchvision.io warns at each call of its deprecation.
    pixels: torch.Tensor = torch.ops.image.decode_jpeg(file, _RGB, False)
    found: Pixels = pixels.permute(1, 2, 0).numpy()
    return found


@functools.cache
def _is_equal() -> bool:
    """Whether torchvision is there, and decodes small files of each kind as Pillow does."""
    if importlib.util.find_spec("torchvision") is None:
        return False
    try:
        importlib.import_module("torchvision.io")  # it registers the operator above
        for data in _samples():
            expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
            if not np.array_equal(_decoded(data), expected):
                logger.info("JPEGs are decoded by Pillow: torchvision's pixels differ")
                return False
    except Exception as error:  # a build without JPEG, or of another interface
        logger.info("JPEGs are decoded by Pillow: torchvision cannot: %r", error)
        return False
    return True


def _samples() -> Iterator[bytes]:
    """Files of odd sizes with sharp edges, where decoders that interpolate differently differ."""
    y, x = np.mgrid[0:37, 0:43]
    colours = np.dstack([x * 5 % 256, y * 6 % 256, (x // 5 + y // 7) % 2 * 255])
    image = Image.fromarray(colours.astype(np.uint8))
    kinds: list[dict[str, Any]] = [
        {"subsampling": subsampling, "progressive": progressive}
        for subsampling in ("4:4:4", "4:2:2", "4:2:0", "4:1:1")
        for progressive in (False, True)
    ]
    for picture, options in [*((image, kind) for kind in kinds), (image.convert("L"), {})]:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=85, **options)
        yield file.getvalue()
