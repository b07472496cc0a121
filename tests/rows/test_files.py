"""Images, masks and audio of predictions become files."""

from __future__ import annotations

import io

import numpy as np
import soundfile
from PIL import Image as Pillow
from support.pictures import PICTURES

from transforms.rows.files import encode, wav
from transforms.tasks.columns import Audio, Image


def test_images_and_masks_are_png() -> None:
    encoded = encode(Image, PICTURES[0])
    assert encoded["path"] is None
    assert Pillow.open(io.BytesIO(encoded["bytes"])).tobytes() == PICTURES[0].tobytes()
    mask = Pillow.open(io.BytesIO(encode(Image, np.eye(2, dtype=bool))["bytes"]))
    assert (mask.format, np.asarray(mask).tolist()) == ("PNG", [[255, 0], [0, 255]])


def test_waveforms_are_wav_without_loss() -> None:
    samples = np.array([[0.1, -2.5, 1e-9], [0, 1, 3]], np.float32)
    encoded = encode(Audio, {"array": samples, "sampling_rate": 24_000})
    read, rate = soundfile.read(io.BytesIO(encoded["bytes"]), dtype="float32")
    assert (rate, encoded["path"]) == (24_000, None)
    assert np.array_equal(read.T, samples)
    mono, _ = soundfile.read(io.BytesIO(wav(samples[0], 8_000)), dtype="float32")
    assert np.array_equal(mono, samples[0])


def test_files_stay_as_they_are() -> None:
    struct = {"bytes": b"RIFF", "path": None}
    assert encode(Audio, struct) is struct
    assert encode(Image, struct) is struct
