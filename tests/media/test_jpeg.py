"""JPEGs by torchvision's decoder: the pixels, and the refusals, are Pillow's."""

from __future__ import annotations

import importlib.metadata
import io
import random
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from packaging.version import Version
from PIL import Image, ImageCms, ImageOps
from support.files import saved
from support.pictures import PICTURES, picture

from transforms.media import image, jpeg
from transforms.media.array_image import ArrayImage
from transforms.media.fetch import MediaError
from transforms.options.media_limits import MediaLimits

LIMITS = MediaLimits()
PHOTO = picture("photo", 163, 141)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def photo(size: tuple[int, int] = (63, 41), mode: str = "RGB", **options: Any) -> bytes:
    return saved(PHOTO.resize(size).convert(mode), "JPEG", **{"quality": 85, **options})


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return photo(exif=exif)


#: Files that torchvision decodes.
TAKEN: dict[str, bytes] = {
    **{
        f"{subsampling} {'progressive' if progressive else 'baseline'} {size}": photo(
            size, subsampling=subsampling, progressive=progressive
        )
        for subsampling in ("4:4:4", "4:2:2", "4:2:0", "4:1:1")
        for progressive in (False, True)
        for size in ((163, 141), (63, 41), (17, 1), (1, 17), (1, 1), (8, 8), (15, 33))
    },
    **{f"quality {quality}": photo(quality=quality) for quality in (1, 10, 50, 95, 100)},
    **{f"orientation {i}": turned(i) for i in range(1, 9)},
    "orientation that does not exist": turned(77),
    "grey": photo(mode="L"),
    "grey, progressive": photo(mode="L", progressive=True),
    "red, green and blue, not converted": photo(keep_rgb=True),
    "restart markers": photo((163, 141), optimize=True, restart_marker_rows=1),
    "profile": photo(icc_profile=PROFILE),
    "comment": photo(comment=b"x" * 60_000),
    "several pictures": saved(PHOTO, "MPO", save_all=True, append_images=[PICTURES[0]]),
    "bytes after its end": photo() + bytes(1000),
}
#: Files that are left to Pillow.
LEFT = {
    "cmyk": photo(mode="CMYK"),
    "png": saved(PHOTO),
    "webp": saved(PHOTO, "WEBP"),
}


def by_pillow(data: bytes) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")


@pytest.mark.parametrize("name", TAKEN)
def test_pixels_are_pillows(name: str) -> None:
    opened = image.open_file(TAKEN[name], LIMITS)
    found = jpeg.decode(TAKEN[name], opened)
    assert found is not None
    expected = by_pillow(TAKEN[name])
    assert (found.size, found.mode) == (expected.size, "RGB")
    assert found.tobytes() == expected.tobytes()
    assert np.array_equal(np.asarray(found), np.asarray(expected))
    assert image.decode(TAKEN[name], LIMITS).tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", LEFT)
def test_others_are_left_to_pillow(name: str) -> None:
    assert jpeg.decode(LEFT[name], image.open_file(LEFT[name], LIMITS)) is None
    assert image.decode(LEFT[name], LIMITS).tobytes() == by_pillow(LEFT[name]).tobytes()


def _cut(data: bytes, at: int, random: random.Random) -> bytes:
    return data[:at]


def _flipped(data: bytes, at: int, random: random.Random) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def _zeroed(data: bytes, at: int, random: random.Random) -> bytes:
    return data[:at] + bytes(len(data[at : at + 20])) + data[at + 20 :]


def _inserted(data: bytes, at: int, random: random.Random) -> bytes:
    return data[:at] + random.randbytes(9) + data[at:]


@pytest.mark.parametrize("damage", [_cut, _flipped, _zeroed, _inserted])
def test_damaged_files_are_taken_and_refused_as_by_pillow(
    damage: Callable[[bytes, int, random.Random], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """300 of them: the same pixels, or the same message."""
    draw = random.Random(damage.__name__)
    names = ("4:2:0 baseline (63, 41)", "4:2:2 progressive (15, 33)", "grey", "orientation 6")
    outcomes = set()
    for i in range(300):
        data = TAKEN[names[i % len(names)]]
        damaged = damage(data, draw.randrange(2, len(data)), draw)
        found = outcome(damaged)
        with monkeypatch.context() as context:
            context.setattr(jpeg, "_is_equal", lambda: False)
            assert found == outcome(damaged)
        outcomes.add(type(found))
    assert str in outcomes
    assert len(outcomes) == 2 or damage is _cut


def outcome(data: bytes) -> Any:
    """The size and the pixels, or what is said of the file."""
    try:
        found = image.decode(data, LIMITS)
    except MediaError as error:
        return str(error)
    # Earlier ones have another release of libjpeg, which fills damaged parts with other pixels.
    of_one_release = Version(importlib.metadata.version("torchvision")) >= Version("0.29")
    return found.size, found.tobytes() if of_one_release else b""


def test_the_size_that_counts_is_checked() -> None:
    """A file that declares two sizes is neither decoded nor allocated as the larger one."""
    data = photo()
    at = data.index(b"\xff\xc0")
    length = struct.unpack(">H", data[at + 2 : at + 4])[0]
    header = data[at : at + 2 + length]
    large = header[:5] + struct.pack(">HH", 60_000, 60_000) + header[9:]
    for first, second in ((large, header), (header, large)):
        forged = data[:at] + first + second + data[at + 2 + length :]
        with pytest.raises(MediaError, match=r"more pixels than the limit|cut off or damaged"):
            image.decode(forged, LIMITS)
    with pytest.raises(MediaError, match="more pixels than the limit"):
        image.decode(data[:at] + large + data[at + 2 + length :], LIMITS)


def test_pillow_decodes_where_torchvision_gives_other_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded = jpeg._decoded
    monkeypatch.setattr(jpeg, "_decoded", lambda data: decoded(data) ^ 1)
    assert not jpeg._is_equal.__wrapped__()
    monkeypatch.setattr(jpeg, "_is_equal", jpeg._is_equal.__wrapped__)
    assert image.decode(TAKEN["grey"], LIMITS).tobytes() == by_pillow(TAKEN["grey"]).tobytes()


def test_pillow_decodes_without_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not jpeg._is_equal.__wrapped__()


def test_torchvision_is_used_where_it_is_installed() -> None:
    assert jpeg._is_equal()
    assert isinstance(image.decode(TAKEN["grey"], LIMITS), ArrayImage)
