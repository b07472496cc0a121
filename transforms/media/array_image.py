"""Pillow images over arrays, which decoders of other libraries give."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image


class ArrayImage(Image.Image):
    """An RGB image over an array, (height, width, 3) of uint8, which is never written to.

    Pillow's own copy of the pixels is made when one of its methods asks for it. Copies, conversions
    to RGB and arrays do without it: that is all that most processors want, and saves a third of
    what it takes to decode a photo.
    """

    _pixels: NDArray[np.uint8] | None = None  # None: Pillow has its own copy

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        super().__init__()
        self._pixels = np.ascontiguousarray(pixels)
        self._mode = "RGB"
        self._size = (pixels.shape[1], pixels.shape[0])

    @property
    def im(self) -> Any:
        """Pillow's own copy of the pixels."""
        if self._pixels is not None:
            self.im = Image.fromarray(self._pixels).im
        return super().im

    @im.setter
    def im(self, im: Any) -> None:
        self._im = im
        self._pixels = None

    def load(self) -> Any:
        """Access to single pixels; Pillow's methods call it before they ask for `im`."""
        return super().load() if self._pixels is None else _Access(self)

    def copy(self) -> Image.Image:
        """The same image, independent of this one."""
        return super().copy() if self._pixels is None else ArrayImage(self._pixels)

    def tensor(self) -> torch.Tensor:
        """The pixels, (3, height, width) of uint8, as they lie in memory: not to be written to."""
        pixels = self._pixels
        if pixels is None or not pixels.flags.writeable:  # of which torch warns
            pixels = np.array(self)
        return torch.from_numpy(pixels).permute(2, 0, 1)

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """What NumPy makes an array from: the pixels themselves, read-only as Pillow's."""
        if self._pixels is None:
            return super().__array_interface__
        return {
            "version": 3,
            "shape": self._pixels.shape,
            "typestr": "|u1",
            "data": self._pixels.data.toreadonly(),
        }


class _Access:
    """Pixels by their positions (x, y), as Pillow's own `load` gives."""

    def __init__(self, image: Image.Image) -> None:
        self._image = image

    def __getitem__(self, position: tuple[int, int]) -> Any:
        return self._image.getpixel(position)

    def __setitem__(self, position: tuple[int, int], colour: Any) -> None:
        self._image.putpixel(position, colour)
