"""How large media may be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MediaLimits:
    """What is more than this is refused before it is decoded."""

    #: An hour of CD quality, uncompressed, is 635 MB.
    audio_bytes: int = 768 * 1024 * 1024
    #: An hour at 16 kHz is 230 MB of float32.
    audio_seconds: int = 3600
