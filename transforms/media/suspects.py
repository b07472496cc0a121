"""Suspect media: valid for the model, but likely not what the user intended.

They are processed as by transformers. Each is counted in the job's metrics, and the first of each
kind in a process is logged.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from ..options.metrics_namespace import NAMESPACE

logger = logging.getLogger(__name__)

#: By the kind, which the counter is named after: how such media are processed, and better ways.
_KINDS = {
    "images_clipped": (
        "is cut to the values 0 to 255, as in transformers: most of a 16-bit image turns white, "
        "and one of floats from 0 to 1 black. Scale it to 8 bits first"
    ),
    "images_of_16_bits": (
        "goes to the model with values up to 65,535, as in transformers, which reads the files of "
        "chats so: no model knows such values. Scale it to 8 bits first"
    ),
    "images_transparent": (
        "loses its transparency, as in transformers: the hidden colours show, which are often "
        "black. Put it on a background first"
    ),
    "images_of_many_frames": (
        "has more frames or pages than one: only the first is looked at, as in transformers. "
        "Make an element of each first"
    ),
    "audio_not_finite": (
        "has samples that are NaN or infinite: as in transformers, the whole answer is likely "
        "empty or arbitrary. Clean it first"
    ),
    "audio_out_of_range": (
        "has samples far outside -1 to 1, as whole numbers kept as floats have, and goes to the "
        "model as it is, as in transformers. Divide samples of 16 bits by 32768 first"
    ),
}
_logged: set[str] = set()


class _Local(threading.local):
    found: list[tuple[str, str]] | None = None


_local = _Local()


@contextlib.contextmanager
def collected() -> Iterator[list[tuple[str, str]]]:
    """The arguments of each `count` of this thread in here, which counts nothing.

    Beam's metrics belong to the thread that processes the bundle.
    """
    found: list[tuple[str, str]] = []
    _local.found = found
    try:
        yield found
    finally:
        _local.found = None


def count(kind: str, what: str) -> None:
    """Count a medium, and log the first of its kind; `what` describes it in a few words."""
    if _local.found is not None:
        _local.found.append((kind, what))
        return
    count_suspect(kind)
    if kind not in _logged:
        _logged.add(kind)
        logger.warning(
            "%s %s. The counter %r has their number; this is said once per process.",
            what,
            _KINDS[kind],
            suspect_name(kind),
        )


def count_suspect(kind: str) -> None:
    """Count a suspect medium.

    Beam's counters suspect_images_clipped (values outside 0 to 255),
    suspect_images_of_16_bits (in chats), suspect_images_transparent,
    suspect_images_of_many_frames, suspect_audio_not_finite (NaN, infinity) and
    suspect_audio_out_of_range (far outside -1 to 1).
    """
    from apache_beam.metrics import Metrics

    Metrics.counter(NAMESPACE, suspect_name(kind)).inc()


def suspect_name(kind: str) -> str:
    """The name of the counter of a kind of suspect media."""
    return f"suspect_{kind}"
