"""Pictures and sounds of examples, small enough for a page, as data URIs."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from transforms.media.fetch import MediaError, in_memory, read
from transforms.options.media_limits import MediaLimits

from .texts import cut, seconds

if TYPE_CHECKING:
    from PIL import Image

_LIMITS = MediaLimits(timeout=10, image_bytes=50_000_000, audio_bytes=50_000_000)
_SIDE = 480  # pixels of a picture
_RATE, _SECONDS = 16_000, 12  # of a sound
_MOST_FRAMES = 3  # of a video
#: RGB of the colours of labels, see page.css.
PALETTE = (
    (37, 99, 235),
    (217, 119, 6),
    (5, 150, 105),
    (190, 24, 93),
    (109, 40, 217),
    (14, 116, 144),
)


class Budget:
    """How many bytes of media a page may have, and until when they are fetched."""

    def __init__(self, size: int = 6_000_000, time_limit: float = 60) -> None:
        self._left = size
        self._end = time.monotonic() + time_limit

    def check(self) -> None:
        """Raises MediaError when nothing is left."""
        if self._left <= 0:
            raise MediaError("the page has as many bytes of media as it may have")
        if time.monotonic() > self._end:
            raise MediaError("fetching media for this page has taken as long as it may")

    def uri(self, data: bytes, kind: str) -> str:
        """A file as a data URI."""
        self._left -= len(data)
        return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def picture(source: Any) -> Image.Image:
    """An image in RGB, in its own size. Raises MediaError, or ImportError without Pillow."""
    from transforms.media import image

    return image.load_pixels(image.open_file(read(source, _LIMITS.image_bytes, "image"), _LIMITS))


def frames(source: Any) -> list[Image.Image]:
    """Some frames of a video. Raises MediaError, or ImportError without PyAV."""
    from PIL import Image

    from transforms.media import video

    found = video.decode(in_memory(source), _LIMITS)
    chosen = np.linspace(0, len(found) - 1, min(_MOST_FRAMES, len(found))).astype(int)
    return [Image.fromarray(each) for each in found.frames(list(chosen))]


def small(image: Image.Image) -> Image.Image:
    """An image with at most so many pixels as a page shows."""
    image = image.copy()
    image.thumbnail((_SIDE, _SIDE))
    return image


def side_by_side(images: Sequence[Image.Image]) -> Image.Image:
    """Images in a row, all together as small as one."""
    from PIL import Image

    shown = [small(each) for each in images]
    strip = Image.new("RGB", (sum(each.width for each in shown), max(e.height for e in shown)))
    left = 0
    for each in shown:
        strip.paste(each, (left, 0))
        left += each.width
    return small(strip)


def picture_uri(image: Image.Image, budget: Budget) -> str:
    """An image as a data URI."""
    file = io.BytesIO()
    image.convert("RGB").save(file, format="WEBP", quality=80)
    return budget.uri(file.getvalue(), "image/webp")


def with_masks(image: Image.Image, masks: Sequence[Any], colours: Sequence[int]) -> Image.Image:
    """A small image with masks over it, each in its colour. Raises MediaError."""
    from PIL import Image

    shown = small(image)
    pixels: Any = np.asarray(shown, np.float32)
    for source, colour in zip(masks, colours, strict=True):
        mask = np.asarray(picture(source).convert("L").resize(shown.size), np.float32)[..., None]
        share = mask / 255 * 0.5
        pixels = pixels * (1 - share) + np.asarray(PALETTE[colour], np.float32) * share
    return Image.fromarray(pixels.round().astype(np.uint8))


def sound(source: Any, budget: Budget) -> tuple[str, str]:
    """A sound as a data URI, and what it is. Raises MediaError, or ImportError."""
    import soundfile

    from transforms.media import audio, resample

    samples, rate = audio.read_file(read(source, _LIMITS.audio_bytes, "audio"), _LIMITS)
    length = len(samples) / rate
    heard: Any = np.nan_to_num(samples[: int(_SECONDS * rate)]).clip(-1, 1)
    about = f"{seconds(length)}, {rate:,} Hz"
    if rate > _RATE:
        heard, rate = resample.resample(heard, rate, _RATE), _RATE
    if length > _SECONDS:
        about += f"; the first {_SECONDS} s"
    file = io.BytesIO()
    try:
        soundfile.write(file, heard, rate, format="MP3")
        kind = "audio/mpeg"
    except (soundfile.SoundFileError, ValueError):  # an old libsndfile, or a rate that MP3 lacks
        file = io.BytesIO()
        soundfile.write(file, heard, rate, format="WAV", subtype="PCM_16")
        kind = "audio/wav"
    return budget.uri(file.getvalue(), kind), about


def name_of(source: Any) -> str:
    """What a medium is called: its path, or how large it is."""
    if isinstance(source, Mapping):
        source = source.get("path") or source.get("bytes")
    if isinstance(source, bytes):
        return f"{len(source):,} bytes"
    return cut(source, 120)
