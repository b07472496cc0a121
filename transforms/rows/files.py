"""Images and masks as files."""

from typing import Any

from ..tasks.columns import Image


def file(kind: Any, value: Any) -> Any:
    """A value of a file column: what is no file yet becomes one."""
    return _png(value) if kind is Image else value


def _png(value: Any) -> Any:
    """A Pillow image, or a mask that is True inside, as a PNG file."""
    from PIL import Image as Pillow

    from ..media.image import png

    if hasattr(value, "dtype"):
        import numpy as np

        value = Pillow.fromarray(np.asarray(value).astype(np.uint8) * 255)
    return {"bytes": png(value), "path": None} if isinstance(value, Pillow.Image) else value
