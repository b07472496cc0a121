"""Images from everywhere, good and bad: what is read, and what is said of what cannot be."""

from __future__ import annotations

import base64
import functools
import http.server
import io
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import fsspec
import numpy as np
import pytest
import torch
import transformers
from PIL import Image, PngImagePlugin
from support import sink
from support.comparing import equal
from support.files import ODD, bomb, saved
from support.pictures import PICTURES, picture
from support.servers import serving
from transformers.image_utils import load_image

from pipelines_beam import ImageClassification
from transforms.media import image
from transforms.media.fetch import MediaError, read
from transforms.options.media_limits import MediaLimits

LIMITS = MediaLimits()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A server of the files in `tmp_path`."""
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    with serving(handler) as url:
        yield url


@pytest.mark.parametrize("name", ODD)
def test_images_are_decoded_as_transformers_loads_them(name: str) -> None:
    expected = load_image(Image.open(io.BytesIO(ODD[name])))
    found = image.decode(ODD[name], LIMITS)
    assert (found.mode, found.size) == (expected.mode, expected.size)
    assert found.tobytes() == expected.tobytes()
    assert found.getexif().get(0x0112, 1) == 1


def test_an_image_may_be_anywhere(tmp_path: Path, server: str) -> None:
    data = saved(PICTURES[0])
    path = tmp_path / "a picture.png"
    path.write_bytes(data)
    with fsspec.open("memory://pictures/one.png", "wb") as file:
        file.write(data)
    encoded = base64.b64encode(data).decode()
    sources: list[Any] = [
        data,
        path,
        str(path),
        path.as_uri().replace("%20", " "),
        "memory://pictures/one.png",
        f"{server}/a%20picture.png",
        f"data:image/png;base64,{encoded}",
        encoded,
        {"bytes": data, "path": None},
        {"bytes": data, "path": "gone.png"},
        {"bytes": None, "path": str(path)},
        PICTURES[0],
        np.asarray(PICTURES[0]),
    ]
    for source in sources:
        assert image.decode(source, LIMITS).tobytes() == PICTURES[0].tobytes(), source


def test_arrays_are_images() -> None:
    grey = np.asarray(PICTURES[0].convert("L"))
    with_alpha = np.dstack([np.asarray(PICTURES[0]), grey])
    assert image.decode(grey, LIMITS).tobytes() == PICTURES[0].convert("L").convert("RGB").tobytes()
    assert image.decode(with_alpha, LIMITS).tobytes() == PICTURES[0].tobytes()


def test_what_is_given_stays_as_it_was() -> None:
    given = picture("given", 20, 30).convert("RGBA")
    before = given.tobytes()
    image.decode(given, LIMITS)
    assert (given.mode, given.tobytes()) == ("RGBA", before)


def _metadata() -> PngImagePlugin.PngInfo:
    """More text than Pillow unpacks."""
    found = PngImagePlugin.PngInfo()
    found.add_text("notes", "x" * 2_000_000, zip=True)
    return found


class TextIOWrapper:
    """A file that is open; real ones cannot be sent to a worker."""

    def read(self) -> str:
        raise NotImplementedError


_OPEN = TextIOWrapper()
JPEG = saved(PICTURES[0], "JPEG")
PNG = saved(PICTURES[0])
REFUSED = ", which is not read: it must be one of JPEG, PNG, WEBP, GIF, BMP, TIFF, PPM"
#: What is wrong -> the medium, and what the message must say.
BAD: dict[str, tuple[Any, str]] = {
    "truncated JPEG": (JPEG[: len(JPEG) // 2], "JPEG image is cut off or damaged"),
    "truncated PNG": (PNG[: len(PNG) // 2], "PNG image is cut off or damaged"),
    "cut in the header": (JPEG[:20], "cut off in its header"),
    "damaged": (PNG[:60] + bytes(200) + PNG[260:], "PNG image is cut off or damaged"),
    "bomb": (bomb(), "pixels"),
    "huge": (bomb(9_000, 9_000), "9,000 by 9,000 pixels, more than the limit of 80,000,000"),
    "text": (b"no picture but a text", "not an image"),
    "empty": (b"", "the image is empty: it has 0 bytes"),
    "missing file": ("/nowhere/a.jpg", "the image '/nowhere/a.jpg' is not there"),
    "missing URI": ("memory://nowhere/a.jpg", "is not there"),
    "directory": ("/", "cannot be read"),
    "unknown scheme": ("gopher2://a/b.jpg", "cannot be read"),
    "no server": ("http://127.0.0.1:9/a.jpg", "cannot be read"),
    "empty struct": ({"bytes": None, "path": None}, "neither bytes nor a path"),
    "odd struct": ({"bytes": 3}, "must be bytes or a string, got 3"),
    "number": (3, "must be bytes, a path, a URI, a Pillow image, an array"),
    "floats": (np.zeros((4, 4, 3)), "must be an image of uint8"),
    "channels first": (np.zeros((3, 5, 6), np.uint8), "got uint8 (3, 5, 6)"),
    "tensor": (torch.zeros(5, 6, 3), "got Tensor"),
    "true or false": (np.zeros((5, 6), bool), "got bool (5, 6)"),
    "open file": (_OPEN, "got TextIOWrapper"),
    "bytearray of text": (bytearray(b"no picture but a text"), "not an image"),
    "large metadata": (
        saved(PICTURES[0], pnginfo=_metadata()),
        "the image cannot be opened: Decompressed data too large for PngImagePlugin.MAX_TEXT_CHUNK",
    ),
    "EPS": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n", "EPS" + REFUSED),
    "ICO": (saved(PICTURES[0], "ICO"), "the image is of the format ICO" + REFUSED),
    "JPEG 2000": (saved(PICTURES[0], "JPEG2000"), "of the format JPEG 2000" + REFUSED),
    "TGA": (saved(PICTURES[0], "TGA"), "of the format TGA" + REFUSED),
    "DDS": (saved(PICTURES[0], "DDS"), "of the format DDS" + REFUSED),
    "PCX": (saved(PICTURES[0], "PCX"), "of the format PCX" + REFUSED),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "of the format HEIC" + REFUSED),
    "PDF": (b"%PDF-1.7\n", "of the format PDF" + REFUSED),
    "SVG": (b'<?xml version="1.0"?>\n<svg width="9"/>', "of the format SVG" + REFUSED),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_is_an_error_that_says_why(name: str) -> None:
    source, reason = BAD[name]
    with pytest.raises(MediaError) as error:
        image.decode(source, LIMITS)
    assert reason in str(error.value)
    assert len(str(error.value)) < 400


def test_an_image_on_a_server_that_is_not_there(server: str) -> None:
    with pytest.raises(MediaError, match="the server answered 404 File not found"):
        image.decode(f"{server}/gone.png", LIMITS)


def test_limits() -> None:
    assert len(read(PNG, len(PNG), "image")) == len(PNG)
    with pytest.raises(MediaError, match=r"more bytes than the limit of 10 \(image_bytes\)"):
        image.decode(PNG, MediaLimits(image_bytes=10))
    with pytest.raises(MediaError, match="64 by 48 pixels, more than the limit of 100"):
        image.decode(PNG, MediaLimits(image_pixels=100))
    with pytest.raises(MediaError, match="64 by 48 pixels"):
        image.decode(PICTURES[0], MediaLimits(image_pixels=100))
    with pytest.raises(ValueError, match="image_pixels must be a positive number, got 0"):
        MediaLimits(image_pixels=0)
    with pytest.raises(ValueError, match="Did you mean 'image_pixels'"):
        ImageClassification("a/model", media_limits={"image_pixel": 5})
    assert ImageClassification("a/model", timeout=5.0).spec.media_limits.timeout == 5


def test_a_limit_above_pillows_own_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow warns from its limit on, which is an error here, and refuses twice as much."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    for size in ((40, 30), (64, 48)):
        data = saved(picture("large", *size))
        assert image.decode(data, MediaLimits(image_pixels=5_000)).size == size
    with pytest.raises(MediaError, match="has 64 by 48 pixels, more than the limit of 3,000"):
        image.decode(PNG, MediaLimits(image_pixels=3_000))
    with pytest.raises(MediaError, match=r"more pixels than the limit of 3,000 \(image_pixels\)"):
        image.decode(bomb(), MediaLimits(image_pixels=3_000))
    assert Image.MAX_IMAGE_PIXELS == 5_000  # a lower limit does not take it back from others


def test_without_a_limit_of_pillows_ours_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(MediaError, match="30,000 by 30,000 pixels, more than the limit"):
        image.decode(bomb(), LIMITS)
    assert Image.MAX_IMAGE_PIXELS is None


def test_pillows_limit_stays_where_ours_is_lower() -> None:
    before = Image.MAX_IMAGE_PIXELS
    assert before is not None
    image.decode(PNG, LIMITS)
    assert before == Image.MAX_IMAGE_PIXELS


def test_bad_images_among_good_ones(
    model: Callable[[str], str], server: str, tmp_path: Path
) -> None:
    """Each bad one is a row that says why; each good one has its answer."""
    directory = model("vit-classification")
    pipe = transformers.pipeline("image-classification", directory, device="cpu")
    expected = [pipe(picture) for picture in PICTURES]
    for i, each in enumerate(PICTURES):
        each.save(tmp_path / f"{i}.png")
    (tmp_path / "text.jpg").write_text("no picture")
    bad = {f"bad {name}": source for name, (source, _) in BAD.items()}
    bad["bad text.jpg"], bad["bad 404"] = str(tmp_path / "text.jpg"), f"{server}/gone.jpg"
    reasons = {f"bad {name}": reason for name, (_, reason) in BAD.items()}
    reasons |= {"bad text.jpg": "not an image", "bad 404": "404"}
    good: dict[str, Any] = {}
    for i, each in enumerate(PICTURES):
        paths = [
            str(tmp_path / f"{i}.png"),
            f"{server}/{i}.png",
            saved(each),
            {"bytes": saved(each)},
        ]
        good |= {f"{i} {j}": source for j, source in enumerate(paths)}
    elements = [*good.items(), *bad.items()]
    random.Random(3).shuffle(elements)
    sink.collected.clear()

    with beam.Pipeline() as p:
        answers, failed = (
            p
            | beam.Create(elements, reshuffle=False)
            | ImageClassification(directory, keyed=True).with_exception_handling()
        )
        answers | "Answers" >> beam.Map(sink.collect)
        failed | "Failed" >> beam.Map(sink.collect)

    rows = [each for each in sink.collected if hasattr(each, "stage")]
    found = dict(each for each in sink.collected if not hasattr(each, "stage"))
    sink.collected.clear()
    assert found.keys() == good.keys()
    for name, result in found.items():
        assert equal(expected[int(name.split()[0])], result.inference), name
    assert {row.element[0] for row in rows} == bad.keys()
    for row in rows:
        assert (row.stage, row.error) == ("preprocess", "MediaError")
        assert reasons[row.element[0]] in row.message
