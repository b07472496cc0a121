"""Images that cross to the engine as uint8, and become what the model takes on its device.

The last steps of most image processors are to rescale pixels by a factor and to normalise them, in
one method that all of transformers' torchvision processors share. That makes four bytes of each,
which are then copied, sent and joined; and a device does it for a whole batch in no time. So
preprocessing stops before that method (`Deferral`), and the engine calls it (`Finish`).

Whether that gives the same is decided by the processor's own settings, tried on images when the
stage starts, and checked for each image: nothing but these steps, in this place, made its features.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from ..pipelines.split_call import Features

_BACKEND = "transformers.image_processing_backends"
#: The feature of an image that a model takes.
PIXELS = "pixel_values"
#: What the feature is called while its last steps are to come.
RAW = "raw_pixel_values"
#: Sizes of the images that a processor is tried on: wide and high, smaller and larger than many
#: models take.
TRIED = ((57, 43), (230, 410))
#: Between the same steps on two devices; on one they are equal.
_TOLERANCE = 1e-6


class Steps(NamedTuple):
    """The arguments of a processor's `rescale_and_normalize`, as it calls it."""

    do_rescale: Any
    rescale_factor: Any
    do_normalize: Any
    image_mean: Any
    image_std: Any

    @classmethod
    def of(cls, processor: Any) -> Steps | None:
        """The steps that a processor ends with, by its settings; None if there are none."""
        if not hasattr(processor, "rescale_and_normalize"):
            return None
        found = cls(*(getattr(processor, name, None) for name in cls._fields))
        return found.plain() if found.do_rescale or found.do_normalize else None

    def plain(self) -> Steps:
        """With tuples in place of lists, as comparisons need them."""
        return Steps(*(tuple(each) if isinstance(each, list) else each for each in self))


def processor_of(pipe: Any) -> Any:
    """The image processor of a pipeline; None: it has none."""
    processor = getattr(pipe, "image_processor", None)
    return getattr(processor, "_processor", processor)  # one that looks at an image once


class Finish:
    """The steps that preprocessing has left out, on the model's device.

    Args:
      pipe: the loaded pipeline.

    """

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._processor = processor_of(pipe)
        self._steps = Steps.of(self._processor)

    def __call__(self, features: Features) -> Features:
        """Features as the model takes them, of one image or of a batch."""
        if self._steps is None or not isinstance(features, Mapping) or RAW not in features:
            return features
        finished: Any = copy.copy(features)
        pixels = finished.pop(RAW).to(self._pipe.device)
        pixels = self._processor.rescale_and_normalize(pixels, *self._steps)
        finished[PIXELS] = pixels.to(self._pipe.dtype)
        return finished


