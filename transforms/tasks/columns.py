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
