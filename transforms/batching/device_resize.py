"""Images that cross to the engine as they were decoded, and are resized on the model's device.

Resizing is most of what an image costs a worker behind its decoding, and a device does it in no
time. It rounds in other ways: an accelerator resizes in floats, a CPU in integers. So this is an
option, `resize_on_device`, and the audit of a job shows what it changes.

A worker passes on pixels (`WholeImages`), the engine calls the image processor (`Resize`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..options.late import import_libraries
from ..pipelines.split_call import Features
from .pixels import PIXELS, TRIED, is_raw, processor_of

#: The pixels of a decoded image, one after the other: (1, height * width * 3) of uint8. In a batch
#: a list: images have sizes of their own.
DECODED = "decoded_pixels"
#: Of each image, (height, width).
_SIZES = "decoded_sizes"


class WholeImages:
    """A weightless pipeline's image processor, which passes on images as they were decoded.

    Args:
      pipe: the pipeline, whose image processor is changed.

    """

    def __init__(self, pipe: Any) -> None:
        processor = processor_of(pipe)
        cls = type(processor)

        def __call__(this: Any, images: Any = None, *args: Any, **kwargs: Any) -> Any:  # noqa: N807
            image = _only(images)
            if image is None or args or kwargs.keys() - {"return_tensors"}:
                return cls.__call__(this, images, *args, **kwargs)
            import_libraries()
            from transformers import BatchFeature

            return BatchFeature({PIXELS: _pixels(image)})

        members = {"__call__": __call__, "__module__": cls.__module__}
        processor.__class__ = type(cls.__name__, (cls,), members)

    def run(self, preprocess: Callable[[], tuple[Sequence[Features], Any]]) -> Any:
        """What `preprocess` gives, with the pixels of whole images as `Resize` takes them."""
        found = preprocess()
        for chunk in found[0]:
            if is_raw(chunk):
                pixels = chunk.pop(PIXELS)
                chunk[DECODED] = pixels.reshape(1, -1)
                chunk[_SIZES] = torch.tensor([pixels.shape[1:3]])
        return found


def _only(images: Any) -> Image.Image | None:
    """The one image that a processor is called with; None: there are more, or it is no image."""
    if isinstance(images, list | tuple) and len(images) == 1:
        images = images[0]
    return images if isinstance(images, Image.Image) and images.mode == "RGB" else None


def _pixels(image: Image.Image) -> torch.Tensor:
    """(1, height, width, 3) of uint8."""
    from ..media.array_image import ArrayImage

    if isinstance(image, ArrayImage):
        return image.tensor().permute(1, 2, 0)[None]
    return torch.from_numpy(np.array(image))[None]


class Resize:
    """The image processor of a loaded pipeline, for images that were passed on whole.

    Args:
      pipe: the pipeline, on whose device the processor computes.

    """

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        #: (1, channels, height, width) of what the model takes; known with the first image.
        self._shape: torch.Size | None = None

    def __call__(self, features: Features) -> Features:
        """Features as the model takes them, of one image or of a batch."""
        if not isinstance(features, Mapping) or DECODED not in features:
            return features
        finished: Any = copy.copy(features)
        images, sizes = finished.pop(DECODED), finished.pop(_SIZES).tolist()
        pixels = processed(
            processor_of(self._pipe),
            [
                image.to(self._pipe.device, non_blocking=True).view(*size, 3).permute(2, 0, 1)
                for image, size in zip(images, sizes, strict=True)
            ],
        )
        finished[PIXELS] = pixels.to(self._pipe.dtype)
        return finished

    def expected(self, features: Features) -> Features:
        """Features with tensors of the sizes that they will have, where they have whole images."""
        if not isinstance(features, Mapping) or DECODED not in features:
            return features
        if self._shape is None:
            self._shape = processed(processor_of(self._pipe), [_sample(TRIED[0])]).shape
        # Of the dtype that images have which a worker resized: see pixels.py.
        whole = torch.empty(self._shape, dtype=torch.uint8, device="meta")
        return {**features, DECODED: whole}


def processed(processor: Any, images: Sequence[torch.Tensor]) -> torch.Tensor:
    """What an image processor makes of images, (3, height, width) of uint8, on their device."""
    features = processor(images=list(images), return_tensors="pt", input_data_format=_FIRST)
    pixels: torch.Tensor = features[PIXELS]
    return pixels


_FIRST = "channels_first"


def _sample(size: tuple[int, int]) -> torch.Tensor:
    random = np.random.RandomState(size[0])
    return torch.from_numpy(random.randint(0, 256, (3, *size), np.uint8))


def check(pipe: Any, preprocess: Callable[[Any], Sequence[Features]] | None) -> None:
    """Raises ValueError, with the reason, for a pipeline whose images cannot be resized so.

    Args:
      pipe: the weightless pipeline; it is not changed.
      preprocess: given a pipeline, the features that its first stage makes of a small image; None:
        the task takes no image.

    """
    processor = processor_of(pipe)
    if preprocess is None or processor is None:
        raise ValueError("the task has no images")
    name = type(processor).__name__
    if not hasattr(processor, "rescale_and_normalize"):
        raise ValueError(f"{name} resizes with Pillow, which knows no devices")
    if getattr(processor, "resample", None) == Image.Resampling.LANCZOS:
        raise ValueError(f"{name} resizes with LANCZOS, which exists on CPUs alone")
    samples = [_sample(size) for size in TRIED]
    try:
        one, other = (processor(images=_image(each), return_tensors="pt") for each in samples)
    except Exception as error:
        raise ValueError(f"{name} takes no single image: {error}") from error
    if set(one) != {PIXELS}:
        raise ValueError(f"{name} makes more of an image than its pixels: {', '.join(one)}")
    if one[PIXELS].shape != other[PIXELS].shape:
        raise ValueError(f"{name} makes images of several sizes, which share no batch")
    if not torch.equal(processed(processor, samples[:1]), one[PIXELS]):
        raise ValueError(f"{name} makes something else of an image's pixels than of the image")
    tried = copy.copy(pipe)
    tried.image_processor = copy.copy(processor)
    whole = WholeImages(tried)
    chunks, _ = whole.run(lambda: (preprocess(tried), None))
    if not all(DECODED in chunk for chunk in chunks):
        raise ValueError(f"the first stage of {type(pipe).__name__} reads the images itself")


def _image(pixels: torch.Tensor) -> Image.Image:
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())
