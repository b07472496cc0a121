"""Files of images and sounds, good and odd ones."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from support.pictures import PICTURES
from support.sounds import RATE, TONE
from transforms.media import image


def png(image: Any) -> bytes:
    written = io.BytesIO()
    image.save(written, format="PNG")
    return written.getvalue()


def saved(picture: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, format=format, **options)
    return file.getvalue()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(PICTURES[0], "JPEG", exif=exif)


def bomb(width: int = 30_000, height: int = 30_000) -> bytes:
    """A PNG of a few bytes that claims to be huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1_000_000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


ODD: dict[str, bytes] = {
    **{f"orientation {i}": turned(i) for i in range(1, 9)},
    "alpha": saved(Image.merge("RGBA", (*PICTURES[0].split(), PICTURES[0].split()[0]))),
    "palette": saved(PICTURES[0].quantize(16)),
    "transparent palette": saved(PICTURES[0].quantize(16), transparency=3),
    "grey": saved(PICTURES[0].convert("L")),
    "grey and alpha": saved(PICTURES[0].convert("LA")),
    "black and white": saved(PICTURES[0].convert("1")),
    "16 bits": saved(Image.fromarray((np.arange(300).reshape(15, 20) * 200).astype(np.uint16))),
    "cmyk": saved(PICTURES[0].convert("CMYK"), "JPEG"),
    "webp": saved(PICTURES[0], "WEBP"),
    "gif": saved(PICTURES[0], "GIF", save_all=True, append_images=PICTURES[1:2]),
    "bmp": saved(PICTURES[0], "BMP"),
    "tiff": saved(PICTURES[0], "TIFF"),
    **({"avif": saved(PICTURES[0], "AVIF")} if "AVIF" in image.FORMATS else {}),
}


def sound_file(
    samples: NDArray[np.float32] = TONE,
    kind: str = "WAV",
    subtype: str | None = None,
    rate: int = RATE,
) -> bytes:
    written = io.BytesIO()
    soundfile.write(written, samples, rate, format=kind, subtype=subtype)
    return written.getvalue()
