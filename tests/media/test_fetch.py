"""The bytes of media: in files, URIs, base64, structs and whatever holds bytes."""

from __future__ import annotations

import base64
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image
from support.files import saved
from support.holders import HOLDERS
from support.pictures import PICTURES
from transformers.image_utils import load_image

from transforms.media import image
from transforms.media.fetch import MediaError, in_memory
from transforms.options.media_limits import MediaLimits

LIMITS = MediaLimits()


def dot(kind: str) -> bytes:
    """One pixel: the shortest file."""
    return saved(Image.new("RGB", (1, 1), (9, 8, 7)).convert("P" if kind == "GIF" else "RGB"), kind)


@pytest.mark.parametrize("kind", ["GIF", "PPM", "PNG", "BMP", "WEBP", "TIFF", "JPEG"])
def test_base64_of_any_length_is_read_as_transformers_reads_it(kind: str) -> None:
    data = dot(kind)
    text = base64.b64encode(data).decode()
    forms = [
        text,
        base64.encodebytes(data).decode(),
        f'"{text}"',
        " ".join(text),
        f"data:image/png;base64,{text}",
        f"data:image/png,{text}",
        f"data:image/png;base64,{text},AAAA",
    ]
    for form in forms:
        assert image.decode(form, LIMITS).tobytes() == load_image(form).tobytes(), form


NEITHER = "is not there: it must be the path of a file, a URI, or a whole file in base64"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("cats", NEITHER),  # valid base64, too
        ("photos/1234", NEITHER),
        ("", NEITHER),
        ("no path at all, é", NEITHER),
        (base64.b64encode(dot("GIF")).decode().rstrip("=") + "AAA", NEITHER),
        ("x" * 5000 + ".png", NEITHER),
        (base64.b64encode(b"no picture but a text" * 9).decode(), "not an image"),
        ("data:image/png;base64,AAAA", "not an image"),
        ("data:image/png;base64,A", "cannot be read"),
        ("data:image/png", "a data: URI must have a comma, and the file in base64 after it"),
    ],
)
def test_a_text_that_is_no_image_says_what_it_must_be(text: str, reason: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        load_image(text)
    with pytest.raises(MediaError) as error:
        image.decode(text, LIMITS)
    assert reason in str(error.value)
    assert len(str(error.value)) < 400


def test_a_file_comes_before_its_base64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = base64.urlsafe_b64encode(dot("GIF")).decode()
    monkeypatch.chdir(tmp_path)
    Path(text).write_bytes(PNG)
    assert image.decode(text, LIMITS).tobytes() == PICTURES[0].tobytes()


@pytest.mark.parametrize("name", HOLDERS)
def test_whatever_holds_bytes_holds_a_file(name: str) -> None:
    held = HOLDERS[name](PNG)
    for source in (held, {"bytes": held, "path": "gone.png"}):
        assert image.decode(source, LIMITS).tobytes() == PICTURES[0].tobytes()
    assert in_memory(held) == PNG  # once more: nothing was used up


def test_a_path_in_a_scalar_of_pyarrow(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    scalar = pa.scalar(str(tmp_path / "a.png"))
    assert image.decode(scalar, LIMITS).tobytes() == PICTURES[0].tobytes()


PNG = saved(PICTURES[0])
