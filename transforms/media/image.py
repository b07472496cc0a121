"""Images as the pipelines take them: upright and in RGB, as transformers loads them."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from ..options.media_limits import MediaLimits
from ..options.shown import typed
from . import jpeg, suspects
from .fetch import MediaError, in_memory, read

_AVIF = importlib.util.find_spec("PIL.AvifImagePlugin") is not None and features.check("avif")
#: The formats that Pillow may decode. Its other decoders are rarely used and hardly tested against
#: malicious files, and one (EPS) runs programs. Not every build of Pillow has AVIF.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", *(("AVIF",) if _AVIF else ()))

#: Signatures of image formats that are not decoded here.
_OTHER_FORMATS = {
    name: re.compile(mark, re.DOTALL)
    for name, mark in {
        "TGA": rb"TRUEVISION-XFILE\.\x00\Z",
        "ICO": rb"\A\x00\x00\x01\x00",
        "JPEG 2000": rb"\A(?:\xff\x4f\xff\x51|\x00\x00\x00\x0cjP  )",
        "JPEG XL": rb"\A(?:\xff\x0a|\x00\x00\x00\x0cJXL )",
        "HEIC": rb"\A....ftyp(?:hei|hev|mif1|msf1)",
        "AVIF": rb"\A....ftypavi[fs]",
        "EPS": rb"\A(?:%!PS|\xc5\xd0\xd3\xc6)",
        "PDF": rb"\A%PDF",
        "PSD": rb"\A8BPS",
        "DDS": rb"\ADDS ",
        "ICNS": rb"\Aicns",
        "PCX": rb"\A\x0a[\x00-\x05]\x01",
        "SVG": rb"\A\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?(?:<!DOCTYPE svg[^>]*>\s*)?<svg",
    }.items()
}

_CHANNELS = (3, 4)
WIDE = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")  # modes of more than 8 bits per channel
_limit_lock = threading.Lock()


def decode(source: Any, limits: MediaLimits) -> Image.Image:
    """One image, turned as its EXIF orientation says, in RGB without alpha. Raises MediaError.

    Args:
      source: the bytes of a file, in whatever holds bytes; a path or URI; {"bytes", "path"} as
        datasets has it; a Pillow image; or an array of uint8, (height, width),
        (height, width, 3) or (height, width, 4).
      limits: the largest numbers of bytes and pixels.

    """
    source = in_memory(source)
    if isinstance(source, Image.Image):
        check_size(source, limits)
        return _upright(source)
    if isinstance(source, np.ndarray):
        return _upright(_of_array(source, limits))
    if is_file(source):
        return opened(source, limits).decoded()
    raise MediaError(
        "an image must be bytes, a path, a URI, a Pillow image, an array or a mapping with bytes "
        f"or path, got {typed(source)}"
    )


def is_file(source: Any) -> bool:
    """Whether a source of an image is the bytes of a file, or says where one is."""
    return isinstance(in_memory(source), bytes | str | os.PathLike | Mapping)


class Opened(NamedTuple):
    """A file whose header has been read and checked."""

    header: Image.Image
    data: bytes

    @property
    def nbytes(self) -> int:
        """Bytes that its pixels will have."""
        return self.header.width * self.header.height * 3

    def decoded(self) -> Image.Image:
        """The image, upright and in RGB; from any thread. Raises MediaError."""
        return load_pixels(self.header, self.data)


def opened(source: Any, limits: MediaLimits) -> Opened:
    """The file at a source of which `is_file` is true. Raises MediaError."""
    data = read(in_memory(source), limits.image_bytes, "image", limits.timeout)
    return Opened(open_file(data, limits), data)


def open_file(data: bytes, limits: MediaLimits) -> Image.Image:
    """The image in a file's bytes; only its header is read. Raises MediaError."""
    _raise_pixel_limit(int(limits.image_pixels))
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise MediaError(
            f"the image has more pixels than the limit of {limits.image_pixels:,} (image_pixels): "
            f"{error}"
        ) from error
    except UnidentifiedImageError as error:
        known = _other_format(data)
        if known is not None:
            raise MediaError(
                f"the image is of the format {known}, which is not read: it must be one of "
                f"{', '.join(FORMATS)}"
            ) from error
        raise MediaError(
            f"not an image, or of no format that is read ({', '.join(FORMATS)}), or cut off in "
            f"its header: {len(data):,} bytes that begin with {data[:12]!r}"
        ) from error
    except Exception as error:  # decoders raise errors of any class for damaged headers
        raise MediaError(
            f"the image cannot be opened: {str(error) or type(error).__name__} ({len(data):,} "
            f"bytes that begin with {data[:12]!r})"
        ) from error
    check_size(image, limits)
    return image


