"""Images over arrays are Pillow's images in all that is done to them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps
from support.pictures import PICTURES
from transformers.image_utils import load_image

from transforms.media.array_image import ArrayImage

PIXELS = np.asarray(PICTURES[0])


def drawn(image: Image.Image) -> Image.Image:
    ImageDraw.Draw(image).line((0, 0, 9, 9), fill=(1, 2, 3))
    return image


def put(image: Image.Image) -> Image.Image:
    image.putpixel((2, 1), (7, 8, 9))
    return image


def accessed(image: Image.Image) -> Any:
    pixels = image.load()
    assert pixels is not None
    before = pixels[3, 4]
    pixels[3, 4] = (4, 5, 6)
    return before, image.tobytes()


def pasted(image: Image.Image) -> Image.Image:
    image.paste(PICTURES[1], (3, 4))
    return image


METHODS: dict[str, Callable[[Image.Image], Any]] = {
    "as it is": lambda image: image,
    "size": lambda image: (image.size, image.width, image.height, image.mode, image.getbands()),
    "array": np.array,
    "array twice": lambda image: (np.asarray(image), np.array(image)),
    "read-only": lambda image: np.asarray(image).flags.writeable,
    "loaded": load_image,
    "upright": ImageOps.exif_transpose,
    "RGB": lambda image: image.convert("RGB"),
    "RGBA": lambda image: image.convert("RGBA"),
    "grey": lambda image: image.convert("L"),
    "resized": lambda image: image.resize((17, 9), Image.Resampling.BICUBIC),
    "crop": lambda image: image.crop((3, 4, 20, 30)),
    "split": lambda image: image.split(),
    "turned": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "pixel": lambda image: image.getpixel((5, 6)),
    "access": accessed,
    "put": put,
    "drawn": drawn,
    "drawn, then an array": lambda image: np.asarray(drawn(image)),
    "pasted": pasted,
    "copied, then drawn": lambda image: (drawn(image.copy()), image),
    "drawn, then copied": lambda image: drawn(image).copy(),
    "copy": copy.copy,
    "deep copy": copy.deepcopy,
    "pickled": lambda image: pickle.loads(pickle.dumps(image)),
    "histogram": lambda image: image.histogram(),
    "extrema": lambda image: image.getextrema(),
}


def plain(value: Any) -> Any:
    if isinstance(value, Image.Image):
        return value.mode, value.size, value.tobytes(), np.asarray(value).tolist()
    if isinstance(value, np.ndarray):
        return value.dtype, value.tolist()
    return tuple(map(plain, value)) if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("name", METHODS)
def test_it_is_what_pillows_own_image_is(name: str) -> None:
    pixels = PIXELS.copy()
    expected = METHODS[name](Image.fromarray(PIXELS))
    assert plain(METHODS[name](ArrayImage(pixels))) == plain(expected)
    assert np.array_equal(pixels, PIXELS)


def test_no_pixel_is_copied_on_the_way_to_an_array() -> None:
    image = ArrayImage(PIXELS)
    assert np.shares_memory(np.asarray(load_image(image)), np.asarray(image))
    assert image._im is None


def test_an_array_outlives_its_image() -> None:
    image = ArrayImage(PIXELS.copy())
    array = np.asarray(image)
    drawn(image)
    del image
    assert np.array_equal(array, PIXELS)


def test_pixels_need_not_lie_together() -> None:
    assert plain(ArrayImage(PIXELS[::2, ::-1])) == plain(Image.fromarray(PIXELS[::2, ::-1].copy()))


@pytest.mark.parametrize("pixels", [PIXELS, PIXELS.copy()])
def test_its_tensor(pixels: Any) -> None:
    image = ArrayImage(pixels)
    assert np.array_equal(image.tensor().permute(1, 2, 0).numpy(), PIXELS)
    put(image)
    assert image.tensor()[:, 1, 2].tolist() == [7, 8, 9]
    assert np.array_equal(pixels, PIXELS)
