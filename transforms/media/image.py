"""Images as the tasks take them: upright and in RGB, as transformers loads them."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from ..options.media_limits import MediaLimits
from ..options.shown import typed
from . import suspects
from .fetch import MediaError, in_memory, read

_AVIF = importlib.util.find_spec("PIL.AvifImagePlugin") is not None and features.check("avif")
#: What Pillow may decode. It knows many more: rare decoders, hardly tested against malice, and
#: one (EPS) that runs programs. Not every Pillow has AVIF.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", *(("AVIF",) if _AVIF else ()))

#: How files begin, or end, that are images, but of formats that are not decoded here.
_REFUSED = {
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
_raising = threading.Lock()


def decode(source: Any, limits: MediaLimits) -> Image.Image:
    """One image, turned as its EXIF orientation says, in RGB without alpha. Raises MediaError.

    Args:
      source: the bytes of a file, in whatever holds bytes; a path or URI; {"bytes", "path"} as
        datasets has it; a Pillow image; or an array of uint8, (height, width),
        (height, width, 3) or (height, width, 4).
      limits: how many bytes and pixels are too many.

    """
    source = in_memory(source)
    if isinstance(source, Image.Image):
        check_size(source, limits)
        return _upright(source)
    if isinstance(source, np.ndarray):
        return _upright(_of_array(source, limits))
    if isinstance(source, bytes | str | os.PathLike | Mapping):
        return pixels(opened(read(source, limits.image_bytes, "image", limits.timeout), limits))
    raise MediaError(
        "an image must be bytes, a path, a URI, a Pillow image, an array or a mapping with bytes "
        f"or path, got {typed(source)}"
    )


def png(image: Image.Image) -> bytes:
    """The image as a PNG file."""
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


def opened(data: bytes, limits: MediaLimits) -> Image.Image:
    """The image of a file's bytes, of which only the header is read yet. Raises MediaError."""
    _let_pillow(int(limits.image_pixels))
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise MediaError(
            f"the image has more pixels than the limit of {limits.image_pixels:,} (image_pixels): "
            f"{error}"
        ) from error
    except UnidentifiedImageError as error:
        known = _refused_format(data)
        if known is not None:
            raise MediaError(
                f"the image is of the format {known}, which is not read: it must be one of "
                f"{', '.join(FORMATS)}"
            ) from error
        raise MediaError(
            f"not an image, or of no format that is read ({', '.join(FORMATS)}), or cut off in "
            f"its header: {len(data):,} bytes that begin with {data[:12]!r}"
        ) from error
    except Exception as error:  # decoders meet damaged headers with errors of any kind
        raise MediaError(
            f"the image cannot be opened: {str(error) or type(error).__name__} ({len(data):,} "
            f"bytes that begin with {data[:12]!r})"
        ) from error
    check_size(image, limits)
    return image


def _refused_format(data: bytes) -> str | None:
    edges = data[:512] + data[-26:]
    found = (name for name, mark in _REFUSED.items() if mark.search(edges))
    return next((name for name in found if name not in FORMATS), None)


def pixels(image: Image.Image) -> Image.Image:
    """An opened image, upright and in RGB. Raises MediaError."""
    try:
        found = _upright(image)
    except Exception as error:
        raise MediaError(f"the {image.format} image is cut off or damaged: {error}") from error
    notice_frames(image)
    return found


def _let_pillow(pixels: int) -> None:
    """Let Pillow open so many pixels.

    Its limit is one for the process, so it is only ever raised, and only for those who ask for
    more than it allows: another thread may be opening an image, and ours is checked anyway.
    """
    with _raising:
        if Image.MAX_IMAGE_PIXELS is not None:
            Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, pixels)


def _upright(image: Image.Image) -> Image.Image:
    found = ImageOps.exif_transpose(image)
    if found.mode not in ("RGB", "L") or found.info:
        notice(found)
    return found.convert("RGB")


def notice(image: Image.Image) -> None:
    """Count an image that turns into something else when it becomes RGB."""
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


def notice_frames(image: Image.Image) -> None:
    """Count an image that moves, or has pages. A photo that phones add previews to does not."""
    with contextlib.suppress(Exception):  # what follows the first frame may be damaged
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