def _other_format(data: bytes) -> str | None:
    edges = data[:512] + data[-26:]
    names = (name for name, mark in _OTHER_FORMATS.items() if mark.search(edges))
    return next((name for name in names if name not in FORMATS), None)


def load_pixels(image: Image.Image, data: bytes = b"") -> Image.Image:
    """The pixels of an opened image, upright and in RGB. Raises MediaError.

    Args:
      image: as `open_file` gives it.
      data: the file's bytes, from which the fastest decoder whose pixels are Pillow's may read.

    """
    try:
        upright = jpeg.decode(data, image) or _upright(image)
    except Exception as error:
        raise MediaError(f"the {image.format} image is cut off or damaged: {error}") from error
    count_suspect_frames(image)
    return upright


def _raise_pixel_limit(pixels: int) -> None:
    """Raise Pillow's limit of pixels, if it is lower.

    The limit is global to the process, and another thread may be opening an image, so it is never
    lowered. The limits of this job are checked separately.
    """
    with _limit_lock:
        if Image.MAX_IMAGE_PIXELS is not None:
            Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, pixels)


def _upright(image: Image.Image) -> Image.Image:
    upright = ImageOps.exif_transpose(image)
    if upright.mode not in ("RGB", "L") or upright.info:
        count_suspect(upright)
    return upright.convert("RGB")


def count_suspect(image: Image.Image) -> None:
    """Count an image that loses information when it is converted to RGB, see suspects.py."""
    if image.mode in WIDE:
        values = np.asarray(image)
        low, high = values.min(), values.max()
        black = image.mode == "F" and 0 < high <= 1
        if black or not (low >= 0 and high <= 255):
            suspects.count("images_clipped", f"an image of the mode {image.mode}")
    elif image.mode in ("RGBA", "LA", "PA"):
        if np.asarray(image.getchannel("A")).min() < 255:
            suspects.count("images_transparent", f"an image of the mode {image.mode}")
    elif "transparency" in image.info:
        suspects.count("images_transparent", f"an image of the mode {image.mode}")


def count_suspect_frames(image: Image.Image) -> None:
    """Count an image of several frames or pages. The previews in photos of phones do not count."""
    with contextlib.suppress(Exception):  # frames after the first may be damaged
        if image.format != "MPO" and getattr(image, "is_animated", False):
            suspects.count("images_of_many_frames", f"a {image.format} image")


def _of_array(array: np.ndarray[Any, Any], limits: MediaLimits) -> Image.Image:
    right = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in _CHANNELS)
    if array.dtype != np.uint8 or not right or not array.size:
        raise MediaError(
            "an array must be an image of uint8, (height, width), (height, width, 3) or "
            f"(height, width, 4), got {array.dtype} {array.shape}"
        )
    image = Image.fromarray(np.ascontiguousarray(array))
    check_size(image, limits)
    return image


def check_size(image: Image.Image, limits: MediaLimits) -> None:
    """Raises MediaError for an image of no pixels, or of too many."""
    width, height = image.size
    if not width or not height:
        raise MediaError(f"the image has no pixels: it is {width} by {height}")
    if width * height > limits.image_pixels:
        raise MediaError(
            f"the image has {width:,} by {height:,} pixels, more than the limit of "
            f"{limits.image_pixels:,} (image_pixels)"
        )