class Deferral:
    """A weightless pipeline's image processor, which leaves out its last steps where that is exact.

    Args:
      pipe: the pipeline, whose image processor is changed.

    """

    def __init__(self, pipe: Any) -> None:
        self._processor = processor_of(pipe)
        self._steps = Steps.of(self._processor)
        #: The shapes of images whose last steps were left out in the processor's present call.
        self._deferred: list[torch.Size] | None = None
        #: Whether other images of the call had them.
        self._applied = False
        #: Whether any images of the present example were left without them.
        self._has_left_out = False
        self._is_on = False
        if self._steps is not None:
            self._intercept()
            self._is_on = self._proved()

    def __bool__(self) -> bool:
        """Whether the steps are left out. It becomes False with the first image that needs them."""
        return self._is_on

    def run(self, preprocess: Callable[[], tuple[Sequence[Features], Any]]) -> Any:
        """What `preprocess` gives, with its pixels as `Finish` takes them where that is exact."""
        self._has_left_out = False
        found = preprocess()
        if not self._has_left_out:
            return found
        if not all(map(_fits, found[0])):
            self._is_on = False
            return preprocess()
        for chunk in found[0]:
            chunk[RAW] = chunk.pop(PIXELS)
        return found

    def _intercept(self) -> None:
        cls = type(self._processor)

        def __call__(this: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807
            return self._call(lambda: cls.__call__(this, *args, **kwargs))

        def rescale_and_normalize(this: Any, images: Any, *args: Any, **kwargs: Any) -> Any:
            if self._leaves_out(images, args, kwargs):
                return images
            self._applied = True
            return cls.rescale_and_normalize(this, images, *args, **kwargs)

        def process_image(this: Any, image: Any, *args: Any, **kwargs: Any) -> Any:
            if self._deferred is None or args or not _is_plain(image, kwargs):
                return cls.process_image(this, image, *args, **kwargs)
            return image.tensor()

        members = {
            "__call__": __call__,
            "rescale_and_normalize": rescale_and_normalize,
            "__module__": cls.__module__,
        }
        if getattr(getattr(cls, "process_image", None), "__module__", "") == _BACKEND:
            members["process_image"] = process_image
        self._processor.__class__ = type(cls.__name__, (cls,), members)

    def _call(self, call: Callable[[], Any]) -> Any:
        """The result of a call of the processor, without its last steps if that is all they do."""
        if not self._is_on:
            return call()
        self._deferred, self._applied = [], False
        try:
            features = call()
        finally:
            shapes, self._deferred = self._deferred, None
        if not shapes:
            return features
        if not self._applied and _is_made_of(shapes, features):
            self._has_left_out = True
            features[PIXELS] = features[PIXELS].contiguous()
            return features
        self._is_on = False
        return call()

    def _leaves_out(self, images: Any, args: Any, kwargs: Any) -> bool:
        if self._deferred is None or images.dtype != torch.uint8:
            return False
        try:
            asked = Steps(*args, **kwargs).plain()
        except TypeError:  # a method of another signature
            return False
        if asked != self._steps:
            return False
        self._deferred.append(images.shape)
        return True

    def _proved(self) -> bool:
        """Whether leaving the steps out, and taking them later, gives what the processor gives."""
        try:
            return all(map(self._is_exact, TRIED))
        except Exception:  # one that needs more than an image, or several
            return False

    def _is_exact(self, size: tuple[int, int]) -> bool:
        from ..media.array_image import ArrayImage  # with Pillow, which engines of texts lack

        random = np.random.RandomState(size[0])
        pixels = random.randint(0, 256, (*size[::-1], 3), np.uint8)
        image = ArrayImage(pixels.copy())
        self._is_on = False
        expected = self._processor(images=[image], return_tensors="pt")
        self._is_on = True
        found = self._processor(images=[image], return_tensors="pt")
        if not self._is_on or not is_raw(found) or expected.keys() != found.keys():
            return False
        assert self._steps is not None
        self._is_on = False
        found[PIXELS] = self._processor.rescale_and_normalize(found[PIXELS], *self._steps)
        same = all(_is_same(expected[name], found[name]) for name in expected)
        return same and np.array_equal(np.asarray(image), pixels)


def _is_plain(image: Any, keywords: Mapping[str, Any]) -> bool:
    """Whether transformers' own `process_image` would only copy the image, from HWC to CHW.

    That, and resizing what lies so, take three times as long as resizing what lies as it was
    decoded; both give the same.
    """
    from ..media.array_image import ArrayImage

    return isinstance(image, ArrayImage) and keywords.get("device") is None


def is_raw(features: Features) -> bool:
    """Whether features have pixels that are as a decoder gives them."""
    if not isinstance(features, Mapping):
        return False
    pixels = features.get(PIXELS)
    return isinstance(pixels, torch.Tensor) and pixels.dtype == torch.uint8


def _is_made_of(shapes: Sequence[torch.Size], features: Features) -> bool:
    """Whether the pixels of features are those of images of these shapes, and no others.

    Else something followed the steps that were left out, such as padding.
    """
    if not is_raw(features):
        return False
    pixels = features[PIXELS]
    one = {shape[-3:] for shape in (*shapes, pixels.shape)}
    return len(one) == 1 and pixels.numel() == sum(shape.numel() for shape in shapes)


def _fits(features: Features) -> bool:
    """Whether the pixels of a chunk are where they are looked for, and nowhere else."""
    if not is_raw(features):
        return False
    return not any(_has_raw(value) for name, value in features.items() if name != PIXELS)


def _has_raw(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_raw, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_raw, value))
    return isinstance(value, torch.Tensor) and value.dtype == torch.uint8


def _is_same(one: Any, other: Any) -> bool:
    if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor):
        return bool(one == other)
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return not one.numel() or bool((one.double() - other.double()).abs().max() <= _TOLERANCE)
