"""Images and sounds of chats, as transformers reads them: by the model's own processor.

Pipelines load the images of other inputs with Pillow. A chat's, and those beside an any-to-any
text, they leave to the processor: it reads files with torchvision, or torchcodec where that is
installed, and takes Pillow images and arrays as they are.
"""

from __future__ import annotations

import base64
import contextlib
import math
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers.image_processing_base import ImageProcessingMixin

from ..options.media_limits import MediaLimits
from ..options.shown import cut
from . import audio as sounds
from . import image as images
from . import suspects
from .fetch import MediaError, in_memory, read

#: What torchvision reads; of other formats its refusal does not count.
_OF_TORCHVISION = ("JPEG", "MPO", "PNG", "WEBP", "GIF")
#: Of these all frames may be decoded at once.
_MOVING = ("GIF", "WEBP")


def image(source: Any, processor: Any, limits: MediaLimits) -> Any:
    """One image, as the processor reads it: a Pillow image, an array or a tensor.

    Pillow images are not turned as their EXIF orientation says, and arrays may have any dtype and
    order that the processor knows. What transformers refuses is answered, too: bytes, all URIs,
    and the formats that Pillow alone reads (BMP, TIFF, PPM, AVIF), as in the tasks of images. GIFs
    and WebPs that move are refused, as in transformers.

    Args:
      source: as `media.image.decode` takes it; or an array or tensor that the processor takes.
      processor: the model's.
      limits: how many bytes and pixels are too many; all frames count.

    Raises MediaError.

    """
    source = in_memory(source)
    if isinstance(source, Image.Image):
        images.check_size(source, limits)
        if source.mode in images.WIDE:
            images.notice(source)
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
    """One sound, as processors read it: (samples,) float32 at `rate`. Raises MediaError.

    Files are read and resampled by transformers where it has what it needs for that (soxr,
    librosa or torchcodec, as its version says), else as in the tasks of audio; so is what
    transformers refuses: bytes, all URIs, samples with their own rate.

    Args:
      source: as `media.audio.decode` takes it.
      rate: the sampling rate of the processor.
      limits: how many bytes and seconds are too many.

    """
    source = in_memory(source)
    samples = isinstance(source, Mapping) and source.keys() & {"array", "raw"}
    if samples or not isinstance(source, bytes | str | os.PathLike | Mapping):
        return sounds.decode(source, rate, limits)
    data = read(source, limits.audio_bytes, "audio", limits.timeout)
    with sounds.opened(data, limits):
        pass
    found = _loaded(data, rate)
    if found is None:
        return sounds.decode(data, rate, limits)
    sounds.notice(found)
    return found


def _fetch_of(processor: Any) -> Callable[[str], Any] | None:
    """What reads the files for a processor; None: it takes nothing but Pillow images for granted.

    Those of models' repositories may, and those that call `load_image` refuse all else.
    """
    module = type(processor).__module__
    if not module.startswith("transformers.") or hasattr(sys.modules.get(module), "load_image"):
        return None
    return getattr(getattr(processor, "image_processor", None), "fetch_images", None)


def _of_file(data: bytes, fetch: Callable[[str], Any], limits: MediaLimits) -> Any:
    opened = images.opened(data, limits)
    if opened.format in _MOVING:
        _check_frames(opened, limits)
    try:
        found = fetch(_as_uri(data, "image/*"))
    except Exception as error:
        if opened.format not in _OF_TORCHVISION:
            return images.pixels(opened)
        raise MediaError(
            f"the {opened.format} image cannot be read as transformers reads images of chats: "
            f"{cut(str(error) or type(error).__name__, 200)}"
        ) from error
    if found.ndim != 3:
        raise MediaError(
            f"the {opened.format} image has {len(found)} frames, which transformers does not take "
            "in chats: make an image of each, or of the one that is meant"
        )
    _notice(opened, found)
    return found


def _as_uri(data: bytes, kind: str) -> str:
    """The file as the only kind of text that holds one: it is what transformers takes."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _check_frames(image: Image.Image, limits: MediaLimits) -> None:
    with contextlib.suppress(OSError, EOFError, SyntaxError):  # the processor says what is damaged
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


def _notice(opened: Image.Image, found: torch.Tensor) -> None:
    """Count an image that turns into something else when a processor reads it."""
    with contextlib.suppress(Exception):  # torchvision decodes what Pillow may call damaged
        if opened.mode in images.WIDE:
            if found.numpy().max() > 255:
                suspects.count("images_of_16_bits", f"an image of the mode {opened.mode} in a chat")
        else:
            images.notice(opened)
    images.notice_frames(opened)


def _loaded(data: bytes, rate: int) -> sounds.Samples | None:
    """The samples as transformers loads them; None where it lacks a package for that."""
    from transformers.audio_utils import load_audio

    try:
        found: sounds.Samples = load_audio(_as_uri(data, ""), sampling_rate=rate)
    except ImportError:
        return None
    except Exception as error:
        raise MediaError(
            "the audio cannot be read as transformers reads sounds of chats: "
            f"{cut(str(error) or type(error).__name__, 200)}"
        ) from error
    return found
