"""Media that are answered as transformers does, and hardly as they are meant: said and counted."""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Callable
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import transformers
from apache_beam.metrics.metric import MetricsFilter
from numpy.typing import NDArray
from PIL import Image
from support.comparing import equal
from support.files import saved, sound_file
from support.pictures import PICTURES
from support.runs import RUNNER
from support.sounds import RATE
from transformers.image_utils import load_image

from pipelines_beam import ImageClassification
from transforms.media import audio, image, suspects
from transforms.options import metrics_namespace
from transforms.options.media_limits import MediaLimits

LIMITS = MediaLimits()
GREY = np.asarray(PICTURES[0].convert("L"))


def _with_alpha(alpha: int) -> Image.Image:
    found = PICTURES[0].copy()
    found.putalpha(alpha)
    return found


def _several(kind: str) -> bytes:
    return saved(PICTURES[0], kind, save_all=True, append_images=[PICTURES[0].rotate(180)])


def _wide(values: NDArray[Any], kind: str = "PNG") -> bytes:
    return saved(Image.fromarray(values), kind)


def _big_endian(values: NDArray[Any]) -> bytes:
    """A TIFF of one strip."""
    height, width = values.shape
    tags = [(256, width), (257, height), (258, 16), (259, 1), (262, 1), (273, 128), (277, 1)]
    tags += [(278, height), (279, values.size * 2)]
    entries = b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in tags)
    header = b"MM\0*" + struct.pack(">IH", 8, len(tags)) + entries
    return header.ljust(128, b"\0") + values.astype(">u2").tobytes()


#: An image, and what is counted.
IMAGES: dict[str, tuple[Any, str | None]] = {
    "16 bits": (_wide(GREY.astype(np.uint16) * 257), "images_clipped"),
    "16 bits in a TIFF": (_wide(GREY.astype(np.uint16) * 257, "TIFF"), "images_clipped"),
    "16 bits, big end first": (
        _big_endian(GREY.astype(">u2") * 257),
        "images_clipped",
    ),
    "16 bits of a camera": (b"P5 2 1 65535\n\x80\0\x40\0", "images_clipped"),
    "32 bits": (Image.fromarray(GREY.astype(np.int32) * 1000), "images_clipped"),
    "floats up to 1": (Image.fromarray(GREY.astype(np.float32) / 255), "images_clipped"),
    "floats that are NaN": (Image.fromarray(np.full((2, 2), np.nan, np.float32)), "images_clipped"),
    "16 bits with small values": (_wide(GREY.astype(np.uint16)), None),
    "floats up to 255": (Image.fromarray(GREY.astype(np.float32)), None),
    "black floats": (Image.fromarray(GREY.astype(np.float32) * 0), None),
    "alpha": (saved(_with_alpha(100)), "images_transparent"),
    "grey and alpha": (saved(_with_alpha(0).convert("LA")), "images_transparent"),
    "alpha in an array": (np.asarray(_with_alpha(3)), "images_transparent"),
    "transparent palette": (
        saved(PICTURES[0].quantize(16), transparency=3),
        "images_transparent",
    ),
    "alpha that hides nothing": (saved(_with_alpha(255)), None),
    "moving GIF": (_several("GIF"), "images_of_many_frames"),
    "moving PNG": (_several("PNG"), "images_of_many_frames"),
    "moving WebP": (_several("WEBP"), "images_of_many_frames"),
    "pages": (_several("TIFF"), "images_of_many_frames"),
    "photo with a preview": (_several("MPO"), None),
    "photo": (saved(PICTURES[0], "JPEG"), None),
    "CMYK": (saved(PICTURES[0].convert("CMYK"), "JPEG"), None),
    "one frame": (saved(PICTURES[0], "GIF"), None),
}
#: Samples, and what is counted.
SOUNDS: dict[str, tuple[Any, str | None]] = {
    "NaN": ([0.1, float("nan"), 0.2], "audio_not_finite"),
    "infinite": (np.array([0.1, -np.inf], np.float32), "audio_not_finite"),
    "too large for 32 bits": (np.array([1e300, 0.0]), "audio_not_finite"),
    "NaN in a file": (
        sound_file(np.array([0.1, np.nan], np.float32), subtype="FLOAT"),
        "audio_not_finite",
    ),
    "16 bits as floats": (np.array([0.0, -31000.0]), "audio_out_of_range"),
    "8 bits as floats": ({"array": [127.0, -128.0], "sampling_rate": RATE}, "audio_out_of_range"),
    "silence": (np.zeros(9), None),
    "clipped": (np.array([1.4, -1.6]), None),
    "of unit variance": (np.array([14.0, -15.0]), None),
}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds that are counted; nothing has been logged before."""
    found: list[str] = []
    monkeypatch.setattr(suspects, "count_suspect", found.append)
    monkeypatch.setattr(suspects, "_logged", set())
    return found


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_is_transformers_own_and_counted(name: str, counted: list[str]) -> None:
    source, kind = IMAGES[name]
    if isinstance(source, bytes):
        expected = load_image(Image.open(io.BytesIO(source)))
    else:
        given = source if isinstance(source, Image.Image) else Image.fromarray(source)
        expected = load_image(given)
    assert image.decode(source, LIMITS).tobytes() == expected.tobytes()
    assert counted == ([] if kind is None else [kind])


@pytest.mark.parametrize("name", SOUNDS)
def test_a_sound_stays_as_it_is_and_is_counted(name: str, counted: list[str]) -> None:
    source, kind = SOUNDS[name]
    assert audio.decode(source, RATE, LIMITS).dtype == np.float32
    assert counted == ([] if kind is None else [kind])


def test_it_is_said_once(counted: list[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for name in ("16 bits", "32 bits", "alpha", "16 bits"):
            image.decode(IMAGES[name][0], LIMITS)
    assert counted == ["images_clipped", "images_clipped", "images_transparent", "images_clipped"]
    first, second = (record.getMessage() for record in caplog.records)
    assert "turns white" in first
    assert "'suspect_images_clipped'" in first
    assert "transparency" in second


def test_a_job_counts_them(model: Callable[[str], str]) -> None:
    directory = model("vit-classification")
    pipe = transformers.pipeline("image-classification", directory, device="cpu")
    white, _ = IMAGES["16 bits"]
    expected = pipe(Image.open(io.BytesIO(white)))
    p = beam.Pipeline(RUNNER)
    answers = p | beam.Create([white, white, PICTURES[1]]) | ImageClassification(directory)
    right = answers | beam.Filter(lambda x: x.example == white and equal(expected, x.inference))
    right | beam.Map(lambda _: beam.metrics.Metrics.counter("test", "right").inc())
    result = p.run()
    result.wait_until_finish()

    def number(namespace: str, name: str) -> Any:
        wanted = MetricsFilter().with_namespace(namespace).with_name(name)
        (counter,) = result.metrics().query(wanted)["counters"]
        return counter.committed

    assert number(metrics_namespace.NAMESPACE, "suspect_images_clipped") == 2
    assert number("test", "right") == 2
