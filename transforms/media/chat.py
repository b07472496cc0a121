"""Images and audio of chats, read by the model's processor as in transformers.

Pipelines load the images of other inputs with Pillow. They leave those of chats and of any-to-any
inputs to the processor, which reads files with torchvision (or torchcodec if it is installed) and
takes Pillow images and arrays unchanged.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import io
import math
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from transformers.image_processing_base import ImageProcessingMixin

from ..options.media_limits import MediaLimits
from ..options.shown import cut
from . import audio as sounds
from . import image as images
from . import suspects
from .fetch import MediaError, in_memory, read

#: Formats that torchvision reads; files of other formats are read by Pillow.
_TORCHVISION_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF")
#: Formats of which all frames may be decoded at once.
_ANIMATED_FORMATS = ("GIF", "WEBP")

_PNG_DEPTH = 24  # where a PNG file says how many bits a channel has


def image(source: Any, processor: Any, limits: MediaLimits) -> Any:
    """One image, as the processor reads it: a Pillow image, an array or a tensor.

    The EXIF orientation of Pillow images is ignored, and arrays may have any dtype and order of
    axes that the processor knows. Sources that transformers refuses are accepted, too: bytes, all
    URIs, and formats that only Pillow reads (BMP, TIFF, PPM, AVIF), as in the image tasks. Animated
    GIFs and WebPs are refused, as in transformers.

    Args:
      source: as `media.image.decode` takes it; or an array or tensor that the processor takes.
      processor: the model's.
      limits: the largest numbers of bytes and pixels, of all frames together.

    Raises MediaError.

    """
    source = in_memory(source)
    if isinstance(source, Image.Image):
        images.check_size(source, limits)
        if source.mode in images.WIDE:
            images.count_suspect(source)
        return source
    fetch = _fetch_of(processor)
    if fetch is None:
        return images.decode(source, limits)
    if isinstance(source, np.ndarray | torch.Tensor):
        _check_array(source, limits)
        # Torch warns of arrays that cannot be written to, as those of other processes are.
        return np.require(source, requirements="W") if isinstance(source, np.ndarray) else source
    by_pillow = getattr(fetch, "__func__", None) is ImageProcessingMixin.fetch_images
    if by_pillow or not isinstance(source, bytes | str | os.PathLike | Mapping):
        return images.decode(source, limits)
    return _of_file(read(source, limits.image_bytes, "image", limits.timeout), fetch, limits)


def audio(source: Any, rate: int, limits: MediaLimits) -> Any:
    """One audio, as processors read it: (samples,) float32 at `rate`. Raises MediaError.

    Files are read and resampled by transformers if the packages that it needs are installed (soxr,
    librosa or torchcodec, depending on its version), otherwise as in the audio tasks. Sources that
    transformers refuses are accepted, too: bytes, all URIs, samples with their own rate.

    Args:
      source: as `media.audio.decode` takes it.
      rate: the sampling rate of the processor.
      limits: the largest numbers of bytes and seconds.

    """
    source = in_memory(source)
    samples = isinstance(source, Mapping) and source.keys() & {"array", "raw"}
    if samples or not isinstance(source, bytes | str | os.PathLike | Mapping):
        return sounds.decode(source, rate, limits)
    data = read(source, limits.audio_bytes, "audio", limits.timeout)
    with sounds.open_file(data, limits):
        pass
    loaded = _loaded(data, rate)
    if loaded is None:
        return sounds.decode(data, rate, limits)
    sounds.count_suspect(loaded)
    return loaded


def _fetch_of(processor: Any) -> Callable[[str], Any] | None:
    """The function that reads image files for a processor; None if it may only take Pillow images.

    Such are processors from models' repositories, and those that call `load_image`.
    """
    module = type(processor).__module__
    if not module.startswith("transformers.") or hasattr(sys.modules.get(module), "load_image"):
        return None
    return getattr(getattr(processor, "image_processor", None), "fetch_images", None)


def _of_file(data: bytes, fetch: Callable[[str], Any], limits: MediaLimits) -> Any:
    opened = images.open_file(data, limits)
    if opened.format in _ANIMATED_FORMATS:
        _check_frames(opened, limits)
    if opened.format == "PNG" and data[_PNG_DEPTH] <= 8:
        pixels = _of_png(opened, _turns_pngs(fetch))
        _notice(opened, pixels)
        return pixels
    try:
        pixels = fetch(_as_uri(data, "image/*"))
    except Exception as error:
        if opened.format not in _TORCHVISION_FORMATS:
            return images.load_pixels(opened)
        raise MediaError(
            f"the {opened.format} image cannot be read as transformers reads images of chats: "
            f"{cut(str(error) or type(error).__name__, 200)}"
        ) from error
    if pixels.ndim != 3:
        raise MediaError(
            f"the {opened.format} image has {len(pixels)} frames, which transformers does not take "
            "in chats: make an image of each, or of the one that is meant"
        )
    _notice(opened, pixels)
    return pixels


@functools.cache
def _turns_pngs(fetch: Callable[[str], Any]) -> bool:
    """Whether a PNG is turned upright as its EXIF says: not by every release of torchvision."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    file = io.BytesIO()
    Image.new("RGB", (2, 1)).save(file, "PNG", exif=exif)
    high: bool = fetch(_as_uri(file.getvalue(), "image/*")).shape[-2] == 2
    return high


