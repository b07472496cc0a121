"""Images and sounds in columns: files as structs of bytes and path, as `datasets` has them.

Beam reads the annotations of these NamedTuples: they are not postponed, and say Optional.
"""

from typing import Any, NamedTuple, Optional


class Image(NamedTuple):
    """An image file."""

    bytes: bytes
    path: Optional[str]


class Audio(NamedTuple):
    """An audio file."""

    bytes: bytes
    path: Optional[str]


#: The columns that `datasets` shows as pictures or plays, and what it calls them.
FILES: dict[Any, str] = {Image: "Image", Audio: "Audio"}


def file(kind: Any, value: Any) -> Any:
    """A value of a file column: what is no file yet becomes one."""
    return _png(value) if kind is Image else value


def _png(value: Any) -> Any:
    """A Pillow image, or a mask that is True inside, as a PNG file."""
    from PIL import Image as Pillow

    from .media.image import png

    if hasattr(value, "dtype"):
        import numpy as np

        value = Pillow.fromarray(np.asarray(value).astype(np.uint8) * 255)
    return {"bytes": png(value), "path": None} if isinstance(value, Pillow.Image) else value
