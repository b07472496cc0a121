"""Versions of packages: workers must have those of the process that built the pipeline."""

from __future__ import annotations

import functools
import importlib.metadata
import socket
from collections.abc import Mapping

#: This package, and what decides how its stages are unpickled and what a model answers.
_PACKAGES = ("pipelines-beam", "apache-beam", "transformers", "torch")

_UNKNOWN = "not installed"


class WorkerVersionError(RuntimeError):
    """A worker has other versions of packages than the process that built the pipeline."""


@functools.cache
def here() -> Mapping[str, str]:
    """The versions in this process, by package, without what they say of devices."""
    found = {}
    for package in _PACKAGES:
        try:
            version: str | None = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # a checkout on the import path
            version = None
        # None, too, of a package that was not installed to its end.
        found[package] = (version or _UNKNOWN).partition("+")[0]
    return found


def check(built_with: Mapping[str, str]) -> None:
    """Raises WorkerVersionError if this process has others than the one that built the pipeline."""
    own = here()
    others = [
        f"{package} {own[package]}, and the pipeline was built with {version}"
        for package, version in built_with.items()
        if own[package] != version and _UNKNOWN not in (own[package], version)
    ]
    if others:
        raise WorkerVersionError(
            f"the worker on {socket.gethostname()} has {'; '.join(others)}: answers may differ. "
            "Install the same versions there: `pipelines-beam image` writes such an image"
        )
