"""Where models are said to be: a hub id, a local directory, or a URI."""

from __future__ import annotations

import os
import re

from fsspec.registry import known_implementations, registry

from .shown import shown
from .suggest import unknown

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(://|::)")


def is_uri(source: str) -> bool:
    """Whether a model source is a URI that fsspec reads: s3://…, gs://…, memory://…."""
    return _URI.match(source) is not None


def is_local(source: str) -> bool:
    """Whether a model source is a path of this machine rather than a hub id or a URI."""
    if is_uri(source):
        return False
    looks = source.startswith((".", "/", "~", os.sep)) or source.count("/") > 1
    return looks or os.path.isdir(source)


def model_source(name: str, source: object) -> str | None:
    """The source as workers can read it: a hub id or URI as given, a directory's full path."""
    if source is None and name != "model":
        return None
    if isinstance(source, os.PathLike):
        source = os.fspath(source)
    if not isinstance(source, str) or not source:
        raise ValueError(
            f"{name} must be a Hugging Face model id, a local directory or a URI, got "
            f"{shown(source)}; "
            "a loaded object cannot be sent to the workers: save_pretrained() it and pass the "
            "directory"
        )
    if is_uri(source):
        protocol = source.partition(":")[0]
        known = {*registry, *known_implementations}
        if protocol not in known:
            raise ValueError(f"{name}={shown(source)}: {unknown('protocol', protocol, known)}")
    if not is_local(source):
        return source
    path = os.path.abspath(os.path.expanduser(source))
    if not os.path.isdir(path):
        raise FileNotFoundError(f"{name}: there is no directory {shown(source)} (looked at {path})")
    return path
