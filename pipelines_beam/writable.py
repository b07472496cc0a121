"""Whether what a job writes can be written, before it computes anything."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator

from apache_beam.io.filesystems import FileSystems

from .specification import SpecificationError
from .yaml_steps import YamlStep

_KINDS = ("WriteToParquet", "WriteToJson", "WriteToCsv", "WriteToText")


def check(steps: Iterable[YamlStep]) -> None:
    """Write a file where each sink will write, and remove it, with the folders that it needed.

    Raises SpecificationError where that fails.
    """
    for step in steps:
        if step.kind in _KINDS and step.prefix:
            folder = FileSystems.split(step.prefix)[0]
            try:
                _probe(folder)
            except Exception as error:  # every store has errors of its own
                raise SpecificationError(
                    f"{step.name}: cannot write to {folder or '.'}: {type(error).__name__}: {error}"
                ) from error


def _probe(folder: str) -> None:
    name = f".{uuid.uuid4().hex}"
    if FileSystems.get_scheme(folder) is not None:
        path = FileSystems.join(folder, name)
        FileSystems.create(path).close()
        FileSystems.delete([path])
        return
    folder = folder or "."
    missing = list(_missing(os.path.abspath(folder)))
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name)
    with open(path, "wb"):
        os.remove(path)
    for each in missing:
        os.rmdir(each)


def _missing(folder: str) -> Iterator[str]:
    """The folders that do not exist: a folder, then those that it is in."""
    while not os.path.exists(folder):
        yield folder
        folder = os.path.dirname(folder)
