"""Images, masks and audio in predictions, encoded as files: PNG and WAV."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..tasks.columns import Image

if TYPE_CHECKING:
    from PIL import Image as Pillow


def encode(kind: Any, value: Any) -> Any:
    """The struct {"bytes", "path"} of a file column; a value that is a file already is unchanged.

    Args:
      kind: `Image` or `Audio`, see tasks/columns.py.
      value: a Pillow image; a mask, an array or tensor that is True inside; or a waveform,
        {"array", "sampling_rate"}.

    """
    if kind is Image:
        return _encode_image(value)
    if isinstance(value, Mapping) and "array" in value:
        return {"bytes": wav(value["array"], value["sampling_rate"]), "path": None}
    return value


def _encode_image(value: Any) -> Any:
    from PIL import Image as Pillow

    if hasattr(value, "dtype"):
        value = Pillow.fromarray(np.asarray(value).astype(np.uint8) * 255)
    return {"bytes": png(value), "path": None} if isinstance(value, Pillow.Image) else value


def png(image: Pillow.Image) -> bytes:
    """A PNG file."""
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


def wav(samples: Any, rate: int) -> bytes:
    """A WAV file of float32 samples, (samples,) or (channels, samples); lossless."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, np.asarray(samples).T, rate, format="WAV", subtype="FLOAT")
    return file.getvalue()
