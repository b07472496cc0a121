"""Tiny random models, by name: a model is added to the table of the module that it belongs to."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from support.models import any_to_any, audio, diffusion, image, multimodal, speech, text

#: A model's name -> what writes it into a directory.
MODELS: dict[str, Callable[[Path], None]] = {
    **text.MODELS,
    **image.MODELS,
    **audio.MODELS,
    **speech.MODELS,
    **multimodal.MODELS,
    **any_to_any.MODELS,
    **diffusion.MODELS,
}


def build(name: str, root: Path) -> Path:
    """Return `root/name`, built if it is not there; safe with several processes at once."""
    if name not in MODELS:
        raise ValueError(f"name must be one of {', '.join(MODELS)}, got {name!r}")
    directory = root / name
    if directory.is_dir():
        return directory
    root.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=root))
    try:
        MODELS[name](temporary)
        temporary.rename(directory)
    except OSError:
        # Another process may have been faster; whatever else failed is not hidden.
        if not directory.is_dir():
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return directory
