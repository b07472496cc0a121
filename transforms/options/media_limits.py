"""How large media may be: what is larger is refused before it is decoded."""

from __future__ import annotations

from dataclasses import dataclass, fields

from .shown import shown


@dataclass(frozen=True, kw_only=True)
class MediaLimits:
    """The most that one medium may have, how long to wait for it, and for how many at once.

    Raises ValueError for a value that is not a positive number.
    """

    #: A photo of 80 megapixels as a JPEG has about 40 MB, as a PNG twice that.
    image_bytes: int = 128 * 1024 * 1024
    #: Decoded, they are 240 MB. Larger cameras exist, but a few bytes can claim any size.
    image_pixels: int = 80_000_000
    #: An hour of CD quality, uncompressed, is 635 MB.
    audio_bytes: int = 768 * 1024 * 1024
    #: An hour at 16 kHz is 230 MB of float32. At higher rates than 48 kHz there may be as
    #: many samples as an hour has at 48 kHz: 690 MB.
    audio_seconds: int = 3600
    #: A worker holds the compressed file in memory while it decodes.
    video_bytes: int = 1024 * 1024 * 1024
    #: Ten minutes at 30 frames a second: all up to the last one wanted must be decoded.
    video_frames: int = 18_000
    #: Of one frame, 8K as cinemas have it: 106 MB decoded.
    video_pixels: int = 8192 * 4320
    #: Of the frames that are wanted together: 690 in full HD. It takes twice that for a moment.
    video_decoded_bytes: int = 4 * 1024 * 1024 * 1024
    #: Seconds without an answer after which a server is given up. With http and https it may not
    #: take more in all, either, but one for every 100 kB that it sends.
    timeout: float = 60.0
    #: URIs that a bundle fetches at once: these hide 50 ms of latency behind the decoding.
    fetches: int = 16

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
                raise ValueError(f"{item.name} must be a positive number, got {shown(value)}")
        if not isinstance(self.fetches, int):
            raise ValueError(f"fetches must be a whole number, got {shown(self.fetches)}")
