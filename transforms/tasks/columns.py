"""Images and audio in columns: structs of bytes and path, as in `datasets`.

Beam reads the annotations of these NamedTuples, so they are not postponed and use Optional.
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


#: The types of file columns, and the names of their features in `datasets`.
FILES: dict[Any, str] = {Image: "Image", Audio: "Audio"}