def _of_png(opened: Image.Image, turns: bool) -> torch.Tensor:
    """The pixels of 8 bits that torchvision gives; its decoder crashes at some damaged files."""
    try:
        upright = ImageOps.exif_transpose(opened) if turns else opened
        if upright.mode == "P":  # of which Pillow warns if colours are transparent
            upright = upright.convert("RGBA")
        pixels = np.array(upright.convert("RGB"))
    except Exception as error:
        raise MediaError(f"the PNG image is cut off or damaged: {error}") from error
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _as_uri(data: bytes, kind: str) -> str:
    """A data: URI of the file, which transformers takes in place of bytes."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _check_frames(image: Image.Image, limits: MediaLimits) -> None:
    with contextlib.suppress(OSError, EOFError, SyntaxError):  # the processor reports damaged files
        frames = getattr(image, "n_frames", 1)
        if frames * image.width * image.height > limits.image_pixels:
            raise MediaError(
                f"the {image.format} image has {frames:,} frames of {image.width:,} by "
                f"{image.height:,} pixels, together more than the limit of "
                f"{limits.image_pixels:,} (image_pixels)"
            )


def _check_array(array: Any, limits: MediaLimits) -> None:
    shape = tuple(array.shape)
    channels = min(shape[-3], shape[-1]) if len(shape) > 2 else 1
    pixels = math.prod(shape) // max(channels, 1)
    if not pixels:
        raise MediaError(f"the image has no pixels: it is an array of shape {shape}")
    if pixels > limits.image_pixels:
        raise MediaError(
            f"the image is an array of shape {shape}, with more pixels than the limit of "
            f"{limits.image_pixels:,} (image_pixels)"
        )


def _notice(opened: Image.Image, pixels: torch.Tensor) -> None:
    """Count an image that loses information when a processor reads it, see suspects.py."""
    with contextlib.suppress(Exception):  # Pillow may fail at files that torchvision decodes
        if opened.mode in images.WIDE:
            if pixels.numpy().max() > 255:
                suspects.count("images_of_16_bits", f"an image of the mode {opened.mode} in a chat")
        else:
            images.count_suspect(opened)
    images.count_suspect_frames(opened)


def _loaded(data: bytes, rate: int) -> sounds.Samples | None:
    """The samples as transformers loads them; None if a package for that is not installed."""
    from transformers.audio_utils import load_audio

    try:
        samples: sounds.Samples = load_audio(_as_uri(data, ""), sampling_rate=rate)
    except ImportError:
        return None
    except Exception as error:
        raise MediaError(
            "the audio cannot be read as transformers reads sounds of chats: "
            f"{cut(str(error) or type(error).__name__, 200)}"
        ) from error
    return samples
