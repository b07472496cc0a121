"""Sounds for the tests, made from their names."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATE = 16_000


def sound(name: str, seconds: float, rate: int = RATE) -> NDArray[np.float32]:
    """Tones that rise and fall, bursts of noise and pauses; different for every name."""
    random = np.random.RandomState(zlib.crc32(name.encode()))
    time = np.arange(round(seconds * rate)) / rate
    found = np.zeros(len(time))
    for _ in range(6):
        start, length = random.uniform(0, seconds), random.uniform(0.05, 0.4) * max(seconds, 0.3)
        pitch, bend = random.uniform(80, 3000), random.uniform(-2000, 2000)
        loud = np.clip(1 - np.abs((time - start) / length - 1), 0, None) * random.uniform(0.1, 0.5)
        found += loud * np.sin(2 * np.pi * (pitch * time + bend * time**2 / 2))
    found += random.uniform(0, 0.05) * random.standard_normal(len(time))
    return np.asarray(found / max(1.0, np.abs(found).max()), np.float32)


#: Sounds of several lengths, two of each of some, so that there is something to batch.
SOUNDS = [sound(f"sound {i}", (0.4, 1.0, 0.4, 1.7, 0.9, 1.0, 2.6, 0.4, 1.7)[i]) for i in range(9)]
TONE = sound("tone", 1.0)


def copied(value: Any) -> Any:
    """transformers takes what it uses out of a mapping."""
    return dict(value) if isinstance(value, dict) else value
