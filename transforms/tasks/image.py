"""The image tasks. Columns carry the names of Hugging Face's inference types; see text.py."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .task import Columns, Parameters, Task
from .text import Label

#: What an image may be, and a Pillow image: see media/image.py.
IMAGE = (bytes, str, os.PathLike, Mapping, np.ndarray)


def _fixed(**columns: Any) -> Callable[[Parameters], Columns]:
    return lambda parameters: columns


def _listed(name: str) -> Callable[[Any, Parameters], Mapping[str, Any]]:
    """An answer that is a list of things is one column holding that list."""
    return lambda inference, parameters: {name: inference}


def _on_images(**declared: Any) -> dict[str, Any]:
    """The declarations of a task whose only input is an image."""
    return {"inputs": {"image": IMAGE}, "media": {"image": "image"}, **declared}


TASKS = (
    Task(
        name="image-classification",
        transform="ImageClassification",
        **_on_images(),
        parameters={"top_k": 5, "function_to_apply": None, "timeout": None},
        columns=_fixed(predictions=Sequence[Label]),
        values=_listed("predictions"),
        outputs=frozenset({"logits"}),
    ),
)
